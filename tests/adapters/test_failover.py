"""Another server becomes the primary: no connection to the old one is kept, and nobody restarts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import event
from sqlalchemy.exc import ResourceClosedError

from shop.adapters.sql.engine import DatabaseOptions
from shop.domain.errors import OutcomeUnknown, StoreUnavailable
from shop.domain.ports import UnitOfWork
from tests.addresses import Address, address
from tests.builders import product
from tests.concurrency.deployment import until
from tests.entrypoints.api import container_for, opened_api, order_of, placed, problem, settings_for
from tests.postgresql import PostgresServer, follows, running_postgresql
from tests.stores import Store, migrate, sql_store

BACK_SECONDS_MAX = 5.0


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with running_postgresql() as server:
        migrate(server.create_database("shop"))
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with running_postgresql(standby_of=primary) as server:
        yield server


@pytest.fixture
async def door() -> AsyncIterator[Address]:
    async with address() as door:
        yield door


def url_of(*doors: Address, options: str = "") -> str:
    hosts = ",".join(f"127.0.0.1:{door.port}" for door in doors)
    return f"postgresql+asyncpg://shop@{hosts}/shop?{options}"


async def ask(store: Store, question: str, *, read_only: bool = False) -> object:
    """What the server answers that the store is connected to."""
    async with store.unit_of_work(read_only=read_only) as uow:
        return await uow.driver.fetchval(question)  # type: ignore[attr-defined]


async def pids(store: Store, number: int) -> set[object]:
    """Of the servers' processes behind so many connections, used at the same time."""
    async with AsyncExitStack() as stack:
        units = [await stack.enter_async_context(store.unit_of_work()) for _ in range(number)]
        return {await pid_of(uow) for uow in units}


async def pid_of(uow: UnitOfWork) -> object:
    return await uow.driver.fetchval("SELECT pg_backend_pid()")  # type: ignore[attr-defined]


async def write(store: Store) -> None:
    async with store.unit_of_work() as uow:
        added = await uow.products.add([product(0, sku=f"SKU-{time.monotonic_ns()}")])
        assert added
        await uow.commit()


async def test_a_server_that_takes_no_changes_is_left_with_all_its_connections(
    door: Address, primary: PostgresServer, standby: PostgresServer
) -> None:
    """It answers everything but a change, a ROLLBACK too: each connection looks sound."""
    door.leads_to = standby
    async with sql_store(url_of(door)) as store:
        await pids(store, 3)
        await ask(store, "SELECT 1", read_only=True)
        with pytest.raises(StoreUnavailable):
            await write(store)
        door.leads_to = primary
        await asyncio.gather(*(write(store) for _ in range(3)))
        assert await ask(store, "SELECT pg_is_in_recovery()", read_only=True) is False


async def test_a_session_that_an_operator_ends_takes_those_opened_before_along(
    door: Address, primary: PostgresServer
) -> None:
    door.leads_to = primary
    async with sql_store(url_of(door)) as store:
        before = await pids(store, 3)

        async def be_ended() -> None:
            async with store.unit_of_work() as uow:
                primary.execute(f"SELECT pg_terminate_backend({await pid_of(uow)})")
                await pid_of(uow)

        with pytest.raises(StoreUnavailable):
            await be_ended()
        after = await pids(store, 3)
        assert not before & after
        # One that was opened before and fails only now has nothing to say about the new ones.
        assert await pids(store, 3) == after


async def test_a_server_that_is_silent_is_left_at_once(
    door: Address, primary: PostgresServer
) -> None:
    door.leads_to = primary
    quick = DatabaseOptions(statement_timeout=0.2)
    async with sql_store(url_of(door), quick) as store:
        before = await pids(store, 3)
        door.silent = True
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await write(store)
        # The server's limit, and the second after which the driver no longer waits for it; no more
        # for taking leave.
        assert time.monotonic() - started < 3.0
        door.silent = False
        assert not before & await pids(store, 3)


async def test_a_statement_that_took_too_long_ends_no_session(
    door: Address, primary: PostgresServer
) -> None:
    door.leads_to = primary
    async with sql_store(url_of(door), DatabaseOptions(statement_timeout=0.2)) as store:
        before = await pids(store, 3)
        with pytest.raises(StoreUnavailable):
            await ask(store, "SELECT pg_sleep(5)")
        assert await pids(store, 3) == before


