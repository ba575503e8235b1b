"""A database that is lent is as the migrations leave it, whatever the tests before did with it."""
# ruff: noqa: S608 - the names in these statements are those of the database's own tables

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from shop.adapters.sql.schema import SqlSchema
from shop.domain.errors import WrongCredentials
from shop.domain.keys import KeyedRequest
from shop.domain.moving import MovedProduct
from shop.domain.users import OPERATOR
from tests.builders import PASSWORD, items
from tests.databases import SIZE_MAX, Lender
from tests.postgresql import TEMPLATE, PostgresServer, unused_name
from tests.stores import sql_store
from tests.use_cases import UseCases

_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
# What can be looked at by name, with no ids of its own.
_SCHEMA = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE oid >= 16384 ORDER BY 1",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "triggers": "SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger"
    " WHERE NOT tgisinternal ORDER BY 1",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE oid >= 16384 ORDER BY 1",
    "sequences": "SELECT sequencename, last_value, increment_by FROM pg_sequences ORDER BY 1",
    "settings": "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON setdatabase = d.oid"
    " WHERE datname = current_database()",
    "connections": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name <> ''",
}


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(
        url.replace("+asyncpg", ""), server_settings={"search_path": "public"}
    )


async def look(url: str) -> dict[str, Any]:
    """Everything there is in a database."""
    connection = await connect(url)
    try:
        seen: dict[str, Any] = {name: await connection.fetch(sql) for name, sql in _SCHEMA.items()}
        for [table] in await connection.fetch(_TABLES):
            seen[table] = await connection.fetch(f"SELECT * FROM {table}")
        return seen
    finally:
        await connection.close()


async def trade(url: str) -> None:
    """Put rows into every table."""
    async with sql_store(url) as store:
        await SqlSchema(engines=store.sql).claim_currency("EUR")
        shop = UseCases(store.unit_of_work)
        tea = await shop.given_product()
        alice = await shop.given_customer("alice")
        placed = await shop.place_order(caller=alice, items=items((tea.id, 1)))
        once = KeyedRequest(
            user_id=alice.user_id,
            key="once",
            route="POST /cancel/",
            digest=bytes(32),
            at=datetime.now(UTC),
            render=lambda _: b"{}",
        )
        await shop.cancel_order(caller=alice, order_id=placed.order.id, key=once)
        async with store.unit_of_work() as uow:
            await uow.leases.take("purge", holder=uuid4(), lasting=timedelta(minutes=1))
            await uow.moving.save_users([], [], alike=[], digests={alice.user_id: bytes(32)})
            moved = MovedProduct(product_id=tea.id, digest=bytes(32), stock_there=0, stock=0)
            await uow.moving.save_products([moved])
            await uow.commit()
        await shop.count_lists(caller=OPERATOR)
        await shop.sign_in(username="alice", password=PASSWORD)
        with pytest.raises(WrongCredentials):
            await shop.sign_in(username="alice", password="wrong")
        await shop.intake.close()
    filled = await look(url)
    assert [name for name, rows in filled.items() if not rows] == ["settings"]


def running(*statements: str) -> Callable[[str], Awaitable[None]]:
    async def run(url: str) -> None:
        connection = await connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    return run


async def leave_a_lock(url: str) -> None:
    """In a transaction that nobody ends, in a connection that nobody closes."""
    connection = await connect(url)
    await connection.execute("SET application_name = 'left open'")
    await connection.execute("BEGIN; LOCK TABLE products, alembic_version")
    _left_open.append(connection)


async def cut_all_connections(url: str) -> None:
    connection = await connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


_left_open: list[asyncpg.Connection] = []

DIRT: dict[str, Callable[[str], Awaitable[None]]] = {
    "rows in every table": trade,
    "another revision": running("UPDATE alembic_version SET version_num = 'other'"),
    "no revision": running("DELETE FROM alembic_version"),
    "a new table": running("CREATE TABLE more (id int)", "INSERT INTO more VALUES (1)"),
    "a lost table": running("DROP TABLE order_events"),
    "a new column": running("ALTER TABLE users ADD more int"),
    "a lost constraint": running("ALTER TABLE stock DROP CONSTRAINT stock_on_hand_not_negative"),
    "a lost index": running("DROP INDEX stock_movements_by_order"),
    "a trigger that is switched off": running("ALTER TABLE order_events DISABLE TRIGGER ALL"),
    "another function": running(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'"
    ),
    "another step of a sequence": running("ALTER SEQUENCE users_id_seq INCREMENT 7"),
    "a setting": running(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 64',"
        " current_database()); END $$"
    ),
    "a lock in an open transaction": leave_a_lock,
    "cut connections": cut_all_connections,
}


@pytest.mark.parametrize("dirty", DIRT.values(), ids=DIRT)
async def test_a_database_comes_back_as_the_migrations_leave_it(
    lender: Lender,
    migrated_postgresql: PostgresServer,
    dirty: Callable[[str], Awaitable[None]],
) -> None:
    name = unused_name("as_migrated")
    new = await look(migrated_postgresql.create_database(name, template=TEMPLATE))
    migrated_postgresql.drop_database(name)
    with lender.lend() as url:
        assert await look(url) == new
        await dirty(url)
        assert dirty in (leave_a_lock, cut_all_connections) or await look(url) != new
    with lender.lend() as again:
        assert await look(again) == new
    while _left_open:
        _left_open.pop().terminate()


async def test_a_database_is_lent_again_but_for_one_that_has_grown(lender: Lender) -> None:
    with lender.lend() as url:
        await trade(url)
    with lender.lend() as again:
        assert again == url
        await running(
            "INSERT INTO users (username, password_hash, role, disabled, created_at)"
            " SELECT repeat('x', 100) || n, '', 'customer', false, now()"
            f" FROM generate_series(1, {SIZE_MAX // 100}) AS n"
        )(again)
    with lender.lend() as other:
        assert other != url


def test_no_two_have_the_same_database_at_a_time(lender: Lender) -> None:
    with lender.lend() as one, lender.lend() as other:
        assert one != other


# Of a server that nobody else uses.
_ON_A_SERVER_OF_THEIR_OWN = {"concurrency/test_stops.py"}


def test_who_waits_is_asked_of_ones_own_database() -> None:
    """Tests that run beside this one have locks to wait for, too, on the same server."""
    folder = Path(__file__).parent.parent
    asking = {
        file.relative_to(folder).as_posix(): text
        for file in folder.rglob("test_*.py")
        if "NOT granted" in (text := file.read_text())
    }
    elsewhere = {name for name, text in asking.items() if "current_database()" not in text}
    assert elsewhere == _ON_A_SERVER_OF_THEIR_OWN
