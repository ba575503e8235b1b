"""The shop as a stranger runs it: the real command in an empty folder."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shop.entrypoints.settings import EMBEDDED_DATABASE_URL
from tests.concurrency.servers import FAILURES, ShopServer, environment, shop_command
from tests.e2e.shops import NO_SETTINGS, Shop
from tests.postgresql import TEMPLATE, PostgresServer, unused_name

Start = Callable[..., Shop]


@pytest.fixture(scope="session")
def embedded_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody ran `shop demo` with no settings, to be copied."""
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder, EMBEDDED_DATABASE_URL, NO_SETTINGS)
    return folder


@pytest.fixture
def start(embedded_demo: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a shop with no settings on the embedded database with demo data, or on another."""
    with ExitStack() as stack:

        def start(database_url: str | None = None, *, workers: int = 1, **changes: str) -> Shop:
            """`changes` are settings, by their variables."""
            settings = (NO_SETTINGS if database_url is None else {}) | changes
            folder = tmp_path / "shop"
            server = ShopServer(
                folder, database_url or EMBEDDED_DATABASE_URL, workers=workers, settings=settings
            )
            stack.callback(server.close)
            if database_url is None:
                shutil.copytree(embedded_demo, folder, dirs_exist_ok=True)
            server.start()
            return Shop(server=server, folder=folder)

        yield start


@pytest.fixture(scope="session", params=["embedded", "postgresql"])
def _standing_shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("standing") / "shop"
    if request.param == "embedded":
        server = ShopServer(folder, EMBEDDED_DATABASE_URL, settings=NO_SETTINGS)
        demo: Path = request.getfixturevalue("embedded_demo")
        shutil.copytree(demo, folder, dirs_exist_ok=True)
    else:
        postgresql: PostgresServer = request.getfixturevalue("migrated_postgresql")
        url = postgresql.create_database(unused_name("e2e"), template=TEMPLATE)
        server = ShopServer(folder, url, workers=2)
        make_demo(folder, url)
    yield Shop(server=server, folder=folder)
    try:
        assert not server.is_running or server.stop() == 0
        assert not [sign for sign in FAILURES if sign in server.log]
    finally:
        server.close()


@pytest.fixture
def standing_shop(_standing_shop: Shop) -> Shop:
    """A running shop with demo data on each database, which many tests use and may stop."""
    if not _standing_shop.server.is_running:
        _standing_shop.server.start()
    return _standing_shop


def make_demo(folder: Path, url: str, settings: dict[str, str] | None = None) -> None:
    subprocess.run(
        shop_command("demo"),
        cwd=folder,
        env=environment(url, settings),
        check=True,
        capture_output=True,
    )
