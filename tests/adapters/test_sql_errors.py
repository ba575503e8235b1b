"""What goes wrong with a database is told in the words of the domain."""

import asyncio
import threading
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import text

from shop.adapters.sql.engine import DatabaseOptions
from shop.adapters.sql.schema import SqlSchema
from shop.domain.errors import (
    InvalidToken,
    OutcomeUnknown,
    Overloaded,
    StoreUnavailable,
    Unavailable,
    WriteConflict,
)
from shop.domain.pages import Window
from shop.domain.ports import UnitOfWork
from shop.domain.products import ProductQuery
from shop.domain.users import OPERATOR
from tests.builders import items, order_id, product, request
from tests.postgresql import PostgresServer, running_postgresql
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

IMPATIENT = DatabaseOptions(
    pool_size=2,
    read_pool_size=2,
    pool_timeout=0.1,
    connect_timeout=1.0,
    lock_timeout=0.1,
    statement_timeout=2.0,
)


async def read_something(store: Store, *, read_only: bool = True) -> None:
    async with store.unit_of_work(read_only=read_only) as uow:
        await uow.products.read_window(ProductQuery(), Window(limit=1))


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_server_that_is_not_there_is_away(tmp_path: Path, read_only: bool) -> None:
    async with sql_store(f"postgresql+asyncpg://shop@/shop?host={tmp_path}") as store:
        with pytest.raises(StoreUnavailable):
            await read_something(store, read_only=read_only)


async def test_a_file_that_cannot_be_opened_is_away(tmp_path: Path) -> None:
    file = tmp_path / "shop.sqlite3"
    async with sql_store(f"sqlite+aiosqlite:///{file}") as store:
        # While nothing is connected: before, it would be refused at once.
        file.unlink()
        file.mkdir()
        with pytest.raises(StoreUnavailable):
            await read_something(store)
    # The driver's thread has a last word for this event loop.
    for thread in threading.enumerate():
        if "connection_worker" in thread.name:
            await asyncio.to_thread(thread.join, 5)


@pytest.mark.parametrize("wrong", [("shop@", "nobody@"), ("?host", "-other?host")])
async def test_a_server_that_refuses_the_user_or_has_no_such_database_is_away(
    postgresql_url: str, wrong: tuple[str, str]
) -> None:
    async with sql_store(postgresql_url.replace(*wrong)) as store:
        with pytest.raises(StoreUnavailable, match="refuses") as refused:
            await read_something(store)
    assert "does not exist" in str(refused.value.__cause__)


async def test_a_certificate_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    async with sql_store("postgresql+asyncpg://shop@localhost/shop?ssl=verify-full") as store:
        with pytest.raises(StoreUnavailable) as refused:
            await read_something(store)
    assert f"{tmp_path}/.postgresql/root.crt" in str(refused.value.__cause__)


async def test_a_connection_that_was_cut_is_away_and_the_next_one_works(
    postgresql_url: str, migrated_postgresql: PostgresServer
) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'shop'"
    )
    database = postgresql_url.split("/")[3].split("?")[0]

    async def write_while_cut(store: Store, *, noticed: bool) -> None:
        async with store.unit_of_work() as uow:
            await uow.products.add([product(0)])
            migrated_postgresql.execute(cut, database=database)
            while noticed and not uow.driver.is_closed():  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0)
            await uow.commit()

    async with sql_store(postgresql_url) as store:
        # Nothing was sent; or COMMIT was, and nothing came back.
        for noticed, expected in ((True, StoreUnavailable), (False, OutcomeUnknown)):
            with pytest.raises(expected):
                await write_while_cut(store, noticed=noticed)
        await read_something(store)
        async with store.unit_of_work(read_only=True) as uow:
            assert not await uow.products.read_window(ProductQuery(), Window(limit=1))


