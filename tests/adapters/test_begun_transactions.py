"""What ends a batch's transaction begins the next one: a round trip less, and nobody the worse."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest
from sqlalchemy import make_url, text

from shop.adapters.sql import engine
from shop.adapters.sql.engine import DatabaseOptions
from shop.adapters.sql.statements import StatementObserver
from shop.domain.errors import OutOfStock, ShopError, StoreUnavailable
from tests.addresses import Address, address
from tests.builders import items
from tests.postgresql import PostgresServer, running_postgresql
from tests.stores import Store, migrate, sql_store
from tests.use_cases import UseCases

SOON = 0.05
"""Seconds: so long a transaction waits in some tests."""
PLACING, REFUSING = 3, 2
"""Round trips, where the transaction has been begun."""


class Told(StatementObserver):
    """What begins and ends transactions, and what failed."""

    def __init__(self) -> None:
        self.transactions: list[str] = []
        self.errors: list[BaseException] = []

    def statement_done(
        self, statement: str, *, seconds: float, error: BaseException | None
    ) -> None:
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.transactions.append(statement.partition(" ISOLATION")[0])
        if error is not None:
            self.errors.append(error)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def door(postgresql: PostgresServer) -> AsyncIterator[Address]:
    async with address(postgresql) as door:
        yield door


@pytest.fixture
def url_by_door(postgresql_url: str, door: Address) -> str:
    database = make_url(postgresql_url).database
    return f"postgresql+asyncpg://shop@127.0.0.1:{door.port}/{database}"


@pytest.fixture
async def watching(postgresql_url: str) -> AsyncIterator[Store]:
    """The same database, for looking at what the other sessions do."""
    async with sql_store(postgresql_url) as store:
        yield store


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BEGUN_SECONDS_MAX", SOON)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a batch is soon enough after another one."""
    monkeypatch.setattr(engine, "BEGUN_SECONDS_MAX", 5.0)


async def batch(store: Store) -> int:
    """One that only looks. The server's process behind it."""
    async with store.unit_of_work(batch=True) as uow:
        driver = uow.driver  # type: ignore[attr-defined]
        return int(await driver.fetchval("SELECT pg_backend_pid()"))


async def ask(store: Store, question: str, pid: int) -> tuple[object, ...]:
    async with store.sql.patient.begin() as connection:
        row = (await connection.execute(text(question), {"pid": pid})).one_or_none()
        return () if row is None else tuple(row)


async def state_of(store: Store, pid: int) -> object:
    """None if the session is over."""
    return next(
        iter(await ask(store, "SELECT state FROM pg_stat_activity WHERE pid = :pid", pid)), None
    )


async def end_session(store: Store, pid: int) -> None:
    await ask(store, "SELECT pg_terminate_backend(:pid)", pid)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():
            pass  # each look is a round trip


async def is_idle(store: Store, pid: int) -> bool:
    return await state_of(store, pid) == "idle"


@pytest.mark.usefixtures("unhurried")
async def test_orders_that_follow_each_other_take_three_round_trips(
    url_by_door: str, door: Address
) -> None:
    async with sql_store(url_by_door) as store:
        shop = UseCases(store.unit_of_work)
        buyer, tea, none = (
            await shop.given_customer(),
            await shop.given_product(stock=1_000),
            await shop.given_product(stock=0),
        )
        # The first prepares the statements.
        await shop.place_order(caller=buyer, items=items((tea.id, 1)))
        for together in (1, 1, 16):
            before = door.asked
            await asyncio.gather(
                *(shop.place_order(caller=buyer, items=items((tea.id, 1))) for _ in range(together))
            )
            assert door.asked - before == PLACING
        before = door.asked
        with pytest.raises(OutOfStock):
            await shop.place_order(caller=buyer, items=items((none.id, 1)))
        assert door.asked - before == REFUSING
        await shop.close()


@pytest.mark.usefixtures("unhurried")
async def test_a_transaction_that_waits_for_a_batch_holds_nothing(
    watching: Store, postgresql_url: str
) -> None:
    """No snapshot, which would keep VACUUM from its work, no transaction id, and no lock."""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        buyer, tea = await shop.given_customer(), await shop.given_product()
        await shop.place_order(caller=buyer, items=items((tea.id, 1)))
        pid = await batch(store)
        held = """
            SELECT state, backend_xid, backend_xmin,
                ARRAY(SELECT locktype FROM pg_locks AS held WHERE held.pid = session.pid)
            FROM pg_stat_activity AS session WHERE pid = :pid
        """
        assert await ask(watching, held, pid) == ("idle in transaction", None, None, ["virtualxid"])
        await shop.close()