@pytest.fixture(scope="module")
def lonely() -> Iterator[PostgresServer]:
    """It has lost its place and does not know: no standby follows it, and each COMMIT waits."""
    with running_postgresql(synchronous_commit="on") as server:
        migrate(server.create_database("shop"))
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        server.execute("SELECT pg_reload_conf()")
        yield server


async def test_a_primary_that_holds_a_commit_up_is_left_for_another(
    door: Address, primary: PostgresServer, lonely: PostgresServer
) -> None:
    door.leads_to = primary
    quick = DatabaseOptions(statement_timeout=0.5)
    async with address(lonely) as first, sql_store(url_of(first, door), quick) as store:
        before = await pids(store, 3)
        with pytest.raises(OutcomeUnknown):
            await write(store)
        await write(store)
        assert not before & await pids(store, 3)
        assert (first.taken, door.taken) == (3, 3)
        # When the COMMIT ends at last, it has nothing to say about the new connections.
        after = await pids(store, 3)
        lonely.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        await until(lambda: not store.sql.abandoned, within=BACK_SECONDS_MAX)
        assert await pids(store, 3) == after


async def test_it_is_left_as_soon_as_another_takes_changes_and_asked_meanwhile(
    door: Address, primary: PostgresServer, standby: PostgresServer, lonely: PostgresServer
) -> None:
    """What it is asked need not be held up itself, as reads are not."""
    door.leads_to = standby
    quick = DatabaseOptions(statement_timeout=0.5)
    started = "SELECT pg_postmaster_start_time()"
    async with address(lonely) as first, sql_store(url_of(first, door), quick) as store:
        with pytest.raises(OutcomeUnknown):
            await write(store)
        of_lonely = await ask(store, started)
        assert await ask(store, started, read_only=True) == of_lonely
        door.leads_to = primary
        # Each within the seconds of doubt, and some more.
        for read_only in (True, False):
            for _ in range(40):
                if await ask(store, started, read_only=read_only) != of_lonely:
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("it is still asked")
        await write(store)


@pytest.mark.parametrize("pgbouncer", [False, True])
async def test_a_connection_that_is_lost_while_it_is_set_up_is_a_database_that_is_away(
    door: Address, primary: PostgresServer, pgbouncer: bool
) -> None:
    """SQLAlchemy asks its first one some questions, and does not say everything in one way."""
    door.leads_to = primary
    options = DatabaseOptions(pgbouncer=pgbouncer)
    failed = 0
    for door.answers_max in range(24):
        async with sql_store(url_of(door), options) as store:
            try:
                await ask(store, "SELECT 1", read_only=True)
            except StoreUnavailable:
                failed += 1
    assert 3 < failed < 24, "it was not cut where it is set up, or nowhere else"


async def test_nor_does_sqlalchemy_s_own_word_for_it_reach_a_client(
    door: Address, primary: PostgresServer
) -> None:
    """It said so when PgBouncer was killed just then, which cutting connections does not repeat."""
    door.leads_to = primary

    def lose(_connection: object, _record: object) -> None:
        raise ResourceClosedError("This Connection is closed")

    async with sql_store(url_of(door)) as store:
        event.listen(store.sql.read.sync_engine, "connect", lose)
        with pytest.raises(StoreUnavailable):
            await ask(store, "SELECT 1", read_only=True)


async def test_a_silent_host_costs_its_own_time_and_then_no_more(
    door: Address, primary: PostgresServer
) -> None:
    door.leads_to = primary
    quick = DatabaseOptions(connect_timeout=0.3)
    async with address() as silent, sql_store(url_of(silent, silent, door), quick) as store:
        started = time.monotonic()
        await write(store)
        assert 0.6 < time.monotonic() - started < 3.0
        await pids(store, 3)
        assert (silent.taken, door.taken) == (2, 3)


async def test_when_all_hosts_are_silent_the_database_is_away() -> None:
    async with address() as one, address() as two:
        async with sql_store(url_of(one, two), DatabaseOptions(connect_timeout=0.2)) as store:
            with pytest.raises(StoreUnavailable):
                await write(store)
        assert (one.taken, two.taken) == (1, 1)


