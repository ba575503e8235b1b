"""The schema's migrations, run and checked from the program: no alembic command is needed.

A migration that leaves older programs working says so by `compatible_with`: the oldest program, by
the newest revision that it knows, which may serve its schema. An older program cannot read the
migrations that it does not have, so the outcome is written into the database with each of them.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, event, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import is_missing_table, translating
from shop.adapters.sql.rows import insert_into
from shop.adapters.sql.search_index import build, missing_because
from shop.adapters.sql.tables import schema_compatibility, shop
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import OtherCurrency, StoreTooNew, StoreUnfit
from shop.domain.ports import Schema, SchemaState
from shop.domain.services.make_searchable import MakeSearchable
from shop.domain.users import OPERATOR

MIGRATIONS = Path(__file__).parent / "migrations"

# A standby's sessions are read-only as well.
_TAKES_CHANGES = {
    "postgresql": "current_setting('transaction_read_only') = 'off'",
    "sqlite": "true",
}

# Any number; the same for all who migrate, so that two hosts do it one after the other.
_TRY_LOCK = "SELECT WHERE pg_try_advisory_xact_lock(7466877)"
_LOCK_PAUSE = 0.1

# A table that somebody builds an index on, say, is left out, not waited for.
_ANALYZE = text("ANALYZE (SKIP_LOCKED) products, stock, listings")

# Who waits for a lock on a table has all those wait behind it who come later: a migration gives up
# after this, and is run again when whoever holds the table is gone.
_WAIT_BRIEFLY = "SET LOCAL lock_timeout = '2s'"

# One statement, since readiness is asked often.
_STATE = """
SELECT version_num, oldest_program, {takes_changes} AS takes_changes
FROM alembic_version LEFT JOIN schema_compatibility ON true
"""
_ENCODING = {"postgresql": "SHOW server_encoding", "sqlite": "PRAGMA encoding"}
_UTF8 = ("UTF8", "UTF-8")


class SqlSchema(Schema):
    def __init__(self, *, engines: Engines) -> None:
        self._engines = engines
        # Finds out what this program knows, as long as its own migrations are there.
        head()

    async def state(self, *, writable: bool = False) -> SchemaState:
        # Of SQLite's one writer everybody has to wait for the end of the one before.
        read_only = self._engines.servers is None or not writable
        async with SqlUnitOfWork(engines=self._engines, read_only=read_only) as uow:
            return await _read_state(uow.connection, writable=writable)

    async def check_encoding(self) -> None:
        statement = text(_ENCODING[self._engines.read.dialect.name])
        async with SqlUnitOfWork(engines=self._engines, read_only=True) as uow:
            encoding = await uow.connection.scalar(statement)
        if encoding not in _UTF8:
            raise StoreUnfit(
                f"The database stores text as {encoding}, which cannot hold what people write; "
                "the shop needs one that was created with the encoding UTF-8."
            )

    async def claim_currency(self, currency: str) -> None:
        stored = await self._currency()
        if stored is None:
            async with SqlUnitOfWork(engines=self._engines) as uow:
                row = insert_into(uow.connection, shop).values(id=1, currency=currency)
                await uow.connection.execute(row.on_conflict_do_nothing())
                await uow.commit()
            stored = await self._currency()
        if stored != currency:
            raise OtherCurrency(stored=str(stored), given=currency)

    async def _currency(self) -> str | None:
        async with SqlUnitOfWork(engines=self._engines, read_only=True) as uow:
            stored: str | None = await uow.connection.scalar(select(shop.c.currency))
        return stored

    async def upgrade(self) -> None:
        await self.check_encoding()
        with translating():
            async with migrating(self._engines) as connection:
                await connection.run_sync(_upgrade)
            if await self.state() is SchemaState.CURRENT:
                await self._prepare_search()

    async def _prepare_search(self) -> None:
        """The texts first, since it takes less time to build their index over them."""
        unit_of_work = partial(SqlUnitOfWork, engines=self._engines)
        await MakeSearchable(unit_of_work=unit_of_work)(caller=OPERATOR)
        if self._engines.patient.dialect.name == "postgresql":
            async with self._engines.patient.connect() as connection:
                # An index that does not stop those who write is built in no transaction.
                await build(await connection.execution_options(isolation_level="AUTOCOMMIT"))

    async def look_over(self) -> None:
        """PostgreSQL's estimates go by its statistics; SQLite estimates nothing."""
        if self._engines.patient.dialect.name == "postgresql":
            with translating():
                async with self._engines.patient.connect() as connection:
                    await connection.execute(_ANALYZE)
                    await connection.commit()

    async def slow_search(self) -> str | None:
        async with SqlUnitOfWork(engines=self._engines, read_only=True) as uow:
            return await missing_because(uow.connection)


