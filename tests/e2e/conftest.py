"""The shop as a stranger runs it: the real command in an empty folder."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shop.entrypoints.settings import EMBEDDED_DATABASE_URL
from tests.concurrency.servers import ShopServer, environment, shop_command
from tests.e2e.shops import NO_SETTINGS, Shop

Start = Callable[..., Shop]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a shop with demo data; without a database, on the embedded one and no settings."""
    with ExitStack() as stack:

        def start(database_url: str | None = None, *, workers: int = 1) -> Shop:
            settings = NO_SETTINGS if database_url is None else {}
            folder = tmp_path / "shop"
            url = database_url or EMBEDDED_DATABASE_URL
            server = ShopServer(folder, url, workers=workers, settings=settings)
            stack.callback(server.close)
            subprocess.run(
                shop_command("demo"),
                cwd=folder,
                env=environment(url, settings),
                check=True,
                capture_output=True,
            )
            server.start()
            return Shop(server=server, folder=folder)

        yield start
