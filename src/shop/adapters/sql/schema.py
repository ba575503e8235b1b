"""The schema's migrations, run and checked from the program: no alembic command is needed."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import translating
from shop.domain.ports import Schema

MIGRATIONS = Path(__file__).parent / "migrations"

# Any number; the same for all who migrate, so that two hosts do it one after the other.
_LOCK = 7_466_877


class SqlSchema(Schema):
    def __init__(self, *, engines: Engines) -> None:
        self._engines = engines

    async def is_current(self) -> bool:
        with translating():
            async with self._engines.read.connect() as connection:
                return await connection.run_sync(_revision) == head()

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


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
