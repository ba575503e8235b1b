"""What the connections of units of work promise: what is committed is on disk, and who waits."""

import asyncio

import aiosqlite
import asyncpg
import pytest

from shop.adapters.sql.engine import DatabaseOptions
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from tests.builders import product
from tests.stores import Store, sql_store

FULL = 2


def driver_of(uow: object) -> object:
    assert isinstance(uow, SqlUnitOfWork)
    return uow.driver


async def test_sqlite_writes_through_to_the_disk(sqlite_url: str) -> None:
    """A power cut, which no test can make, then loses nothing that was answered."""
    async with sql_store(sqlite_url) as store:
        for options in ({}, {"batch": True}):
            async with store.unit_of_work(**options) as uow:  # type: ignore[arg-type]
                await uow.batch.lock(order_ids=[], product_ids=[], user_ids=[])
                driver = driver_of(uow)
                assert isinstance(driver, aiosqlite.Connection)
                assert driver.in_transaction
                for pragma, value in (("synchronous", FULL), ("journal_mode", "wal")):
                    [row] = await driver.execute_fetchall(f"PRAGMA {pragma}")
                    assert tuple(row) == (value,)


async def test_sqlite_takes_the_write_lock_as_the_transaction_begins(sqlite_url: str) -> None:
    """One that reads first and writes later could lose it in between, and be refused."""
    async with sql_store(sqlite_url) as store, sql_store(sqlite_url) as other:
        async with store.unit_of_work():
            begun = asyncio.create_task(add(other, "LATER"))
            await asyncio.sleep(0.1)
            assert not begun.done()
        await begun


async def test_who_waits_for_sqlites_one_writer_waits_as_long_as_is_set(sqlite_url: str) -> None:
    patient, impatient = DatabaseOptions(lock_timeout=5), DatabaseOptions(lock_timeout=0.01)
    async with (
        sql_store(sqlite_url) as store,
        sql_store(sqlite_url, patient) as one,
        sql_store(sqlite_url, impatient) as two,
    ):
        async with store.unit_of_work():
            waiting = asyncio.create_task(add(one, "PATIENT"))
            with pytest.raises(Exception, match="in time"):
                await add(two, "IMPATIENT")
            assert not waiting.done()
        await waiting


@pytest.mark.parametrize("default", ["repeatable read", "serializable"])
async def test_postgresql_is_told_what_is_relied_on(postgresql_url: str, default: str) -> None:
    """Whatever the database's defaults are: a COMMIT waits for the disk, and locks see the rest."""
    async with sql_store(postgresql_url) as store:
        async with store.unit_of_work() as uow:
            driver = driver_of(uow)
            assert isinstance(driver, asyncpg.Connection)
            await driver.execute(
                f"ALTER DATABASE {await driver.fetchval('SELECT current_database()')} "
                f"SET default_transaction_isolation = '{default}'"
            )
            await uow.commit()
        for engine in (store.sql.write, store.sql.intake):
            await engine.dispose()
        # The second batch finds its transaction begun by the first one's end.
        for options in ({}, {"batch": True}, {"batch": True}):
            async with store.unit_of_work(**options) as uow:  # type: ignore[arg-type]
                driver = driver_of(uow)
                assert isinstance(driver, asyncpg.Connection)
                assert await driver.fetchval("SHOW transaction_isolation") == "read committed"
                sources = await driver.fetch(
                    "SELECT source FROM pg_settings WHERE name = 'synchronous_commit'"
                )
                # Not set by the shop: it is the server's, which is on unless its operator says no.
                assert [row["source"] for row in sources] != ["client"]


async def add(store: Store, sku: str) -> None:
    async with store.unit_of_work() as uow:
        await uow.products.add([product(0, sku=sku)])
        await uow.commit()
