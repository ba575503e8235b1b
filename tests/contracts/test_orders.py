"""Lists of orders: the newest first, page by page, the same from every store."""

from datetime import datetime, timedelta

import pytest

from shop.domain.orders import Order, OrderQuery, OrderStatus
from shop.domain.pages import Count, Window, read_page
from tests.builders import NOON, order, order_line
from tests.stores import Store
from tests.use_cases import UseCases

S = OrderStatus


@pytest.fixture
async def orders(shop: UseCases, store: Store) -> list[Order]:
    """Twelve orders of three users with ties in time, newest first."""
    users = [(await shop.given_customer()).user_id for _ in range(3)]
    teapot, cup = await shop.given_product(), await shop.given_product()
    orders = [
        order(
            number,
            user_id=users[number % 3],
            status=list(S)[number % len(S)],
            lines=(order_line(cup.id), order_line(teapot.id, quantity=number)),
            created_at=NOON + timedelta(microseconds=number // 4),
        )
        # Not in order of time, nor of id.
        for number in (7, 3, 11, 1, 9, 5, 12, 2, 10, 4, 8, 6)
    ]
    async with store.unit_of_work() as uow:
        await uow.batch.add(orders, [], products={})
        await uow.commit()
    return sorted(orders, key=lambda order: order.key, reverse=True)


async def test_the_newest_come_first_with_their_lines_in_order(
    store: Store, orders: list[Order]
) -> None:
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.orders.read_window(OrderQuery(), Window(limit=100)) == orders


async def test_a_walk_by_pages_there_and_back_meets_every_order_once(
    store: Store, orders: list[Order]
) -> None:
    query = OrderQuery()
    async with store.unit_of_work(read_only=True) as uow:
        forwards: list[Order] = []
        window = Window(limit=5)
        while True:
            page = await read_page(uow.orders, query, window)
            assert page.count == Count(12)
            forwards += page.items
            if not page.more:
                break
            window = Window(limit=5, after=page.items[-1].key)
        assert forwards == orders

        backwards = orders[-1:]
        while True:
            page = await read_page(uow.orders, query, Window(limit=5, before=backwards[0].key))
            backwards = [*page.items, *backwards]
            if not page.more:
                break
        assert backwards == orders

        for offset in (0, 5, 10, 15):
            page = await read_page(uow.orders, query, Window(limit=5, offset=offset))
            assert list(page.items) == orders[offset : offset + 5]


async def expect(store: Store, query: OrderQuery, expected: list[Order]) -> None:
    async with store.unit_of_work(read_only=True) as uow:
        found = await uow.orders.read_counted(query, Window(limit=100))
        assert found == (expected, Count(len(expected)))


async def test_orders_of_one_user(store: Store, orders: list[Order]) -> None:
    for user_id in {o.user_id for o in orders}:
        await expect(
            store, OrderQuery(user_id=user_id), [o for o in orders if o.user_id == user_id]
        )
    await expect(store, OrderQuery(user_id=404), [])


async def test_orders_in_one_status(store: Store, orders: list[Order]) -> None:
    for status in S:
        await expect(store, OrderQuery(status=status), [o for o in orders if o.status is status])


async def test_an_order_by_its_code(store: Store, orders: list[Order]) -> None:
    await expect(store, OrderQuery(code=orders[4].code), [orders[4]])
    await expect(store, OrderQuery(code="no such code"), [])


@pytest.mark.parametrize("moment", [NOON + timedelta(microseconds=n) for n in (0, 1, 2, 3)])
async def test_times_are_exclusive_to_the_microsecond(
    store: Store, orders: list[Order], moment: datetime
) -> None:
    after = [o for o in orders if o.created_at > moment]
    before = [o for o in orders if o.created_at < moment]
    await expect(store, OrderQuery(created_after=moment), after)
    await expect(store, OrderQuery(created_before=moment), before)


async def test_conditions_on_orders_hold_together(store: Store, orders: list[Order]) -> None:
    wanted = orders[3]
    query = OrderQuery(
        user_id=wanted.user_id,
        status=wanted.status,
        created_after=wanted.created_at - timedelta(microseconds=1),
        created_before=wanted.created_at + timedelta(microseconds=1),
    )
    await expect(
        store,
        query,
        [
            o
            for o in orders
            if (o.user_id, o.status, o.created_at)
            == (wanted.user_id, wanted.status, wanted.created_at)
        ],
    )
