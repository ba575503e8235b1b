"""A cluster for all tests, and a shop over it for each way that leads to its primary."""

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cluster.certificates import Authority
from tests.cluster.cluster import OWNER, Cluster, missing
from tests.cluster.hosts import Network, logs_of
from tests.concurrency.deployment import Database, Deployment, deployed
from tests.stores import migrate

KEPT = Path(__file__).parents[2] / "build" / "cluster"
"""Logs of a run that failed, and what was measured."""

_MEASURED = pytest.StashKey[list[str]]()
_numbers = count(1)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if lines := config.stash.get(_MEASURED, []):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines that the run ends with; `docs/scale.md` has those of the last one."""
    return request.config.stash.setdefault(_MEASURED, [])


@pytest.fixture(scope="session")
def _cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(f"No cluster was started: {reason}.")
    folder = Path(tempfile.mkdtemp(prefix="shop-cluster-"))
    # Others than root run the programs, and have folders of their own in it.
    folder.chmod(0o755)
    try:
        with Network(folder) as network:
            cluster = Cluster(network=network, authority=Authority(folder / "authority"))
            cluster.start()
            yield cluster
    except BaseException:
        _keep(folder)
        raise
    finally:
        if request.session.testsfailed:
            _keep(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path) -> None:
    for log in logs_of(folder):
        kept = KEPT / log.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)


@pytest.fixture
def cluster(_cluster: Cluster) -> Iterator[Cluster]:
    """A primary with a standby that each commit waits for; a test may end any of it."""
    _cluster.heal()
    yield _cluster
    _cluster.heal()


@pytest.fixture(scope="session", params=["hosts", "proxy", "pooler"])
def shop_by(
    request: pytest.FixtureRequest, _cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """For `@by(...)`, which names other ways."""
    name = f"shop_{next(_numbers)}"
    _cluster.heal()
    _cluster.create_database(name)
    migrate(_cluster.url(name, user=OWNER))
    with deployed(
        tmp_path_factory.mktemp(request.param),
        Database(url=_cluster.url(name)),
        workers=(1, 1),
        database_url=_cluster.url(name, by=request.param),
        database_pgbouncer=str(request.param == "pooler").lower(),
    ) as deployment:
        yield deployment


@pytest.fixture
def shop(cluster: Cluster, shop_by: Deployment) -> Iterator[Deployment]:
    """Two servers, as on two hosts, that reach the primary by one of the ways."""
    yield shop_by
    shop_by.check_logs()


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """By which the shop reaches the primary."""
    return str(request.node.callspec.params["shop_by"])
