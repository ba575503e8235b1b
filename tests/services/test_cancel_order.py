"""Cancelling: the stock comes back exactly once, and only for who may."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shop.domain.errors import OrderNotFound, TransitionNotAllowed
from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR
from tests.builders import customer, items, order_id, staff
from tests.stores import Store
from tests.use_cases import UseCases

OWNER = customer(1)


@pytest.fixture
async def teapot(shop: UseCases) -> Product:
    return await shop.given_product(5)


@pytest.fixture
async def order(shop: UseCases, teapot: Product) -> Order:
    """The owner's order for two of five teapots."""
    return (await shop.container.place_order()(caller=OWNER, items=items((teapot.id, 2)))).order


async def test_a_cancelled_order_gives_its_pieces_back(
    shop: UseCases, store: Store, teapot: Product, order: Order
) -> None:
    shop.clock.advance(timedelta(minutes=5))
    cancelled = await shop.cancel_order(caller=OWNER, order_id=order.id)
    assert (cancelled.status, cancelled.version) == (OrderStatus.CANCELLED, 2)
    assert cancelled.modified_at == shop.clock()
    assert await shop.read_order(caller=OWNER, order_id=order.id) == cancelled
    assert await shop.stock_of(teapot) == 5
    back = (await store.movements(order_id=order.id))[-1]
    assert (back.quantity, back.balance, back.reason) == (2, 5, Reason.CANCEL)
    assert (back.actor_id, back.at) == (OWNER.user_id, shop.clock())


async def test_cancelling_twice_gives_back_once(
    shop: UseCases, teapot: Product, order: Order
) -> None:
    first = await shop.cancel_order(caller=OWNER, order_id=order.id)
    shop.clock.advance(timedelta(minutes=5))
    assert await shop.cancel_order(caller=OWNER, order_id=order.id) == first
    assert await shop.stock_of(teapot) == 5


async def test_staff_cancels_anybodys_order(
    shop: UseCases, store: Store, teapot: Product, order: Order
) -> None:
    await shop.cancel_order(caller=staff(99), order_id=order.id)
    assert (await store.movements(order_id=order.id))[-1].actor_id == 99
    assert await shop.stock_of(teapot) == 5


async def test_somebody_elses_order_looks_like_none(
    shop: UseCases, teapot: Product, order: Order
) -> None:
    with pytest.raises(OrderNotFound) as foreign:
        await shop.cancel_order(caller=customer(2), order_id=order.id)
    with pytest.raises(OrderNotFound) as unknown:
        await shop.cancel_order(caller=customer(2), order_id=order_id(404))
    assert str(foreign.value) == str(unknown.value).replace(str(order_id(404)), str(order.id))
    assert await shop.stock_of(teapot) == 3


async def test_the_owner_cannot_cancel_what_is_paid_but_staff_can(
    shop: UseCases, teapot: Product, order: Order
) -> None:
    await shop.pay_order(caller=staff(), order_id=order.id)
    with pytest.raises(TransitionNotAllowed):
        await shop.cancel_order(caller=OWNER, order_id=order.id)
    assert await shop.stock_of(teapot) == 3
    cancelled = await shop.cancel_order(caller=staff(), order_id=order.id)
    assert cancelled.version == 3
    assert await shop.stock_of(teapot) == 5


@pytest.mark.parametrize(
    "status", [OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED]
)
async def test_nobody_cancels_what_has_left_the_house(
    shop: UseCases, store: Store, teapot: Product, order: Order, status: OrderStatus
) -> None:
    await store.save_status(replace(order, status=status))
    with pytest.raises(TransitionNotAllowed):
        await shop.cancel_order(caller=staff(), order_id=order.id)
    assert await shop.stock_of(teapot) == 3


async def test_an_archived_product_takes_its_pieces_back_too(
    shop: UseCases, teapot: Product, order: Order
) -> None:
    await shop.archive_product(caller=OPERATOR, product_id=teapot.id)
    await shop.cancel_order(caller=OWNER, order_id=order.id)
    assert (await shop.find_product(caller=OPERATOR, sku=teapot.sku)).stock == 5
