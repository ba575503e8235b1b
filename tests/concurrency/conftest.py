"""Real servers on real databases: in every shape that the shop is run in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.concurrency.deployment import Database, Deployment, deployed
from tests.postgresql import TEMPLATE, PostgresServer, running_postgresql, unused_name
from tests.stores import migrate

# Workers of each server.
SHAPES = {
    "sqlite-1-worker": (1,),
    "sqlite-2-workers": (2,),
    "sqlite-2-servers": (1, 1),
    "postgresql-2-workers": (2,),
    "postgresql-2-servers": (1, 1),
}


@pytest.fixture(scope="session", params=SHAPES)
def _shared_deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    database = new_database(request, request.param, folder, "migrated_postgresql")
    with deployed(folder, database, workers=SHAPES[request.param]) as deployment:
        yield deployment


@pytest.fixture
def deployment(_shared_deployment: Deployment) -> Iterator[Deployment]:
    """Servers that many tests share; each has products of its own."""
    yield _shared_deployment
    _shared_deployment.check_logs()


@pytest.fixture(scope="session")
def durable_postgresql() -> Iterator[PostgresServer]:
    """A server that forgets nothing, with a migrated database to be copied; it may be stopped."""
    with running_postgresql(durable=True) as server:
        migrate(server.create_database(TEMPLATE))
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def _durable_deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("durable")
    database = new_database(request, request.param, folder, "durable_postgresql")
    with deployed(folder, database, workers=(2,)) as deployment:
        yield deployment


@pytest.fixture
def durable(_durable_deployment: Deployment) -> Iterator[Deployment]:
    """A server of two workers, running, which a test may end; what is committed is on disk."""
    for server in _durable_deployment.servers:
        if not server.is_running:
            server.start()
    yield _durable_deployment
    _durable_deployment.check_logs()


def new_database(
    request: pytest.FixtureRequest, kind: str, folder: Path, server_fixture: str
) -> Database:
    """An empty, migrated one."""
    if kind.startswith("sqlite"):
        template: Path = request.getfixturevalue("migrated_sqlite")
        path = shutil.copy(template, folder / "shop.sqlite3")
        return Database(url=f"sqlite+aiosqlite:///{path}")
    server: PostgresServer = request.getfixturevalue(server_fixture)
    url = server.create_database(unused_name("concurrency"), template=TEMPLATE)
    return Database(url=url, server=server)