@pytest.mark.parametrize(
    ("wanted", "in_recovery"),
    [
        ("", False),
        ("target_session_attrs=read-write", False),
        ("target_session_attrs=primary", False),
        ("target_session_attrs=standby", True),
        ("target_session_attrs=read-only", True),
        ("target_session_attrs=any", True),
    ],
)
@pytest.mark.parametrize("spelled", ["as libpq does", "as SQLAlchemy does"])
async def test_of_several_hosts_the_first_of_the_kind_is_taken(
    door: Address,
    primary: PostgresServer,
    standby: PostgresServer,
    spelled: str,
    wanted: str,
    in_recovery: bool,
) -> None:
    door.leads_to = standby
    async with address(primary) as other:
        url = url_of(door, other, options=wanted)
        if spelled == "as SQLAlchemy does":
            hosts = f"host=127.0.0.1:{door.port}&host=127.0.0.1:{other.port}"
            url = f"postgresql+asyncpg://shop@/shop?{hosts}&{wanted}"
        async with sql_store(url) as store:
            for read_only in (True, False):
                answer = await ask(store, "SELECT pg_is_in_recovery()", read_only=read_only)
                assert answer is in_recovery
            async with store.sql.patient.begin() as connection:
                answer = (await connection.exec_driver_sql("SELECT pg_is_in_recovery()")).scalar()
                assert answer is in_recovery


async def test_a_read_only_database_is_no_host_to_write_to(
    door: Address, primary: PostgresServer
) -> None:
    """It is no standby, and takes no changes all the same."""
    door.leads_to = primary
    with running_postgresql() as demoted:
        demoted.create_database("shop")
        demoted.execute("ALTER DATABASE shop SET default_transaction_read_only = on")
        async with address(demoted) as first, sql_store(url_of(first, door)) as store:
            await write(store)
            assert first.taken == 1


async def test_a_shop_is_ready_while_orders_can_be_placed_and_back_in_time(
    door: Address, primary: PostgresServer, standby: PostgresServer
) -> None:
    door.leads_to = primary
    container = container_for(settings_for(url_of(door), intake_deadline=1.0))
    async with opened_api(container) as api:
        tea = await api.given_product(stock=100)
        await placed(api.customer, (tea, 1))
        assert (await api.anonymous.get("/health/ready")).status_code == 200
        await follows(standby, primary)
        # As if the primary had come back as a standby.
        door.leads_to = standby
        primary.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shop'"
        )
        for _ in range(3):
            problem(await api.anonymous.get("/health/ready"), 503, "database_unavailable")
        assert (await api.customer.get(f"/api/products/{tea.id}/")).status_code == 200
        response = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
        problem(response, 503, "database_unavailable")
        door.leads_to = primary
        started = time.monotonic()
        await placed(api.customer, (tea, 1))
        assert (await api.anonymous.get("/health/ready")).status_code == 200
        assert time.monotonic() - started < BACK_SECONDS_MAX


async def test_a_standby_that_is_promoted_takes_the_orders(
    door: Address, primary: PostgresServer
) -> None:
    """The URL names both hosts."""
    with running_postgresql() as old:
        migrate(old.create_database("shop"))
        with running_postgresql(standby_of=old) as new:
            door.leads_to = old
            async with address(new) as other:
                settings = settings_for(url_of(door, other), database_connect_timeout=1.0)
                async with opened_api(container_for(settings)) as api:
                    tea = await api.given_product(stock=100)
                    await placed(api.customer, (tea, 1))
                    await follows(new, old)
                    await asyncio.to_thread(old.stop)
                    # The old host takes connections, and that is all.
                    door.leads_to = None
                    response = await api.anonymous.get("/health/ready")
                    problem(response, 503, "database_unavailable")
                    new.execute("SELECT pg_promote()")
                    started = time.monotonic()
                    await placed(api.customer, (tea, 1))
                    assert (await api.anonymous.get("/health/ready")).status_code == 200
                    assert time.monotonic() - started < BACK_SECONDS_MAX