async def test_a_restarted_server_is_used_again_after_one_refusal() -> None:
    with running_postgresql() as server:
        url = server.create_database("shop")
        async with sql_store(url) as store:
            await SqlSchema(engines=store.sql).upgrade()
            await read_something(store)
            server.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await read_something(store)
            server.start()
            await read_something(store)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_who_waits_too_long_for_a_lock_is_told_to_come_again(
    request: pytest.FixtureRequest, kind: str
) -> None:
    """Two processes; the first holds the lock."""
    url = request.getfixturevalue(f"{kind}_url")
    async with sql_store(url) as patient, sql_store(url, IMPATIENT) as impatient:
        teapot = await UseCases(patient.unit_of_work).given_product()

        async def lock(uow: UnitOfWork) -> None:
            assert teapot.id in await uow.stock.lock([teapot.id])

        async def lock_impatiently() -> None:
            async with impatient.unit_of_work() as uow:
                await lock(uow)

        async with patient.unit_of_work() as uow:
            await lock(uow)
            with pytest.raises(StoreUnavailable):
                await lock_impatiently()
            await read_something(impatient)
        await lock_impatiently()


async def test_who_gives_up_waiting_for_the_write_lock_holds_no_connection(sqlite_url: str) -> None:
    """Two processes; the first holds the lock. The second has one connection to write with."""
    async with sql_store(sqlite_url) as first, sql_store(sqlite_url, IMPATIENT) as second:
        tracebacks = []
        for _ in range(3):
            async with first.unit_of_work():
                waiting = asyncio.create_task(read_something(second, read_only=False))
                done, _ = await asyncio.wait([waiting], timeout=0.02)
                assert not done
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError) as cancelled:
                    await waiting
                # Keeps its frames alive, and with them what they hold.
                tracebacks.append(cancelled)
        await read_something(second, read_only=False)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_when_every_connection_is_busy_the_next_is_told_to_come_again(
    request: pytest.FixtureRequest, kind: str
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    async with sql_store(url, IMPATIENT) as store:
        async with (
            store.unit_of_work(read_only=True),
            store.unit_of_work(read_only=True),
        ):
            with pytest.raises(Overloaded):
                await read_something(store)
        await read_something(store)


async def test_a_statement_that_takes_too_long_is_away(postgresql_url: str) -> None:
    quick = DatabaseOptions(statement_timeout=0.1)
    async with sql_store(postgresql_url, quick) as store:

        async def dawdle() -> None:
            async with store.unit_of_work() as uow:
                connection = uow.products._connection  # type: ignore[attr-defined]
                await connection.execute(text("SELECT pg_sleep(10)"))

        with pytest.raises(StoreUnavailable):
            await dawdle()
        await read_something(store)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_who_gives_up_waiting_for_a_read_holds_no_connection(
    request: pytest.FixtureRequest, kind: str
) -> None:
    long = {
        "postgresql": "SELECT pg_sleep(10)",
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) "
        "SELECT max(i) FROM n",
    }[kind]
    async with sql_store(request.getfixturevalue(f"{kind}_url"), IMPATIENT) as store:

        async def dawdle() -> None:
            async with store.unit_of_work(read_only=True) as uow:
                connection = uow.products._connection  # type: ignore[attr-defined]
                await connection.execute(text(long))

        for _ in range(IMPATIENT.read_pool_size + 1):
            reading = asyncio.create_task(dawdle())
            done, _ = await asyncio.wait([reading], timeout=0.05)
            assert not done
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        await read_something(store)


async def test_a_column_that_changes_under_a_running_server_is_a_race_lost(
    postgresql_url: str,
) -> None:
    """A migration of the next version: what the server has prepared does not fit any more."""
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        product = await shop.given_product()

        async def read_to_change() -> None:
            async with store.unit_of_work() as uow:
                await uow.products.get(product.id)

        await read_to_change()
        await read_something(store)

        async def change_type(to: str) -> None:
            async with store.sql.patient.begin() as connection:
                change = f"ALTER TABLE products ALTER COLUMN description TYPE {to}"
                await connection.execute(text(change))

        await change_type("varchar(20000)")
        with pytest.raises(WriteConflict):
            await read_to_change()
        await read_to_change()
        # Of a read alone the driver does it by itself.
        await read_something(store)
        # Use cases try again by themselves, those that read as well; so does the intake.
        buyer, teapot = await shop.given_customer(), await shop.given_product()
        await shop.place_order(caller=buyer, items=items((teapot.id, 1)))
        await change_type("text")
        async with store.sql.patient.begin() as connection:
            change = "ALTER TABLE products ALTER COLUMN name TYPE varchar(300)"
            await connection.execute(text(change))
        assert (await shop.place_order(caller=buyer, items=items((teapot.id, 1)))).created
        page = await shop.list_products(
            caller=OPERATOR, query=ProductQuery(), window=Window(limit=1)
        )
        assert len(page.items) == 1
        await shop.intake.close()


