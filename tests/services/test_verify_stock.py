"""Verifying stock: every product and every order once, step by step."""

import pytest

from shop.domain.services import verify_stock
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
    async with store.unit_of_work(read_only=True) as uow:
        [audit] = await uow.stock.audit(after=0, limit=10)
    assert (audit.on_hand, audit.movements_sum, audit.last_balance) == (2, 2, 2)
    assert audit.is_sound
