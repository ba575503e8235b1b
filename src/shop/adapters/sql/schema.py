"""The schema's migrations, run and checked from the program: no alembic command is needed."""

import sqlite3
from functools import cache
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import driver_error, translating
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.ports import Schema

MIGRATIONS = Path(__file__).parent / "migrations"

# A standby's sessions are read-only as well.
_TAKES_CHANGES = {
    "postgresql": "current_setting('transaction_read_only') = 'off'",
    "sqlite": "true",
}

# Any number; the same for all who migrate, so that two hosts do it one after the other.
_LOCK = 7_466_877


class SqlSchema(Schema):
    def __init__(self, *, engines: Engines) -> None:
        self._engines = engines

    async def is_current(self, *, writable: bool = False) -> bool:
        # Of SQLite's one writer everybody has to wait for the end of the one before.
        read_only = self._engines.servers is None or not writable
        async with SqlUnitOfWork(engines=self._engines, read_only=read_only) as uow:
            revision, takes_changes = await _read_state(uow.connection)
            if writable and not takes_changes:
                # What the server would say to the first change.
                raise asyncpg.ReadOnlySQLTransactionError("the database is read-only")
            return revision == head()

    async def upgrade(self) -> None:
        with translating():
            async with self._engines.patient.begin() as connection:
                await connection.run_sync(_upgrade)


@cache
def head() -> str | None:
    """The newest revision that this program knows; finding it out reads all migrations."""
    return ScriptDirectory.from_config(config()).get_current_head()


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for a given connection or for `SHOP_DATABASE_URL`."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.attributes["connection"] = connection
    return settings


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    command.upgrade(config(connection), "head")


async def _read_state(connection: AsyncConnection) -> tuple[str | None, bool]:
    """The schema's revision, and whether this session can change anything."""
    takes_changes = _TAKES_CHANGES[connection.dialect.name]
    try:
        rows = await connection.execute(
            text(f"SELECT version_num, {takes_changes} FROM alembic_version")  # noqa: S608
        )
    except DBAPIError as error:
        if _is_no_table(driver_error(error)):
            return None, True
        raise
    row = rows.one_or_none()
    return (None, True) if row is None else (row[0], bool(row[1]))


def _is_no_table(error: BaseException) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith("no such table")
    return isinstance(error, asyncpg.UndefinedTableError)
