"""What is SQLite's own: its files on the disk, and its statements."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import text

from shop.adapters.sql import engine
from shop.adapters.sql.engine import DatabaseOptions
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.adapters.sql.trips import Trip, open_sqlite
from shop.domain.errors import StoreUnavailable
from shop.domain.services.keep_catalogue import initial_movements
from shop.domain.users import OPERATOR
from tests.builders import items, product
from tests.contracts.changes import keyed
from tests.stores import Store, sql_store
from tests.use_cases import UseCases


async def test_the_log_shrinks_again_after_a_long_reader(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_max = 200_000
    monkeypatch.setattr(engine, "_LOG_BYTES_MAX", bytes_max)
    log = tmp_path / "shop.sqlite3-wal"
    numbers = iter(range(10_000))
    async with sql_store(sqlite_url) as store:
        shop = UseCases(store.unit_of_work)

        async def write(number: int) -> None:
            products = [
                product(0, sku=f"S-{next(numbers)}", description="x" * 10_000)
                for _ in range(number)
            ]
            await shop.add_products(caller=OPERATOR, products=products)

        async with store.sql.read.connect() as reader:
            await reader.execute(text("BEGIN"))
            await reader.execute(text("SELECT count(*) FROM products"))
            for _ in range(20):
                await write(50)
            assert log.stat().st_size > 10 * bytes_max
            await reader.execute(text("ROLLBACK"))
        # The first write finds that all may be copied into the database, the next begins anew.
        await write(1)
        await write(1)
        assert log.stat().st_size <= bytes_max


async def test_many_new_products_are_a_statement_for_each_table(sqlite_url: str) -> None:
    products = [product(n, sku=f"S-{n}", name=f'Ñandú "{n}" 🪶', stock=n) for n in range(1, 51)]
    sent: list[str] = []
    async with sql_store(sqlite_url) as store:
        async with store.unit_of_work() as uow:
            assert isinstance(uow, SqliteUnitOfWork)
            driver = uow.driver
            assert isinstance(driver, aiosqlite.Connection)
            await driver.set_trace_callback(sent.append)
            await uow.batch.add_products(products, initial_movements(products, OPERATOR))
            await uow.commit()
        async with store.unit_of_work(read_only=True) as uow:
            assert await uow.products.list_all(after=0, limit=100) == products
    # A statement is traced with its values, and once more, as it is, for each step of a trigger.
    inserts = [each for each in dict.fromkeys(sent) if each.startswith("INSERT INTO")]
    assert [each.split()[2] for each in inserts] == ["products", "stock", "stock_movements"]


async def test_a_connection_that_is_closed_keeps_no_lock(sqlite_url: str) -> None:
    """Not even while somebody has a cursor of it, as the traceback of who was cancelled has."""
    impatient = DatabaseOptions(lock_timeout=0.1)
    async with sql_store(sqlite_url) as store, sql_store(sqlite_url, impatient) as other:
        async with store.sql.write.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert isinstance(driver, aiosqlite.Connection)
            await driver.execute("BEGIN IMMEDIATE")
            cursor = await driver.execute(
                "INSERT INTO leases VALUES ('a', 'x', ''), ('b', 'x', '') RETURNING name"
            )
            await connection.invalidate()
        async with other.unit_of_work() as uow:
            await uow.products.add([product(0)])
            await uow.commit()
        del cursor


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """To the threads of connections, as they are made."""
    made: list[object] = []
    execute = aiosqlite.Connection._execute

    async def count(self: aiosqlite.Connection, *arguments: Any, **options: Any) -> object:
        made.append(arguments)
        return await execute(self, *arguments, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(aiosqlite.Connection, "_execute", count)
    return made


@pytest.mark.parametrize("number", [1, 16])
async def test_a_batch_is_three_trips_whatever_it_holds(
    sqlite_url: str, trips: list[object], number: int
) -> None:
    """One that begins, claims and locks, one that writes, and the COMMIT."""
    async with sql_store(sqlite_url) as store:
        shop = UseCases(store.unit_of_work)
        boss = await shop.given_staff()
        teapot = await shop.given_product(1000)

        def place() -> Any:
            return shop.place_order(caller=boss, items=items((teapot.id, 2)))

        placed = [(await place()).order.id for _ in range(2 * number)]
        trips.clear()
        await asyncio.gather(*(place() for _ in range(number)))
        assert len(trips) == 3
        trips.clear()
        await asyncio.gather(
            *(place() for _ in range(number)),
            *(
                shop.amend_order(caller=boss, order_id=order_id, items=items((teapot.id, 3)))
                for order_id in placed[:number]
            ),
            *(
                shop.cancel_order(caller=boss, order_id=order_id, key=keyed(key=str(order_id)))
                for order_id in placed[number:]
            ),
        )
        assert len(trips) == 3
        assert await shop.stock_of(teapot) == 1000 - number * (2 + 2 + 3)
        assert await shop.differences() == []
        await shop.close()


async def test_what_a_batch_writes_before_it_has_begun_is_refused(sqlite_url: str) -> None:
    async with sql_store(sqlite_url) as store:
        async with store.unit_of_work(batch=True) as uow:
            with pytest.raises(RuntimeError, match="begins"):
                await uow.products.add([product(0)])
            with pytest.raises(RuntimeError, match="begins"):
                await uow.batch.new_product_ids(1)
        assert await store.count("products") == 0


async def test_a_batch_that_cannot_begin_leaves_nothing_behind(sqlite_url: str) -> None:
    impatient = DatabaseOptions(lock_timeout=0.1)
    async with sql_store(sqlite_url) as store, sql_store(sqlite_url, impatient) as other:
        async with store.unit_of_work() as held:
            with pytest.raises(StoreUnavailable):
                await lock_nothing(other)
            await held.products.add([product(0)])
            await held.commit()
        await lock_nothing(other)
        assert await store.count("products") == 1


async def lock_nothing(store: Store) -> None:
    async with store.unit_of_work(batch=True) as uow:
        await uow.batch.lock(order_ids=[], product_ids=[], user_ids=[])


async def test_a_batch_cancelled_at_any_moment_leaves_and_holds_nothing(sqlite_url: str) -> None:
    """What it has sent already is done before the ROLLBACK."""
    async with sql_store(sqlite_url) as store:
        products = [product(1, stock=1), product(2, sku="LID", stock=1)]

        async def write() -> None:
            async with store.unit_of_work(batch=True) as uow:
                await uow.batch.lock(order_ids=[], product_ids=[1], user_ids=[])
                await uow.batch.add_products(products, initial_movements(products, OPERATOR))

        for moment in range(30):
            task = asyncio.create_task(write())
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await store.count("products") == 0
        await lock_nothing(store)


async def test_after_a_statement_that_fails_a_trip_sends_nothing(sqlite_url: str) -> None:
    """It would stand alone, where the database has given the transaction up by itself."""

    def give_up_and_go_on(trip: Trip) -> None:
        trip.fetch("INSERT INTO leases VALUES ('one', 'x', '')")
        trip.fetch("INSERT OR ROLLBACK INTO leases VALUES ('one', 'x', '')")
        trip.fetch("INSERT INTO leases VALUES ('two', 'x', '')")

    async with sql_store(sqlite_url) as store:
        async with store.unit_of_work(batch=True) as uow:
            assert isinstance(uow, SqliteUnitOfWork)
            await uow.batch.lock(order_ids=[], product_ids=[], user_ids=[])
            with pytest.raises(sqlite3.IntegrityError):
                await uow.in_one_trip(give_up_and_go_on)
        assert await store.count("leases") == 0


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(tmp_path: Path) -> None:
    closed = threading.Event()

    class Noting(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            closed.set()

    opening = asyncio.create_task(open_sqlite(tmp_path / "shop.sqlite3", factory=Noting))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert await asyncio.to_thread(closed.wait, 10)
