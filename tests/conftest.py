"""What every test may ask for: a store of each kind, and the use cases over it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from tests.postgresql import TEMPLATE, PostgresServer, running_postgresql
from tests.stores import Store, memory_store, migrate, sql_store
from tests.use_cases import UseCases

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="tests/concurrency: more rounds and more buyers"
    )


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A server for this test process."""
    with running_postgresql(deadlock_timeout="100ms") as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgresServer) -> PostgresServer:
    """The server, with a migrated database to be copied."""
    try:
        # Where it can, text sorts by a language's rules here, so that a missing collation shows.
        postgresql.execute(
            f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        )
    except asyncpg.PostgresError:
        postgresql.create_database(TEMPLATE)
    migrate(postgresql.url(TEMPLATE))
    return postgresql


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to be copied."""
    path = tmp_path_factory.mktemp("template") / "shop.sqlite3"
    migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """An empty, migrated SQLite database."""
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'shop.sqlite3')}"


@pytest.fixture
def postgresql_url(migrated_postgresql: PostgresServer) -> Iterator[str]:
    """An empty, migrated PostgreSQL database."""
    name = f"shop_{next(_numbers)}"
    yield migrated_postgresql.create_database(name, template=TEMPLATE)
    migrated_postgresql.drop_database(name)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield memory_store()
    else:
        async with sql_store(request.getfixturevalue(f"{request.param}_url")) as store:
            yield store


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database of each kind that speaks SQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def sql(sql_url: str) -> AsyncIterator[Store]:
    """An empty store of each kind that speaks SQL."""
    async with sql_store(sql_url) as store:
        yield store


@pytest.fixture
async def shop(store: Store) -> AsyncIterator[UseCases]:
    """The use cases over the store."""
    shop = UseCases(store.unit_of_work)
    yield shop
    await shop.intake.close()