@pytest.mark.usefixtures("soon")
async def test_one_that_nobody_comes_for_is_ended_and_its_connection_kept(
    watching: Store, postgresql_url: str, told: Told
) -> None:
    async with sql_store(postgresql_url, observers=[told]) as store:
        pid = await batch(store)
        await until(lambda: is_idle(watching, pid))
        assert await batch(store) == pid
        first = ["BEGIN", "ROLLBACK AND CHAIN", "ROLLBACK"]
        assert told.transactions == [*first, "BEGIN", "ROLLBACK AND CHAIN"]


async def test_it_is_ended_before_a_server_with_little_patience_does(
    watching: Store, postgresql_url: str, told: Told
) -> None:
    impatient = DatabaseOptions(statement_timeout=0.2)
    async with sql_store(postgresql_url, impatient, observers=[told]) as store:
        pid = await batch(store)
        await until(lambda: is_idle(watching, pid))
        assert await batch(store) == pid


async def test_batches_that_come_just_then_find_everything_in_order(
    postgresql_url: str, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BEGUN_SECONDS_MAX", 0.002)
    async with sql_store(postgresql_url, observers=[told]) as store:
        pids = set()
        for number in range(200):
            pids.add(await batch(store))
            await asyncio.sleep(0.0004 * (number % 11))
        assert len(pids) == 1
    assert not told.errors
    begun = False
    for statement in told.transactions:
        assert begun == (statement != "BEGIN")
        begun = statement != "ROLLBACK"
    assert {"BEGIN", "ROLLBACK"} <= set(told.transactions)


@pytest.mark.usefixtures("soon")
async def test_of_many_batches_at_once_no_session_is_left_in_a_transaction(
    watching: Store,
    postgresql_url: str,
) -> None:
    async with sql_store(postgresql_url) as store:
        for _ in range(5):
            pids = await asyncio.gather(*(batch(store) for _ in range(6)))
        for pid in set(pids):
            await until(lambda pid=pid: is_idle(watching, pid))  # type: ignore[misc]
        assert store.sql.pools["intake"].in_use == 0


@pytest.mark.usefixtures("unhurried")
async def test_what_goes_back_to_the_pool_is_in_no_transaction(
    watching: Store, postgresql_url: str
) -> None:
    """Somebody has begun to wait there while the COMMIT was under way, which begins the next."""
    async with sql_store(postgresql_url) as store:
        engines, pid = store.sql, await batch(store)
        lent = await engines.connect(engines.intake)
        assert lent.is_begun
        engines.awaited[engines.intake] += 1
        await engines.give_back(lent)
        engines.awaited[engines.intake] -= 1
        assert await state_of(watching, pid) == "idle"
        assert await batch(store) == pid


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("noticed", [True, False])
async def test_a_session_that_is_ended_while_it_waits_fails_no_order(
    watching: Store, postgresql: PostgresServer, postgresql_url: str, noticed: bool
) -> None:
    """Whether the driver has heard of it when the next order comes, or not."""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        buyer, tea = await shop.given_customer(), await shop.given_product(stock=100)
        for _ in range(5):
            await shop.place_order(caller=buyer, items=items((tea.id, 1)))
            pid = await batch(store)
            if noticed:
                await end_session(watching, pid)
            else:
                postgresql.execute(f"SELECT pg_terminate_backend({pid})")
            await shop.place_order(caller=buyer, items=items((tea.id, 1)))
        assert await shop.stock_of(tea) == 90
        await shop.close()


async def test_a_process_that_stood_still_for_long_fails_no_order(postgresql_url: str) -> None:
    """The server has ended the session meanwhile, and its farewell is all that it answers."""
    async with sql_store(postgresql_url, DatabaseOptions(statement_timeout=0.2)) as store:
        shop = UseCases(store.unit_of_work)
        buyer, tea = await shop.given_customer(), await shop.given_product(stock=10)
        await shop.place_order(caller=buyer, items=items((tea.id, 1)))
        time.sleep(0.5)  # noqa: ASYNC251 - the whole process
        await shop.place_order(caller=buyer, items=items((tea.id, 1)))

        async def stand_still() -> None:
            async with store.unit_of_work(batch=True) as uow:
                await uow.batch.lock(order_ids=[], product_ids=[tea.id], user_ids=[])
                time.sleep(0.5)  # noqa: ASYNC251
                await uow.batch.lock(order_ids=[], product_ids=[tea.id], user_ids=[])

        with pytest.raises(StoreUnavailable):
            await stand_still()
        await shop.close()


@pytest.mark.usefixtures("unhurried")
async def test_with_its_generation_a_session_is_over_that_has_begun(
    watching: Store, postgresql: PostgresServer, postgresql_url: str
) -> None:
    """It answers, and may be of a server that is not the primary any more."""
    async with sql_store(postgresql_url) as store:
        before = await batch(store)

        async def be_ended() -> None:
            async with store.unit_of_work() as uow:
                driver = uow.driver  # type: ignore[attr-defined]
                pid = await driver.fetchval("SELECT pg_backend_pid()")
                postgresql.execute(f"SELECT pg_terminate_backend({pid})")
                await driver.fetchval("SELECT 1")

        with pytest.raises(StoreUnavailable):
            await be_ended()
        assert await batch(store) != before

        async def is_over() -> bool:
            return await state_of(watching, before) is None

        await until(is_over)


@pytest.mark.usefixtures("unhurried")
async def test_a_transaction_that_failed_is_not_committed_nor_followed_by_another(
    postgresql_url: str,
) -> None:
    async with sql_store(postgresql_url) as store:
        before = await batch(store)

        async def fail_unheard() -> None:
            async with store.unit_of_work(batch=True) as uow:
                driver = uow.driver  # type: ignore[attr-defined]
                with pytest.raises(asyncpg.UndefinedColumnError):
                    await driver.execute("SELECT nothing")
                await uow.commit()

        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await fail_unheard()
        assert await batch(store) != before


@pytest.mark.usefixtures("unhurried")
async def test_a_stop_ends_it(watching: Store, postgresql_url: str) -> None:
    async with sql_store(postgresql_url) as store:
        pid = await batch(store)
        await store.sql.dispose()

        async def is_over() -> bool:
            return await state_of(watching, pid) is None

        await until(is_over)


async def _rolling_back(door: Address) -> None:
    """Until a ROLLBACK is under way that nobody will answer."""
    before, door.silent = door.asked, True

    async with asyncio.timeout(10):
        while door.asked == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("soon")
async def test_a_stop_does_not_wait_for_a_server_that_is_silent(
    url_by_door: str, door: Address
) -> None:
    async with sql_store(url_by_door) as store:
        await batch(store)
        await _rolling_back(door)
        started = time.monotonic()
        await store.sql.dispose()
        # Its statement timeout is 10.
        assert time.monotonic() - started < 5.0


@pytest.mark.usefixtures("soon")
async def test_a_batch_that_comes_while_a_rollback_is_lost_gets_another_connection(
    url_by_door: str, door: Address
) -> None:
    options = DatabaseOptions(statement_timeout=0.5)
    async with sql_store(url_by_door, options) as store:
        before = await batch(store)
        await _rolling_back(door)
        one, two, given_up = (asyncio.create_task(batch(store)) for _ in range(3))
        await asyncio.sleep(0)
        given_up.cancel()
        door.silent = False
        after = await asyncio.gather(one, two)
        assert before not in after
        assert given_up.cancelled()
        assert store.sql.pools["intake"].in_use == 0


async def test_through_pgbouncer_no_transaction_is_begun_before_it_is_needed(
    watching: Store, postgresql_url: str, told: Told
) -> None:
    """It would have a connection of the server's to itself, of which there are few."""
    options = DatabaseOptions(pgbouncer=True)
    async with sql_store(postgresql_url, options, observers=[told]) as store:
        told.transactions.clear()
        pid = await batch(store)
        assert await state_of(watching, pid) == "idle"
        assert told.transactions[-1] == "ROLLBACK"


@pytest.fixture(scope="module")
def changed() -> Iterator[PostgresServer]:
    """A server of its own: its settings are changed."""
    with running_postgresql() as server:
        migrate(server.create_database("shop"))
        yield server


async def test_an_operator_who_allows_no_changes_is_heeded_by_orders_that_follow_each_other(
    changed: PostgresServer,
) -> None:
    """What is chained to a transaction that may write may write as well, for ever."""
    async with sql_store(changed.url("shop")) as store:
        shop = UseCases(store.unit_of_work)
        buyer, tea = await shop.given_customer(), await shop.given_product(stock=1_000_000)

        async def order_on() -> None:
            while True:
                await shop.place_order(caller=buyer, items=items((tea.id, 1)))

        ordering = asyncio.create_task(order_on())
        await asyncio.sleep(0.1)
        assert not ordering.done()
        changed.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        changed.execute("SELECT pg_reload_conf()")
        try:
            async with asyncio.timeout(5):
                with pytest.raises(ShopError) as refused:
                    await ordering
            assert isinstance(refused.value, StoreUnavailable)
        finally:
            ordering.cancel()
        await shop.close()
