"""COMMIT: never cancelled, and never taken for done or not done when that cannot be told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from shop.adapters.sql import unit_of_work
from shop.adapters.sql.engine import DatabaseOptions
from shop.domain.errors import OutcomeUnknown, StoreUnavailable
from shop.domain.ports import IN_COMMIT, UnitOfWork
from tests.builders import product
from tests.postgresql import PostgresServer, running_postgresql
from tests.stores import Store, migrate, sql_store

IMPATIENT = DatabaseOptions(statement_timeout=0.3)


@pytest.fixture(scope="module")
def lonely() -> Iterator[PostgresServer]:
    """A server of its own: its settings are changed."""
    with running_postgresql(durable=True) as server:
        migrate(server.create_database("shop"))
        yield server


@pytest.fixture
async def store(lonely: PostgresServer) -> AsyncIterator[Store]:
    async with sql_store(lonely.url("shop"), IMPATIENT) as store:
        yield store


@asynccontextmanager
async def standby_is_away(server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """Every COMMIT waits for a standby that is not there, until the block ends."""
    admin = await asyncpg.connect(host=str(server.root), user="shop", database="shop")

    async def set_standby(name: str) -> None:
        await admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        await admin.execute("SELECT pg_reload_conf()")
        while await admin.fetchval("SHOW synchronous_standby_names") != name:
            pass  # each look is a round trip, which gives the server its time

    await set_standby("nobody")
    try:
        yield admin
    finally:
        await set_standby("")
        await admin.close()


@pytest.fixture(params=[False, True], ids=["alone", "batch"])
def batch(request: pytest.FixtureRequest) -> bool:
    """Whether the COMMIT is a batch's, which begins the next one's transaction as well."""
    return bool(request.param)


async def add(store: Store, sku: str, *, batch: bool = False) -> None:
    async with store.unit_of_work(batch=batch) as uow:
        [product_id] = await uow.batch.new_product_ids(1)
        await uow.batch.add_products([product(product_id, sku=sku)], [])
        await uow.commit()


async def skus(admin: asyncpg.Connection) -> set[str]:
    return {row["sku"] for row in await admin.fetch("SELECT sku FROM products")}


async def all_ended(store: Store) -> None:
    while store.sql.abandoned:
        await asyncio.wait(store.sql.abandoned)


async def test_a_commit_that_waits_for_its_standby_is_left_alone_and_its_outcome_unknown(
    store: Store, lonely: PostgresServer, batch: bool
) -> None:
    waits, after = f"WAITS-{batch}", f"AFTER-{batch}"
    async with standby_is_away(lonely) as admin:
        with pytest.raises(OutcomeUnknown):
            await add(store, waits, batch=batch)
        # Longer than the statement timeout, after which a server breaks off what it runs.
        await asyncio.sleep(3 * IMPATIENT.statement_timeout)
        assert len(store.sql.abandoned) == 1
        assert waits not in await skus(admin)
    await all_ended(store)
    await add(store, after, batch=batch)
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.products.find_skus([waits, after]) == {waits, after}


async def test_a_caller_who_is_cancelled_in_commit_does_not_take_it_along(
    store: Store, lonely: PostgresServer, batch: bool
) -> None:
    async with standby_is_away(lonely):
        adding = asyncio.create_task(add(store, f"CANCELLED-{batch}", batch=batch))
        await in_commit(lonely)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await adding
        assert cancelled.value.args == (IN_COMMIT,)
    await all_ended(store)
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.products.find_skus([f"CANCELLED-{batch}"])


async def test_who_broke_the_wait_off_does_not_make_it_done(
    store: Store, lonely: PostgresServer, batch: bool
) -> None:
    """PostgreSQL then says COMMIT, with a warning: committed here, and there perhaps not."""
    async with standby_is_away(lonely) as admin:
        adding = asyncio.create_task(add(store, f"BROKEN-OFF-{batch}", batch=batch))
        await in_commit(lonely)
        await admin.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        with pytest.raises(OutcomeUnknown):
            await adding
        assert f"BROKEN-OFF-{batch}" in await skus(admin)


async def test_a_server_that_ends_in_the_middle_of_it_has_said_nothing(
    store: Store, lonely: PostgresServer, batch: bool
) -> None:
    async with standby_is_away(lonely) as admin:
        adding = asyncio.create_task(add(store, f"KILLED-{batch}", batch=batch))
        await in_commit(lonely)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        with pytest.raises(OutcomeUnknown):
            await adding


async def test_beyond_a_number_of_such_commits_changes_are_refused_at_once(
    store: Store, lonely: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_of_work, "ABANDONED_MAX", 2)
    async with standby_is_away(lonely):
        adding = (add(store, f"MANY-{n}") for n in range(2))
        answers = await asyncio.gather(*adding, return_exceptions=True)
        assert [type(answer) for answer in answers] == [OutcomeUnknown] * 2
        with pytest.raises(StoreUnavailable):
            await add(store, "TOO-MANY")
        async with store.unit_of_work(read_only=True) as uow:
            assert await uow.products.find_skus(["TOO-MANY"]) == set()
    await all_ended(store)
    await add(store, "ENOUGH")


async def test_a_refused_commit_is_an_error_and_not_unknown(
    store: Store, lonely: PostgresServer
) -> None:
    """A rule that is checked at the end: the server says that nothing was committed."""
    admin = await asyncpg.connect(host=str(lonely.root), user="shop", database="shop")
    await admin.execute(
        "CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); "
        "INSERT INTO deferred VALUES (1)"
    )
    await admin.close()

    async def clash(uow: UnitOfWork) -> None:
        await uow.driver.execute("INSERT INTO deferred VALUES (1)")  # type: ignore[attr-defined]
        await uow.commit()

    with pytest.raises(Exception, match="faster"):
        async with store.unit_of_work() as uow:
            await clash(uow)


async def in_commit(server: PostgresServer) -> None:
    """Until a COMMIT waits for the standby."""
    watch = await asyncpg.connect(host=str(server.root), user="shop", database="shop")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    try:
        async with asyncio.timeout(10):
            while not await watch.fetchval(waiting):
                pass
    finally:
        await watch.close()
