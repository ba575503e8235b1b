"""A unit of work: what is committed stays, anything else leaves nothing behind."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace

import asyncpg
import pytest

from shop.domain.errors import (
    OrderNotFound,
    ProductNotFound,
    SkuTaken,
    StoreUnavailable,
    UsernameTaken,
    UserNotFound,
    WriteConflict,
)
from shop.domain.events import Event
from shop.domain.orders import OrderQuery
from shop.domain.pages import Window
from shop.domain.ports import Batch, UnitOfWork
from shop.domain.products import Offer, ProductQuery
from shop.domain.stock import Reason, Shelf
from shop.domain.users import OPERATOR, Role, User
from tests.builders import NOON, items, order, order_id, order_line, product
from tests.stores import Store, sql_store
from tests.use_cases import UseCases


def anna() -> User:
    return User(
        id=0,
        username="anna",
        password_hash="x",
        role=Role.CUSTOMER,
        disabled=False,
        created_at=NOON,
    )


async def write_everything(uow: UnitOfWork) -> None:
    user = await uow.users.add(anna())
    [teapot] = await uow.products.add([product(0, sku="TEA")])
    shelf = Shelf({teapot.id: teapot})
    shelf.move(teapot.id, 5, Reason.INITIAL, at=NOON)
    await uow.stock.record(shelf.movements)
    shelf = Shelf(await uow.stock.lock([teapot.id]))
    shelf.move(teapot.id, -1, Reason.ORDER, at=NOON, order_id=order_id(1))
    placed = order(1, user_id=user.id, lines=(order_line(teapot.id),))
    await uow.batch.add([placed], shelf.movements, products=shelf.products)


async def is_empty(store: Store) -> bool:
    async with store.unit_of_work(read_only=True) as uow:
        return (
            await uow.users.find("anna") is None
            and not await uow.products.read_window(ProductQuery(), Window(limit=1))
            and not await uow.orders.read_window(OrderQuery(), Window(limit=1))
            and not await store.movements()
        )


async def test_what_is_committed_is_there_for_the_next(store: Store) -> None:
    async with store.unit_of_work() as uow:
        await write_everything(uow)
        await uow.commit()
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.users.find("anna")
        [teapot] = await uow.products.read_window(ProductQuery(), Window(limit=10))
        assert teapot.stock == 4
        assert (await uow.orders.get(order_id(1))).lines[0].product_id == teapot.id
    assert [m.balance for m in await store.movements()] == [5, 4]


async def test_leaving_without_a_commit_leaves_nothing(store: Store) -> None:
    async with store.unit_of_work() as uow:
        await write_everything(uow)
    assert await is_empty(store)


async def test_after_its_commit_it_is_over(store: Store) -> None:
    async with store.unit_of_work() as uow:
        await write_everything(uow)
        await uow.commit()
        with pytest.raises(AssertionError):
            await uow.products.find("TEA")
        with pytest.raises(AssertionError):
            await uow.commit()


@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_one_for_reading_writes_nothing(store: Store) -> None:
    """On PostgreSQL nothing but its users see to that."""

    async def write() -> None:
        async with store.unit_of_work(read_only=True) as uow:
            await write_everything(uow)
            await uow.commit()

    with pytest.raises((AssertionError, StoreUnavailable)):
        await write()
    assert await is_empty(store)


async def test_a_transaction_that_had_failed_is_not_taken_for_committed(
    postgresql_url: str,
) -> None:
    async with sql_store(postgresql_url) as store, store.unit_of_work() as uow:
        await uow.products.add([product(0, sku="TEA")])
        with pytest.raises(SkuTaken):
            await uow.products.add([product(0, sku="TEA")])
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await uow.commit()


async def test_an_error_leaves_nothing_and_comes_through(store: Store) -> None:
    async def write_and_fail() -> None:
        async with store.unit_of_work() as uow:
            await write_everything(uow)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    assert await is_empty(store)


async def test_a_cancelled_caller_leaves_nothing_and_holds_nothing(store: Store) -> None:
    # More often than any pool has connections: a kept one would block the last.
    for _ in range(25):
        written = asyncio.Event()

        async def write_and_wait(written: asyncio.Event = written) -> None:
            async with store.unit_of_work() as uow:
                await write_everything(uow)
                written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write_and_wait())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await is_empty(store)


async def test_callers_cancelled_at_any_moment_hold_nothing(store: Store) -> None:
    async def write(number: int) -> None:
        async with store.unit_of_work() as uow:
            await uow.products.add([product(0, sku=f"TEA-{number}")])

    for moment in range(40):
        tasks = [asyncio.create_task(write(number)) for number in range(3)]
        for _ in range(moment):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with store.unit_of_work() as uow:
        await write_everything(uow)
        await uow.commit()
    assert not await is_empty(store)


async def test_nobody_sees_what_is_not_committed(store: Store) -> None:
    async with store.unit_of_work() as uow:
        await write_everything(uow)
        assert await is_empty(store)
        await uow.commit()
        assert not await is_empty(store)


async def test_one_sees_what_one_has_written_oneself(store: Store) -> None:
    async with store.unit_of_work() as uow:
        await write_everything(uow)
        [teapot] = await uow.products.read_window(ProductQuery(search="tea"), Window(limit=10))
        assert teapot.stock == 4
        batch = await uow.batch.lock(
            order_ids=[order_id(1), order_id(2)], product_ids=[teapot.id, 404], user_ids=[1]
        )
        assert batch.orders == {order_id(1): await uow.orders.get(order_id(1))}
        assert batch.products.keys() == {teapot.id}
        assert offered(batch.products[teapot.id]) == offered(teapot)
        assert list(batch.busy) == []
        changed = await uow.batch.lock(
            order_ids=[], product_ids=[teapot.id], user_ids=[1], changing=[order_id(1)]
        )
        assert changed.products == {teapot.id: teapot}


def offered(offer: Offer) -> dict[str, object]:
    """What a batch of orders alone has to know of a product."""
    return {each.name: getattr(offer, each.name) for each in fields(Offer)}


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    async with store.unit_of_work() as uow:
        with pytest.raises(ProductNotFound):
            await uow.products.get(404)
        with pytest.raises(OrderNotFound):
            await uow.orders.get(order_id(404))
        with pytest.raises(OrderNotFound):
            await uow.orders.lock(order_id(404))
        with pytest.raises(UserNotFound):
            await uow.users.get(404)
        assert await uow.users.find("nobody") is None
        assert await uow.sessions.lock(b"nothing") is None
        assert await uow.stock.lock([404]) == {}
        assert await uow.stock.lock([]) == {}
        nothing = Batch(orders={}, products={}, busy=[], disabled=[])
        for order_ids, product_ids in (([], [404]), ([order_id(1)], [])):
            found = await uow.batch.lock(
                order_ids=order_ids, product_ids=product_ids, user_ids=[404]
            )
            assert replace(found, busy=list(found.busy), disabled=list(found.disabled)) == nothing
        assert await uow.products.find_skus(["A"]) == set()
        assert await uow.products.find_skus([]) == set()


async def test_products_are_numbered_in_the_order_they_are_added(store: Store) -> None:
    skus = [f"SKU-{n:03d}" for n in reversed(range(300))]
    async with store.unit_of_work() as uow:
        added = await uow.products.add([product(0, sku=sku, stock=7) for sku in skus])
        await uow.commit()
    assert [p.sku for p in added] == skus
    assert [p.id for p in added] == sorted({p.id for p in added})
    assert {p.stock for p in added} == {0}
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.products.get(added[17].id) == added[17]
        assert await uow.products.find_skus(["SKU-001", "SKU-999"]) == {"SKU-001"}
        assert await uow.products.find_skus(["sku-001", "sku-999"]) == {"sku-001"}


async def test_locked_stock_comes_with_archived_products_and_without_unknown_ones(
    shop: UseCases, store: Store
) -> None:
    here, gone = await shop.given_product(1), await shop.given_product(2)
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    async with store.unit_of_work() as uow:
        locked = await uow.stock.lock([gone.id, here.id, 404])
    assert list(locked) == [here.id, gone.id]
    assert (locked[here.id], locked[gone.id].archived, locked[gone.id].stock) == (here, True, 2)


async def test_a_sku_is_given_once(shop: UseCases) -> None:
    await shop.given_product(sku="TEA")
    for sku in ("TEA", "tea", "ＴＥＡ", "Te\u0041"):  # noqa: RUF001
        with pytest.raises(SkuTaken, match="TEA"):
            await shop.given_product(sku=sku)


async def test_a_sku_raced_for_is_given_once(shop: UseCases, store: Store) -> None:
    answers = await asyncio.gather(
        *(shop.given_product(1, sku=("TEA", "tea")[n % 2]) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, SkuTaken) for answer in answers) == 9
    async with store.unit_of_work(read_only=True) as uow:
        assert len(await uow.products.read_window(ProductQuery(), Window(limit=2))) == 1
    assert await shop.differences() == []


async def test_a_user_name_raced_for_is_given_once(shop: UseCases) -> None:
    answers = await asyncio.gather(
        *(shop.given_customer(("anna", "Anna")[n % 2]) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, UsernameTaken) for answer in answers) == 9


async def test_an_order_id_or_code_in_use_is_a_race_lost(shop: UseCases, store: Store) -> None:
    user = await shop.given_customer()
    teapot = await shop.given_product()

    async def add(*numbers_and_codes: tuple[int, str]) -> None:
        lines = (order_line(teapot.id),)
        async with store.unit_of_work() as uow:
            await uow.batch.add(
                [
                    order(number, user_id=user.user_id, lines=lines, code=code)
                    for number, code in numbers_and_codes
                ],
                [],
                products={},
            )
            await uow.commit()

    await add((1, "A"))
    for taken in ([(1, "B")], [(2, "A")], [(2, "B"), (3, "B")], [(2, "B"), (2, "C")]):
        with pytest.raises(WriteConflict):
            await add(*taken)
    await add((2, "B"), (3, "C"))


async def test_the_same_order_code_again_is_not_the_customers_problem(
    shop: UseCases, store: Store
) -> None:
    """Two processes that make the same codes: the intake tries again with the next code."""
    twin = UseCases(store.unit_of_work)
    user = await shop.given_customer()
    teapot = await shop.given_product()
    first = await shop.place_order(caller=user, items=items((teapot.id, 1)), order_id=order_id(1))
    second = await twin.place_order(caller=user, items=items((teapot.id, 1)), order_id=order_id(2))
    assert first.order.code != second.order.code
    await twin.intake.close()


async def test_a_locked_order_is_not_changed_by_anybody_else(shop: UseCases, store: Store) -> None:
    user = await shop.given_customer()
    teapot = await shop.given_product()
    placed = await shop.place_order(caller=user, items=items((teapot.id, 1)))
    async with store.unit_of_work() as uow:
        locked = await uow.orders.lock(placed.order.id)
        cancelling = asyncio.create_task(shop.cancel_order(caller=user, order_id=placed.order.id))
        done, _ = await asyncio.wait([cancelling], timeout=0.05)
        assert not done
        assert await uow.orders.get(placed.order.id) == locked
    assert (await cancelling).version == 2


# --- what happened ---


class Told:
    def __init__(self) -> None:
        self.names: list[list[str]] = []

    def __call__(self, events: Sequence[Event]) -> None:
        self.names.append([event.name for event in events])


def happened(name: str) -> Event:
    return Event(name=name, about={})


async def test_listeners_are_told_once_it_is_committed_and_not_before(store: Store) -> None:
    told = Told()
    async with store.unit_of_work(listeners=[told]) as uow:
        uow.record(happened("one"))
        uow.record(happened("two"))
        assert told.names == []
        await uow.commit()
        assert told.names == [["one", "two"]]
    assert told.names == [["one", "two"]]


async def test_listeners_are_not_told_of_what_was_rolled_back(store: Store) -> None:
    told = Told()
    async with store.unit_of_work(listeners=[told]) as uow:
        uow.record(happened("left"))
    with suppress(ZeroDivisionError):
        async with store.unit_of_work(listeners=[told]) as uow:
            uow.record(happened("failed"))
            raise ZeroDivisionError
    assert told.names == []


async def test_a_listener_that_fails_undoes_nothing_and_stops_no_other(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Sequence[Event]) -> None:
        raise ZeroDivisionError

    told = Told()
    async with store.unit_of_work(listeners=[fail, told]) as uow:
        [stored] = await uow.products.add([product(0)])
        uow.record(happened("added"))
        await uow.commit()
    assert told.names == [["added"]]
    async with store.unit_of_work(read_only=True) as uow:
        assert (await uow.products.get(stored.id)).sku == stored.sku
    assert "listener.failed" in caplog.text
