"""The application over an empty store of each kind that needs no server."""

from collections.abc import AsyncIterator

import pytest
from litestar.types import ASGIApp

from shop.entrypoints.container import Container
from shop.entrypoints.http.app import build_app
from tests.builders import FakeClock
from tests.entrypoints.api import Api, container_for, opened_api, settings_for


@pytest.fixture(params=["memory", "sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue("sqlite_url")
    return url


@pytest.fixture(scope="session")
def built() -> tuple[Container, ASGIApp]:
    """An application, which takes longer to build than most tests to run, and its container."""
    container = container_for(settings_for())
    return container, build_app(container)


@pytest.fixture
async def api(built: tuple[Container, ASGIApp], database_url: str) -> AsyncIterator[Api]:
    container, app = built
    container.reset_singletons()
    with (
        container.settings.override(settings_for(database_url)),
        container.clock.override(FakeClock()),
    ):
        async with opened_api(container, app) as api:
            yield api
