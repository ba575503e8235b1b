"""Reads, changes and the order intake: none of them waits for the connections of another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from sqlalchemy import text

from shop.adapters.sql.engine import DatabaseOptions
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import Overloaded
from shop.domain.ports import UnitOfWork
from shop.domain.users import OPERATOR, Caller
from tests.builders import customer, product
from tests.stores import Store, sql_store

IMPATIENT = DatabaseOptions(pool_size=2, read_pool_size=8, pool_timeout=0.1)
SHARE = 2
"""A quarter of those who read."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with sql_store(request.getfixturevalue(f"{request.param}_url"), IMPATIENT) as store:
        yield store


@pytest.fixture
async def held() -> AsyncIterator[AsyncExitStack]:
    """What a test opens in it stays open until its end."""
    async with AsyncExitStack() as held:
        yield held


def reading(store: Store, caller: Caller) -> UnitOfWork:
    return store.unit_of_work(read_only=True, caller=caller)


async def add(store: Store, *, batch: bool = False) -> None:
    async with store.unit_of_work(batch=batch) as uow:
        await uow.batch.lock(order_ids=[], product_ids=[], user_ids=[])
        assert await uow.products.add([product(0)])


async def test_readers_leave_those_who_change_something_their_connections(
    store: Store, held: AsyncExitStack
) -> None:
    for user in range(1, 5):
        for _ in range(SHARE):
            await held.enter_async_context(reading(store, customer(user)))
    with pytest.raises(Overloaded):
        await held.enter_async_context(reading(store, customer(5)))
    await add(store)
    await add(store, batch=True)


async def test_the_intake_has_a_connection_that_nobody_else_takes(
    postgresql_url: str,
) -> None:
    """SQLite has one writer for all."""
    async with sql_store(postgresql_url, IMPATIENT) as store, AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(store.unit_of_work())
        with pytest.raises(Overloaded):
            await held.enter_async_context(store.unit_of_work())
        await add(store, batch=True)


async def test_what_many_look_up_waits_for_no_list_and_for_no_turn(
    store: Store, held: AsyncExitStack
) -> None:
    for user in range(1, 5):
        for _ in range(SHARE):
            await held.enter_async_context(reading(store, customer(user)))
    # Products and orders at the same time.
    for _ in range(2):
        look_up = store.unit_of_work(read_only=True, caller=OPERATOR, batch=True)
        uow = await held.enter_async_context(look_up)
        assert await uow.details.products([1]) == {}


async def test_one_user_has_a_quarter_of_the_reads_and_the_others_the_rest(
    store: Store, held: AsyncExitStack
) -> None:
    for _ in range(SHARE):
        await held.enter_async_context(reading(store, customer(1)))
    with pytest.raises(Overloaded):
        await held.enter_async_context(reading(store, customer(1)))
    for _ in range(SHARE):
        await held.enter_async_context(reading(store, customer(2)))


async def test_a_read_that_ends_in_whatever_way_makes_room_for_the_next(store: Store) -> None:
    async def fail() -> None:
        async with reading(store, customer(1)):
            raise LookupError

    for _ in range(2 * SHARE):
        with pytest.raises(LookupError):
            await fail()
        async with reading(store, customer(1)):
            pass
    async with AsyncExitStack() as held:
        for _ in range(SHARE):
            await held.enter_async_context(reading(store, customer(1)))


async def test_a_read_that_got_no_connection_makes_room_for_the_next(
    store: Store, held: AsyncExitStack
) -> None:
    async with AsyncExitStack() as others:
        for _ in range(IMPATIENT.read_pool_size):
            await others.enter_async_context(reading(store, OPERATOR))
        for _ in range(2 * SHARE):
            with pytest.raises(Overloaded):
                await held.enter_async_context(reading(store, customer(1)))
    for _ in range(SHARE):
        await held.enter_async_context(reading(store, customer(1)))


async def test_reads_have_a_shorter_limit_and_one_process_of_the_server(
    postgresql_url: str,
) -> None:
    options = DatabaseOptions(statement_timeout=10.0, read_statement_timeout=2.0)
    async with sql_store(postgresql_url, options) as store:
        for read_only, expected in ((True, ["2s", "0"]), (False, ["10s", "2"])):
            async with store.unit_of_work(read_only=read_only) as uow:
                driver = uow.driver  # type: ignore[attr-defined]
                settings = ("statement_timeout", "max_parallel_workers_per_gather")
                assert [await driver.fetchval(f"SHOW {name}") for name in settings] == expected


async def session_of(store: Store) -> int:
    """The server's process behind a batch."""
    async with store.unit_of_work(batch=True) as uow:
        assert isinstance(uow, SqlUnitOfWork)
        driver = uow.driver
        assert isinstance(driver, asyncpg.Connection)
        return int(await driver.fetchval("SELECT pg_backend_pid()"))


async def test_batches_keep_their_connection_until_its_server_ends_it(postgresql_url: str) -> None:
    async with sql_store(postgresql_url, IMPATIENT) as store:
        first = await session_of(store)
        assert await session_of(store) == first
        async with store.sql.patient.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
        kept = store.sql.kept[store.sql.intake]
        async with asyncio.timeout(10):
            while (lent := await kept.take()) is not None:
                kept.add(lent)
                await asyncio.sleep(0.001)
        assert await session_of(store) != first


async def test_what_batches_keep_is_kept_from_no_other_batch(postgresql_url: str) -> None:
    """Also from one that has to wait for it, because the pool has given out all it has."""
    async with sql_store(postgresql_url) as store:

        async def batch(number: int) -> None:
            async with store.unit_of_work(batch=True) as uow:
                await uow.batch.lock(order_ids=[], product_ids=[number], user_ids=[])

        async with asyncio.timeout(4):
            await asyncio.gather(*(batch(number) for number in range(20)))
