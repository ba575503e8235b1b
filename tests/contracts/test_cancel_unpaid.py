"""Orders that nobody pays give their stock back, and those that are paid do not."""

from datetime import timedelta
from typing import Any

import pytest
from dependency_injector import providers

from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.services import cancel_unpaid
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR
from tests.builders import items
from tests.stores import Store
from tests.use_cases import UseCases

HOUR = timedelta(hours=1)


@pytest.fixture
async def teapot(shop: UseCases) -> Product:
    return await shop.given_product(100)


@pytest.fixture
async def orders(shop: UseCases, teapot: Product) -> list[Order]:
    """Seven orders of two teapots each, placed one hour after the other; the newest just now."""
    buyer = await shop.given_customer()
    orders = []
    for _ in range(7):
        shop.clock.advance(HOUR)
        placed = await shop.place_order(caller=buyer, items=items((teapot.id, 2)))
        orders.append(placed.order)
    return orders


async def cancelled(shop: UseCases, *, hours: int, dry_run: bool = False) -> list[Order]:
    done = shop.cancel_unpaid(
        caller=OPERATOR, created_before=shop.clock() - hours * HOUR, dry_run=dry_run
    )
    return [order async for order in done]


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel_unpaid, "ORDERS_PER_STEP", 2)


async def test_those_that_are_old_and_unpaid_are_cancelled_with_their_stock_and_history(
    shop: UseCases, store: Store, teapot: Product, orders: list[Order]
) -> None:
    await shop.pay_order(caller=OPERATOR, order_id=orders[1].id)
    done = await cancelled(shop, hours=2)
    assert [order.id for order in done] == [orders[n].id for n in (3, 2, 0)]
    assert {order.status for order in done} == {OrderStatus.CANCELLED}
    statuses = [
        (await shop.read_order(caller=OPERATOR, order_id=order.id)).status for order in orders
    ]
    gone, paid, placed = OrderStatus.CANCELLED, OrderStatus.PAID, OrderStatus.PLACED
    assert statuses == [gone, paid, gone, gone, placed, placed, placed]
    assert await shop.stock_of(teapot) == 100 - 4 * 2
    [entry] = await shop.history_of(orders[0].id)
    assert (entry.to_status, entry.actor_id, entry.note) == (gone, None, "not paid in time")
    back = (await store.movements(order_id=orders[0].id))[-1]
    assert (back.quantity, back.reason, back.note) == (2, Reason.CANCEL, "not paid in time")
    assert await cancelled(shop, hours=2) == []
    assert await shop.differences() == []


async def test_a_dry_run_names_them_and_changes_nothing(
    shop: UseCases, teapot: Product, orders: list[Order]
) -> None:
    assert await cancelled(shop, hours=2, dry_run=True) == orders[3::-1]
    assert await shop.stock_of(teapot) == 100 - 7 * 2
    assert await shop.history_of(orders[0].id) == []


async def test_one_that_is_paid_when_it_was_already_read_is_left_out(
    shop: UseCases, store: Store, teapot: Product, orders: list[Order]
) -> None:
    cancel_order = shop.cancel_order

    async def pay_one_first(**arguments: Any) -> Any:
        await shop.pay_order(caller=OPERATOR, order_id=orders[3].id)
        return await cancel_order(**arguments)

    shop.container.cancel_order.override(providers.Object(pay_one_first))
    done = await cancelled(shop, hours=2)
    assert [order.id for order in done] == [orders[n].id for n in (2, 1, 0)]
    paid = await shop.read_order(caller=OPERATOR, order_id=orders[3].id)
    assert paid.status is OrderStatus.PAID
    assert await shop.stock_of(teapot) == 100 - 4 * 2
    assert await shop.differences() == []
