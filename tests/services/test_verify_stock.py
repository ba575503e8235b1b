"""Verifying stock: every product and every order once, step by step."""

import pytest

from shop.domain.products import Product
from shop.domain.services import verify_stock
from shop.domain.services.verify_stock import ProductsChecked, RepairStock
from shop.domain.stock import LedgerPosition
from shop.domain.users import OPERATOR
from tests.builders import customer, items, order_id, product, staff
from tests.stores import Store
from tests.use_cases import UseCases


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_stock, "PER_STEP", 3)


async def test_every_product_is_checked_once(shop: UseCases, store: Store) -> None:
    added = await shop.add_products(
        caller=OPERATOR, products=[product(0, sku=f"SKU-{n}", stock=n) for n in range(7)]
    )
    for one in added:
        await store.set_stock_behind_the_ledger(one.id, 100)
    steps = [step async for step in shop.verify_stock(caller=OPERATOR)]
    assert [step.count for step in steps] == [3, 3, 1]
    found = [[audit.product_id for audit in step.differences] for step in steps]
    ids = [p.id for p in added]
    assert found == [ids[:3], ids[3:6], ids[6:]]


async def test_every_order_is_checked_once(shop: UseCases, store: Store) -> None:
    teapot = await shop.given_product(100)
    for number in range(1, 8):
        order = (
            await shop.place_order(
                caller=customer(), items=items((teapot.id, 2)), order_id=order_id(number)
            )
        ).order
        await store.set_line_behind_the_ledger(order.id, quantity=3)
    steps = [step async for step in shop.verify_stock(caller=OPERATOR)][1:]
    found = [[audit.order_id for audit in step.differences] for step in steps]
    ids = [order_id(number) for number in range(1, 8)]
    assert found == [ids[:3], ids[3:6], ids[6:]]
    assert sum(step.count for step in steps) >= 7


async def test_an_empty_shop_is_sound(shop: UseCases) -> None:
    assert await shop.differences() == []


async def test_trade_leaves_the_stock_sound(shop: UseCases, store: Store) -> None:
    teapot = await shop.given_product(5)
    bought = await shop.place_order(caller=customer(), items=items((teapot.id, 2)))
    await shop.cancel_order(caller=customer(), order_id=bought.order.id)
    bought = await shop.place_order(caller=customer(), items=items((teapot.id, 2)))
    await shop.pay_order(caller=staff(), order_id=bought.order.id)
    await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=-1, reason="broken")
    assert await shop.differences() == []
    [audit] = await store.audits()
    assert (audit.on_hand, audit.movements_sum, audit.last_balance) == (2, 2, 2)
    assert audit.is_sound


# --- products with a long ledger ---


@pytest.fixture
async def long_ledgers(shop: UseCases, monkeypatch: pytest.MonkeyPatch) -> list[Product]:
    """Three products; the second has 21 movements, and a step takes 4."""
    monkeypatch.setattr(verify_stock, "MOVEMENTS_PER_STEP", 4)
    products = [await shop.given_product(50) for _ in range(3)]
    for _ in range(20):
        await shop.change_stock(
            caller=OPERATOR, product_id=products[1].id, delta=-1, reason="broken"
        )
    return products


async def test_a_long_ledger_is_read_in_steps_and_hides_no_other_product(
    shop: UseCases, store: Store, long_ledgers: list[Product]
) -> None:
    for one in long_ledgers:
        await store.set_stock_behind_the_ledger(one.id, 100)
    steps = [step async for step in shop.verify_stock(caller=OPERATOR)]
    assert [step.count for step in steps] == [1, 0, 0, 0, 0, 2]
    assert [(a.product_id, a.on_hand, a.movements_sum) for a in await shop.audits()] == [
        (product.id, 100, total) for product, total in zip(long_ledgers, (50, 30, 50), strict=True)
    ]


async def test_sales_between_the_steps_are_no_differences(
    shop: UseCases, store: Store, long_ledgers: list[Product]
) -> None:
    buyer = await shop.given_customer()
    async for step in shop.verify_stock(caller=OPERATOR):
        assert step.differences == []
        if isinstance(step, ProductsChecked):
            for one in long_ledgers:
                await shop.place_order(caller=buyer, items=items((one.id, 1)))
    assert await shop.differences() == []


async def test_a_long_ledger_is_repaired_though_sales_go_on(
    shop: UseCases, store: Store, long_ledgers: list[Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it is read before the lock is taken; here, many sales come in between."""
    buyer = await shop.given_customer()
    await store.set_stock_behind_the_ledger(long_ledgers[1].id, 40)
    [found] = await shop.audits()
    read = verify_stock.RepairStock._near_the_end

    async def read_and_sell(repair: RepairStock, product_id: int) -> LedgerPosition:
        position = await read(repair, product_id)
        for _ in range(9):
            await shop.place_order(caller=buyer, items=items((product_id, 1)))
        return position

    monkeypatch.setattr(verify_stock.RepairStock, "_near_the_end", read_and_sell)
    await shop.repair_stock(caller=OPERATOR, difference=found)
    assert await shop.differences() == []
    assert await shop.stock_of(long_ledgers[1]) == 31


async def test_a_step_is_one_statement(sql: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by the movements that it reads, however many a product has."""
    shop = UseCases(sql.unit_of_work)
    monkeypatch.setattr(verify_stock, "MOVEMENTS_PER_STEP", 10)
    teapot = await shop.given_product(50)
    for _ in range(39):
        await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=-1, reason="broken")
    with sql.statements() as sent:
        assert await shop.differences() == []
    of_the_ledger = [statement for statement in sent if "stock_movements" in statement]
    assert len(of_the_ledger) == 5
    assert all("LIMIT 10" in statement for statement in of_the_ledger)


# --- a sample ---


async def test_a_sample_is_of_the_products_that_moved_last(shop: UseCases, store: Store) -> None:
    added = await shop.add_products(
        caller=OPERATOR, products=[product(0, sku=f"SKU-{n}", stock=n + 1) for n in range(5)]
    )
    for moved in (added[3], added[0], added[3]):
        await shop.container.change_stock()(
            caller=OPERATOR, product_id=moved.id, delta=1, reason="restock"
        )
    for one in added:
        await store.set_stock_behind_the_ledger(one.id, 100)
    sample = shop.container.sample_stock()
    found = await sample(caller=OPERATOR, products=2)
    assert found.count == 2
    assert [audit.product_id for audit in found.differences] == [added[3].id, added[0].id]
    assert (await sample(caller=OPERATOR, products=50)).count == 5


async def test_a_sample_leaves_out_a_long_ledger(
    shop: UseCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_stock, "MOVEMENTS_PER_STEP", 2)
    monkeypatch.setattr(verify_stock, "SAMPLED_STEPS_MAX", 3)
    long, short = await shop.given_product(100), await shop.given_product(100)
    for _ in range(8):
        await shop.container.change_stock()(
            caller=OPERATOR, product_id=long.id, delta=1, reason="restock"
        )
    found = await shop.container.sample_stock()(caller=OPERATOR, products=2)
    assert (found.count, list(found.differences)) == (1, [])
    monkeypatch.setattr(verify_stock, "SAMPLED_MOVEMENTS", 1)
    assert (await shop.container.sample_stock()(caller=OPERATOR, products=2)).count == 0
    assert short.stock == 100


async def test_a_sample_of_an_empty_shop_is_sound(shop: UseCases) -> None:
    assert (await shop.container.sample_stock()(caller=OPERATOR, products=2)).count == 0
