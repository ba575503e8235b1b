"""The audit: silent while all is well, it finds what somebody planted, and repair heals it."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.services.verify_stock import REPAIR_NOTE
from shop.domain.stock import LedgerPosition, Reason, StockAudit, StockMovement
from shop.domain.users import OPERATOR
from tests.builders import NOON, items, order_id
from tests.stores import Store
from tests.use_cases import UseCases


@pytest.fixture
async def products(shop: UseCases) -> list[Product]:
    """Three products that have seen some trade; the last has none left."""
    buyer = await shop.given_customer()
    products = [await shop.given_product(stock) for stock in (5, 7, 2)]
    for product in products:
        await shop.place_order(caller=buyer, items=items((product.id, 2)))
    return products


def movement(
    product: Product,
    *,
    quantity: int,
    balance: int,
    order_id: UUID | None = None,
    reason: Reason = Reason.CORRECTION,
) -> StockMovement:
    return StockMovement(
        product_id=product.id,
        quantity=quantity,
        balance=balance,
        reason=reason,
        order_id=order_id,
        actor_id=None,
        note="planted",
        at=NOON,
    )


async def unsound(shop: UseCases) -> list[tuple[int, int, int, int]]:
    return [
        (audit.product_id, audit.on_hand, audit.movements_sum, audit.last_balance)
        for audit in await shop.audits()
    ]


async def test_honest_trade_is_sound(shop: UseCases, store: Store, products: list[Product]) -> None:
    audits = await store.audits()
    assert [(a.product_id, a.sku, a.on_hand, a.is_sound) for a in audits] == [
        (p.id, p.sku, p.stock - 2, True) for p in products
    ]
    assert await shop.differences() == []


async def test_stock_changed_behind_the_ledger_is_found(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.set_stock_behind_the_ledger(products[1].id, 6)
    assert await unsound(shop) == [(products[1].id, 6, 5, 5)]


async def test_a_forged_movement_is_found(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.forge_movement(movement(products[0], quantity=1, balance=3))
    assert await unsound(shop) == [(products[0].id, 3, 4, 3)]


async def test_a_wrong_balance_is_found_though_the_sum_is_right(
    shop: UseCases, store: Store, products: list[Product]
) -> None:
    await store.forge_movement(movement(products[2], quantity=1, balance=1))
    await store.forge_movement(movement(products[2], quantity=-1, balance=1))
    assert await unsound(shop) == [(products[2].id, 0, 0, 1)]


@pytest.mark.parametrize("most", [(1, 100), (2, 100), (3, 100), (100, 1), (100, 2), (100, 3)])
async def test_an_audit_goes_on_where_the_last_one_ended(
    store: Store, products: list[Product], most: tuple[int, int]
) -> None:
    """The ledgers have two movements each."""
    audits: list[StockAudit] = []
    position: LedgerPosition | None = LedgerPosition()
    while position is not None:
        async with store.unit_of_work(read_only=True) as uow:
            step, position = await uow.stock.audit(position, products=most[0], movements=most[1])
        assert len(step) <= min(most)
        audits += step
    assert audits == await store.audits()
    assert [audit.product_id for audit in audits] == [product.id for product in products]
    assert all(audit.is_sound for audit in audits)


async def test_an_audit_beyond_the_last_product_is_at_its_end(
    store: Store, products: list[Product]
) -> None:
    beyond = LedgerPosition(product_id=products[-1].id + 1)
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.stock.audit(beyond, products=10, movements=10) == ([], None)


# --- orders ---


@pytest.fixture
async def order(shop: UseCases) -> Order:
    """For two of ten teapots and one of ten cups."""
    teapot, cup = await shop.given_product(), await shop.given_product()
    buyer = await shop.given_customer()
    wanted = items((teapot.id, 2), (cup.id, 1))
    return (await shop.container.place_order()(caller=buyer, items=wanted)).order


async def unsound_orders(shop: UseCases) -> list[tuple[UUID, int, int, int]]:
    return [
        (audit.order_id, audit.product_id, audit.taken, audit.moved)
        for audit in await shop.order_audits()
    ]


async def product_of(shop: UseCases, order: Order, position: int = 0) -> Product:
    return await shop.container.read_product()(
        caller=OPERATOR, product_id=order.lines[position].product_id
    )


async def test_every_honest_order_is_sound(shop: UseCases, store: Store) -> None:
    boss, teapot = await shop.given_staff(), await shop.given_product(100)
    wanted, one = items((teapot.id, 3)), items((teapot.id, 1))

    async def placed() -> UUID:
        return (await shop.container.place_order()(caller=boss, items=wanted)).order.id

    async def shipped() -> UUID:
        id_ = await placed()
        await shop.pay_order(caller=boss, order_id=id_)
        await shop.advance_order(caller=boss, order_id=id_, to=OrderStatus.SHIPPED)
        return id_

    await shop.amend_order(caller=boss, order_id=await placed(), items=one)
    for restock in (True, False):
        await shop.cancel_order(caller=boss, order_id=await placed(), restock=restock)
        await shop.return_order(caller=boss, order_id=await shipped(), restock=restock)
        await shop.return_order(caller=boss, order_id=await shipped(), items=one, restock=restock)
    assert await shop.differences() == []
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.stock.audit_orders(after=order_id(10**9), limit=10) == ([], None)


async def test_a_line_changed_behind_the_ledger_is_found(
    shop: UseCases, store: Store, order: Order
) -> None:
    teapot, cup = order.out
    await store.set_line_behind_the_ledger(order.id, quantity=5)
    assert await unsound_orders(shop) == [(order.id, teapot, 5, 2)]
    await store.set_line_behind_the_ledger(order.id, position=1, returned=1)
    assert sorted(await unsound_orders(shop)) == [
        (order.id, teapot, 5, 2),
        (order.id, cup, 0, 1),
    ]
    assert await shop.audits() == []


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.RETURNED])
async def test_an_order_that_says_it_gave_back_and_did_not_is_found(
    shop: UseCases, store: Store, order: Order, status: OrderStatus
) -> None:
    teapot, cup = order.out
    await store.set_status_behind_the_ledger(order.id, status)
    assert sorted(await unsound_orders(shop)) == [(order.id, teapot, 0, 2), (order.id, cup, 0, 1)]


async def test_a_cancelled_order_brought_back_to_life_is_found(
    shop: UseCases, store: Store, order: Order
) -> None:
    teapot, cup = order.out
    await shop.cancel_order(caller=await shop.given_staff(), order_id=order.id)
    await store.set_status_behind_the_ledger(order.id, OrderStatus.PAID)
    assert sorted(await unsound_orders(shop)) == [(order.id, teapot, 2, 0), (order.id, cup, 1, 0)]


@pytest.mark.parametrize("reason", [Reason.ORDER, Reason.AMEND, Reason.CANCEL, Reason.RETURN])
async def test_a_movement_too_many_is_found_in_its_order(
    shop: UseCases, store: Store, order: Order, reason: Reason
) -> None:
    teapot = await product_of(shop, order)
    for quantity, balance, why in ((2, 10, reason), (-2, 8, Reason.CORRECTION)):
        await store.forge_movement(
            movement(teapot, quantity=quantity, balance=balance, order_id=order.id, reason=why)
        )
    assert await shop.audits() == []
    assert await unsound_orders(shop) == [(order.id, teapot.id, 2, 0)]


async def test_a_movement_of_what_was_not_ordered_is_found(
    shop: UseCases, store: Store, order: Order
) -> None:
    other = await shop.given_product(7)
    await store.forge_movement(
        movement(other, quantity=-3, balance=4, order_id=order.id, reason=Reason.ORDER)
    )
    assert await unsound_orders(shop) == [(order.id, other.id, 0, 3)]
    assert await unsound(shop) == [(other.id, 7, 4, 4)]


# --- repair ---

Plant = Callable[[UseCases, Store, Order, Product], Awaitable[None]]


async def _nothing_in_the_ledger(
    shop: UseCases, store: Store, order: Order, product: Product
) -> None:
    empty = await shop.given_product(0)
    await store.set_stock_behind_the_ledger(empty.id, 4)


async def _more_on_hand(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.set_stock_behind_the_ledger(product.id, 50)


async def _none_on_hand(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.set_stock_behind_the_ledger(product.id, 0)


async def _a_forged_movement(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.forge_movement(movement(product, quantity=1, balance=8))


async def _a_wrong_balance(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.forge_movement(movement(product, quantity=1, balance=9))
    await store.forge_movement(movement(product, quantity=-1, balance=9))


async def _a_wrong_line(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.set_line_behind_the_ledger(order.id, quantity=5)


async def _a_false_cancellation(
    shop: UseCases, store: Store, order: Order, product: Product
) -> None:
    await store.set_status_behind_the_ledger(order.id, OrderStatus.CANCELLED)


async def _a_false_return(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await store.set_status_behind_the_ledger(order.id, OrderStatus.RETURNED)


async def _a_false_life(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    await shop.cancel_order(caller=await shop.given_staff(), order_id=order.id)
    await store.set_status_behind_the_ledger(order.id, OrderStatus.SHIPPED)


async def _none_on_hand_and_a_wrong_line(
    shop: UseCases, store: Store, order: Order, product: Product
) -> None:
    await _none_on_hand(shop, store, order, product)
    await _a_wrong_line(shop, store, order, product)


async def _a_foreign_movement(shop: UseCases, store: Store, order: Order, product: Product) -> None:
    other = await shop.given_product(7)
    await store.forge_movement(
        movement(other, quantity=-3, balance=4, order_id=order.id, reason=Reason.ORDER)
    )


PLANTS: list[Plant] = [
    _nothing_in_the_ledger,
    _more_on_hand,
    _none_on_hand,
    _a_forged_movement,
    _a_wrong_balance,
    _a_wrong_line,
    _a_false_cancellation,
    _a_false_return,
    _a_false_life,
    _none_on_hand_and_a_wrong_line,
    _a_foreign_movement,
]


async def repair(shop: UseCases) -> None:
    """As the command line does it."""
    for order in await shop.order_audits():
        await shop.repair_stock(caller=OPERATOR, difference=order)
    for product in await shop.audits():
        await shop.repair_stock(caller=OPERATOR, difference=product)


async def all_stock(store: Store) -> list[int]:
    return [audit.on_hand for audit in await store.audits()]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__.strip("_"))
async def test_repair_makes_the_ledger_agree_and_leaves_the_stock(
    shop: UseCases, store: Store, order: Order, plant: Plant
) -> None:
    await plant(shop, store, order, await product_of(shop, order))
    found = await shop.differences()
    assert found
    stock, ledger = await all_stock(store), await store.movements()
    await repair(shop)
    assert await shop.differences() == []
    assert await all_stock(store) == stock
    repaired = await store.movements()
    assert repaired[: len(ledger)] == ledger
    corrections = repaired[len(ledger) :]
    assert {(m.note, m.actor_id) for m in corrections} == {(REPAIR_NOTE, None)}
    assert {m.reason for m in corrections} <= {Reason.CORRECTION, Reason.ORDER}
    repairs = [event for event, _ in shop.audit.events if event == "stock.repaired"]
    assert len(repairs) == len(found)

    # Once more, for what was found before: there is nothing left to do.
    for one in found:
        await shop.repair_stock(caller=OPERATOR, difference=one)
    assert await store.movements() == repaired
    assert len([e for e, _ in shop.audit.events if e == "stock.repaired"]) == len(found)