@asynccontextmanager
async def migrating(engines: Engines) -> AsyncIterator[AsyncConnection]:
    """A connection to migrate on, while nobody else migrates.

    On SQLite it is in one transaction for all. On PostgreSQL each migration begins and ends its
    own, and may do some of its work in none (see `migrations.online`). It waits for locks for a
    moment only, and then raises.
    """
    if engines.patient.dialect.name == "sqlite":
        async with engines.patient.begin() as connection:
            yield connection
        return
    async with engines.patient.connect() as holding, engines.patient.connect() as connection:
        driver = (await holding.get_raw_connection()).driver_connection
        assert isinstance(driver, asyncpg.Connection)
        # An index that is created concurrently waits for the end of all snapshots. A statement that
        # waits for the lock has one, so it is asked for again and again; and so has the answer of a
        # prepared statement until the next one, so the driver is to send this one as plain text.
        await driver.execute("BEGIN")
        while await driver.execute(_TRY_LOCK) != "SELECT 1":  # noqa: ASYNC110
            await asyncio.sleep(_LOCK_PAUSE)
        event.listen(connection.sync_connection, "begin", _wait_briefly)
        yield connection


def _wait_briefly(connection: Connection) -> None:
    # What is done in no transaction waits for others, and nobody for it.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(_WAIT_BRIEFLY)


@cache
def head() -> str | None:
    """The newest revision that this program knows; finding it out reads all migrations."""
    return _scripts().get_current_head()


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for a given connection or for `SHOP_DATABASE_URL`."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.attributes["connection"] = connection
    return settings


def is_in_metadata(item: object, name: str | None, *_: object) -> bool:
    """Whether alembic may compare it with the tables of the code.

    The index for searching is none of theirs: each database has its own, and not every one has it.
    """
    return not (name or "").startswith("products_search")


def note_compatibility(
    ctx: MigrationContext, step: object, heads: Collection[str], run_args: object
) -> None:
    """Write down who may serve the schema: after each migration, in its transaction."""
    connection, scripts = ctx.connection, ctx.script
    assert connection is not None
    assert scripts is not None
    if inspect(connection).has_table(schema_compatibility.name):
        connection.execute(delete(schema_compatibility))
        for revision in heads:
            oldest = oldest_program(scripts, revision)
            connection.execute(insert(schema_compatibility).values(oldest_program=oldest))


def oldest_program(scripts: ScriptDirectory, revision: str) -> str:
    """The oldest program that may serve this schema: all migrations it lacks must let it."""
    newest_first = list(scripts.iterate_revisions(revision, "base"))
    places = {script.revision: place for place, script in enumerate(newest_first)}
    allowed = len(newest_first)
    oldest = revision
    for place, script in enumerate(newest_first):
        if place > allowed:
            break
        oldest = script.revision
        with_itself = script.revision
        allowed = min(allowed, places[getattr(script.module, "compatible_with", with_itself)])
    return oldest


def _upgrade(connection: Connection) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    mark = None
    if inspect(connection).has_table(schema_compatibility.name):
        mark = connection.scalar(select(schema_compatibility.c.oldest_program))
    state = SchemaState.OUTDATED if revision is None else _state(revision, mark)
    if state is SchemaState.TOO_NEW:
        raise StoreTooNew
    if connection.dialect.name == "postgresql":
        # So far it was only read; each migration begins a transaction of its own.
        connection.rollback()
    if state is SchemaState.OUTDATED:
        command.upgrade(config(connection), "head")


async def _read_state(connection: AsyncConnection, *, writable: bool) -> SchemaState:
    takes_changes = _TAKES_CHANGES[connection.dialect.name]
    try:
        rows = await connection.execute(text(_STATE.format(takes_changes=takes_changes)))
    except DBAPIError as error:
        if not is_missing_table(error):
            raise
        return SchemaState.OUTDATED
    row = rows.first()
    if row is None:
        return SchemaState.OUTDATED
    if writable and not row.takes_changes:
        # What the server would say to the first change.
        raise asyncpg.ReadOnlySQLTransactionError("the database is read-only")
    return _state(row.version_num, row.oldest_program)


def _state(revision: str, oldest: str | None) -> SchemaState:
    if revision == head():
        return SchemaState.CURRENT
    if revision in _known():
        return SchemaState.OUTDATED
    return SchemaState.COMPATIBLE if oldest in _known() else SchemaState.TOO_NEW


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())


@cache
def _scripts() -> ScriptDirectory:
    """Read once: an upgrade puts the migrations of another program in their place."""
    return ScriptDirectory.from_config(config())
