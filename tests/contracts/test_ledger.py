"""Ledger and history: only ever added to, and read page by page in both directions."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shop.domain.errors import OrderNotFound, ProductNotFound
from shop.domain.orders import HistoryEntry, Order
from shop.domain.pages import Count, Page, Window
from shop.domain.stock import Reason, StockMovement
from shop.domain.users import OPERATOR, Caller
from tests.builders import items, order_id
from tests.stores import Store
from tests.use_cases import UseCases

T = TypeVar("T", bound=StockMovement | HistoryEntry)


@pytest.fixture
async def owner(shop: UseCases) -> Caller:
    return await shop.given_customer()


@pytest.fixture
async def order(shop: UseCases, owner: Caller) -> Order:
    """Amended eleven times, so that there is a history and a ledger to page through."""
    teapot = await shop.given_product(100)
    other = await shop.given_product(100)
    order = (await shop.container.place_order()(caller=owner, items=items((teapot.id, 1)))).order
    for quantity in range(2, 13):
        wanted = items((teapot.id, quantity), (other.id, 1))
        order = await shop.container.amend_order()(caller=owner, order_id=order.id, items=wanted)
    return order


async def assert_pages(
    read: Callable[[Window], Awaitable[Page[T]]], expected: Sequence[T], count: int
) -> None:
    """Walks there and back, and by offset."""
    forwards: list[T] = []
    window = Window(limit=5)
    while True:
        page = await read(window)
        assert page.count == Count(count)
        forwards += page.items
        if not page.more:
            break
        window = Window(limit=5, after=(page.items[-1].id,))
    assert forwards == list(expected)
    backwards = forwards[-1:]
    while True:
        page = await read(Window(limit=5, before=(backwards[0].id,)))
        backwards = [*page.items, *backwards]
        if not page.more:
            break
    assert backwards == forwards
    for offset in (0, 5, 10, 15):
        assert (
            list((await read(Window(limit=5, offset=offset))).items)
            == forwards[offset : offset + 5]
        )
    assert list((await read(Window(limit=5, before=(forwards[0].id,)))).items) == []
    assert list((await read(Window(limit=5, after=(forwards[-1].id,)))).items) == []


async def test_a_products_ledger_is_read_page_by_page_the_newest_first(
    shop: UseCases, store: Store, order: Order
) -> None:
    product_id = order.lines[0].product_id
    ledger = [m for m in await store.movements() if m.product_id == product_id]
    assert [m.balance for m in ledger] == [100, *range(99, 87, -1)]
    assert [m.reason for m in ledger] == [Reason.INITIAL, Reason.ORDER] + [Reason.AMEND] * 11
    assert {m.order_id for m in ledger[1:]} == {order.id}

    async def read(window: Window) -> Page[StockMovement]:
        return await shop.container.read_movements()(
            caller=OPERATOR, product_id=product_id, window=window
        )

    await assert_pages(read, ledger[::-1], 13)


async def test_the_ledger_of_no_product_is_not_found_and_of_an_archived_one_is(
    shop: UseCases, order: Order
) -> None:
    with pytest.raises(ProductNotFound):
        await shop.read_movements(caller=OPERATOR, product_id=404, window=Window(limit=5))
    product_id = order.lines[0].product_id
    await shop.archive_product(caller=OPERATOR, product_id=product_id)
    page = await shop.read_movements(
        caller=OPERATOR, product_id=product_id, window=Window(limit=5), count=Count(99)
    )
    assert (len(page.items), page.more, page.count) == (5, True, Count(99))


async def test_an_orders_history_is_read_page_by_page_the_oldest_first(
    shop: UseCases, owner: Caller, order: Order
) -> None:
    other = await shop.place_order(caller=owner, items=items((order.lines[0].product_id, 1)))
    await shop.cancel_order(caller=owner, order_id=other.order.id, note="regret")
    await shop.cancel_order(caller=owner, order_id=order.id, note="enough")
    events = await shop.history_of(order.id)
    assert [event.note for event in events] == ["amended"] * 11 + ["enough"]
    assert [event.id for event in events] == sorted({event.id for event in events})

    async def read(window: Window) -> Page[HistoryEntry]:
        return await shop.container.read_history()(caller=owner, order_id=order.id, window=window)

    await assert_pages(read, events, 12)
    assert [event.note for event in await shop.history_of(other.order.id)] == ["regret"]


async def test_a_history_is_for_the_owner_and_staff(
    shop: UseCases, owner: Caller, order: Order
) -> None:
    window = Window(limit=5)
    for caller in (owner, await shop.given_staff()):
        page = await shop.read_history(
            caller=caller, order_id=order.id, window=window, count=Count(77)
        )
        assert (len(page.items), page.count) == (5, Count(77))
    with pytest.raises(OrderNotFound):
        await shop.read_history(
            caller=await shop.given_customer(), order_id=order.id, window=window
        )
    with pytest.raises(OrderNotFound):
        await shop.read_history(caller=owner, order_id=order_id(404), window=window)


async def assert_refused(sql: Store, statement: str) -> None:
    async with sql.sql.write.connect() as connection:
        with pytest.raises(DBAPIError, match="is append-only"):
            await connection.execute(text(statement))


@pytest.mark.parametrize("table", ["stock_movements", "order_events"])
async def test_the_database_refuses_to_change_or_delete_what_was_written(
    sql: Store, table: str
) -> None:
    shop = UseCases(sql.unit_of_work)
    owner = await shop.given_customer()
    teapot = await shop.given_product(5)
    placed = await shop.place_order(caller=owner, items=items((teapot.id, 1)))
    await shop.cancel_order(caller=owner, order_id=placed.order.id)
    before = await sql.movements(), await shop.history_of(placed.order.id)
    for statement in (f"UPDATE {table} SET note = 'x'", f"DELETE FROM {table}"):  # noqa: S608
        await assert_refused(sql, statement)
        await assert_refused(sql, f"{statement} WHERE id = 1")
    if sql.name == "postgresql":
        for statement in (
            f"TRUNCATE {table}",
            f"TRUNCATE {table} CASCADE",
            "TRUNCATE orders CASCADE",
        ):
            await assert_refused(sql, statement)
    else:
        await assert_refused(
            sql,
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",  # noqa: S608
        )
    assert (await sql.movements(), await shop.history_of(placed.order.id)) == before
    await shop.intake.close()
