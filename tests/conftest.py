"""What every test may ask for: a store of each kind, and the use cases over it."""

import gc
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shop.adapters.sql import engine
from shop.entrypoints import settings
from shop.entrypoints.logs import set_up_structlog
from tests.compilations import create_engine_that_shares
from tests.databases import Lender
from tests.postgresql import TEMPLATE, PostgresServer, running_postgresql
from tests.stores import Store, memory_store, migrate, sql_store
from tests.use_cases import UseCases


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="more rounds, more buyers and more made-up requests: hours instead of minutes",
    )


_NOT_OF_THE_TESTS = (
    "SHOP_",
    "PG",
    "PROMETHEUS_",
    "OTEL_",
    "SENTRY_",
    "COLUMNS",
    "LINES",
    "FORCE_COLOR",
    "NO_COLOR",
)


def pytest_configure() -> None:
    """What is set on this machine for a shop, a database or a terminal does not reach the tests.

    Nor does a `.env` in the folder that they are run in; their servers run in folders of their own.
    """
    settings.ENV_FILE = Path(os.devnull)
    # The shop's own lines become records of `logging`, which `caplog` shows.
    set_up_structlog()
    setattr(engine, "create_async_engine", create_engine_that_shares)  # noqa: B010
    for name in [name for name in os.environ if name.startswith(_NOT_OF_THE_TESTS)]:
        del os.environ[name]
    # All servers of the tests are on this machine: no proxy stands before them.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def effort(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How much to do: the first number, or with `--long` the second."""
    is_long = request.config.getoption("--long")
    return lambda short, long: long if is_long else short


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("it takes a minute: make test-long TESTS=...")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


_SETTINGS: dict[str, Any] = {
    "deadlock_timeout": "100ms",
    "max_connections": "400",
    # So that a deadlock in one test's database is told from those of other tests.
    "log_line_prefix": "%m [%p] database=%d ",
}
_SERVER = pytest.StashKey[PostgresServer]()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    # It makes hundreds of thousands of objects and next to no garbage.
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    # What was imported stays for good; the collector need not look through it again and again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Runs in the process that deals out the tests: one server serves all that run them."""
    config: pytest.Config = node.config
    if _SERVER not in config.stash:
        running = ExitStack()
        config.add_cleanup(running.close)
        config.stash[_SERVER] = running.enter_context(running_postgresql(**_SETTINGS))
    node.workerinput["postgresql"] = str(config.stash[_SERVER].root)


@pytest.fixture(scope="session")
def postgresql(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server that other test processes use at the same time: stop another one."""
    if worker := getattr(request.config, "workerinput", None):
        yield PostgresServer(Path(worker["postgresql"]))
    else:
        with running_postgresql(**_SETTINGS) as server:
            yield server


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgresServer) -> PostgresServer:
    """The server, with a migrated database to be copied."""
    with (postgresql.root / "migrating").open("w") as lock:
        flock(lock, LOCK_EX)
        if not postgresql.has_database(TEMPLATE):
            _make_template(postgresql)
    return postgresql


def _make_template(postgresql: PostgresServer) -> None:
    try:
        # Where it can, text sorts by a language's rules here, so that a missing collation shows.
        postgresql.execute(
            f"CREATE DATABASE {TEMPLATE} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        )
    except asyncpg.PostgresError:
        postgresql.create_database(TEMPLATE)
    migrate(postgresql.url(TEMPLATE))


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


@pytest.fixture(scope="session")
def lender(migrated_postgresql: PostgresServer) -> Iterator[Lender]:
    """Lends empty, migrated PostgreSQL databases."""
    lender = Lender(migrated_postgresql)
    yield lender
    lender.close()


@pytest.fixture
def postgresql_url(lender: Lender) -> Iterator[str]:
    """An empty, migrated PostgreSQL database."""
    with lender.lend() as url:
        yield url


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
    await shop.close()
