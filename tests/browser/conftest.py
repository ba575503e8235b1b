"""One browser and one shop with demo data for all tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from shop.entrypoints.settings import EMBEDDED_DATABASE_URL
from tests.browser.browsers import Page, programs, running_chromium
from tests.concurrency.servers import FAILURES, ShopServer
from tests.e2e.conftest import embedded_demo
from tests.e2e.shops import NO_SETTINGS, Shop

__all__ = ["embedded_demo"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures", action="store_true", help="write the pictures of docs/images anew"
    )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    found = programs()
    if isinstance(found, str):
        pytest.skip(found)
    with running_chromium(*found) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def _standing_shop(
    chromium: Chrome, embedded_demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """It is asked for after the browser: without one no shop is started."""
    folder = tmp_path_factory.mktemp("standing") / "shop"
    server = ShopServer(folder, EMBEDDED_DATABASE_URL, settings=NO_SETTINGS)
    shutil.copytree(embedded_demo, folder, dirs_exist_ok=True)
    try:
        yield Shop(server=server, folder=folder)
        assert not [sign for sign in FAILURES if sign in server.log]
    finally:
        server.close()


@pytest.fixture
def shop(_standing_shop: Shop) -> Shop:
    """On its embedded database; a test may stop it."""
    if not _standing_shop.server.is_running:
        _standing_shop.server.start()
    return _standing_shop


@pytest.fixture
def page(chromium: Chrome, shop: Shop) -> Page:
    return Page(chromium, shop.address)