async def test_a_deadlock_is_a_race_lost_by_one(postgresql_url: str) -> None:
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        first, second = [(await shop.given_product()).id for _ in range(2)]
        both_hold_one = asyncio.Barrier(2)

        async def lock_one_then(one: int, other: int) -> None:
            async with store.unit_of_work() as uow:
                await uow.stock.lock([one])
                await both_hold_one.wait()
                await uow.stock.lock([other])

        ended = await asyncio.gather(
            lock_one_then(first, second), lock_one_then(second, first), return_exceptions=True
        )
        assert sorted(type(end).__name__ for end in ended) == ["NoneType", "WriteConflict"]


async def test_an_order_id_taken_meanwhile_is_a_race_lost(sql: Store) -> None:
    """What the intake then tries again, alone."""
    shop = UseCases(sql.unit_of_work)
    buyer = await shop.given_customer()
    first, second = [(await shop.given_product()).id for _ in range(2)]
    user_id = buyer.user_id
    answers = await asyncio.gather(
        shop.decide_orders([request((first, 1), number=1, user_id=user_id)]),
        shop.decide_orders([request((second, 1), number=1, user_id=user_id)]),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, list) for answer in answers) >= 1
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(error, WriteConflict) for error in errors)


async def test_a_user_who_is_not_there_has_no_valid_token(sql: Store) -> None:
    shop = UseCases(sql.unit_of_work)
    teapot = await shop.given_product()
    with pytest.raises(InvalidToken):
        await shop.decide_orders([request((teapot.id, 1), user_id=404)])
    assert await shop.stock_of(teapot) == teapot.stock


async def test_a_mistake_of_ours_does_not_pass_for_a_database_that_is_away(sql: Store) -> None:
    """A product id no database can hold must be refused at the edge; here it is a bug."""
    shop = UseCases(sql.unit_of_work)
    buyer = await shop.given_customer()
    teapot = await shop.given_product()
    place_order = shop.container.place_order()
    good, bad = await asyncio.gather(
        place_order(caller=buyer, items=items((teapot.id, 1)), order_id=order_id(1)),
        place_order(caller=buyer, items=items((2**64, 1)), order_id=order_id(2)),
        return_exceptions=True,
    )
    assert not isinstance(good, BaseException)
    assert isinstance(bad, Exception)
    assert not isinstance(bad, Unavailable)
    await shop.intake.close()


async def test_a_full_disk_takes_no_stock_without_its_orders(sqlite_url: str) -> None:
    """SQLite gives the transaction up by itself then; nothing may be written past its end."""
    async with sql_store(sqlite_url) as store:
        shop = UseCases(store.unit_of_work)
        buyer = await shop.given_customer()
        teapot = await shop.given_product(10_000)
        numbers = count(1)

        async def allow(more_pages: int) -> None:
            async with store.sql.write.connect() as connection:
                used = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
                await connection.exec_driver_sql(f"PRAGMA max_page_count = {used + more_pages}")

        async def fill() -> None:
            while True:
                await shop.decide_orders(
                    [
                        request((teapot.id, 1), number=next(numbers), user_id=buyer.user_id)
                        for _ in range(20)
                    ]
                )

        # So that one or the other statement is the first that finds no page.
        for spare in range(6):
            await allow(spare)
            with pytest.raises(StoreUnavailable):
                await fill()
            await allow(100_000)
            assert await shop.differences() == []
