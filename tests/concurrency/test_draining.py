"""A server that is told to stop lets those who route traffic know first: nothing is lost."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shop.entrypoints.settings import DRAIN_SECONDS_MAX
from shop.entrypoints.workers import STOP_SECONDS_MAX
from tests.concurrency.conftest import new_database
from tests.concurrency.deployment import Deployment, deployed, until
from tests.concurrency.load import has_answered, ordering
from tests.concurrency.servers import FAILURES, ShopServer
from tests.concurrency.wire import Client
from tests.haproxy import PROGRAM, running_haproxy

DRAIN_SECONDS = 2.0
SECONDS_MAX = 30.0
PLENTY = 1_000_000


@pytest.fixture(scope="module")
def _draining_server(
    migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShopServer]:
    folder = tmp_path_factory.mktemp("draining")
    file = folder / "shop.sqlite3"
    file.write_bytes(migrated_sqlite.read_bytes())
    server = ShopServer(
        folder / "shop",
        f"sqlite+aiosqlite:///{file}",
        workers=2,
        settings={"SHOP_DRAIN_SECONDS": str(DRAIN_SECONDS)},
    )
    yield server
    server.close()


@pytest.fixture
def server(_draining_server: ShopServer) -> Iterator[ShopServer]:
    _draining_server.start()
    yield _draining_server
    _draining_server.kill()
    assert not [failure for failure in FAILURES if failure in _draining_server.log]


@pytest.fixture
async def client(server: ShopServer) -> AsyncIterator[Client]:
    with closing(Client(port=server.port)) as client:
        yield client


async def says_that_it_stops(client: Client) -> bool:
    answer = await client.get("/health/ready")
    return answer.status == 503 and answer.code == "stopping"


async def all_say_that_they_stop(client: Client) -> None:
    """Each of the workers says so, whichever gets the connection."""
    give_up_at = time.monotonic() + SECONDS_MAX
    said = 0
    while said < 20:
        assert time.monotonic() < give_up_at
        said = said + 1 if await says_that_it_stops(client) else 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_on_for_a_while_even_if_its_workers_are_told_too(
    server: ShopServer, client: Client, stop: signal.Signals
) -> None:
    assert (await client.get("/health/ready")).status == 200
    told_at = time.monotonic()
    # As Ctrl-C in a terminal does it, or a service manager.
    os.killpg(server.pid, stop)
    await all_say_that_they_stop(client)
    answer = await client.get("/health/live")
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert time.monotonic() < told_at + DRAIN_SECONDS, "too slow a machine to tell"
    assert await asyncio.to_thread(server.wait) == 0
    assert time.monotonic() >= told_at + DRAIN_SECONDS


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hurries(
    server: ShopServer, client: Client, second: signal.Signals
) -> None:
    told_at = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    while not await says_that_it_stops(client):
        assert time.monotonic() < told_at + SECONDS_MAX
    os.kill(server.pid, second)
    assert await asyncio.to_thread(server.wait) == 0
    assert time.monotonic() < told_at + DRAIN_SECONDS


async def replacing_workers(server: ShopServer) -> int:
    """Has begun; the length of the log before."""
    before = len(server.log)
    os.kill(server.pid, signal.SIGHUP)
    await until(lambda: "Respawning worker-1" in server.log[before:], within=SECONDS_MAX)
    return before


async def test_a_stop_does_not_wait_until_all_workers_are_replaced(
    server: ShopServer, client: Client
) -> None:
    before = await replacing_workers(server)
    told_at = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    await all_say_that_they_stop(client)
    assert time.monotonic() < told_at + DRAIN_SECONDS, "it serves on, and says so at once"
    assert await asyncio.to_thread(server.wait) == 0
    assert told_at + DRAIN_SECONDS <= time.monotonic() < told_at + DRAIN_SECONDS + 3
    assert "Respawning worker-2" not in server.log[before:]


async def test_a_second_signal_hurries_also_while_workers_are_replaced(
    server: ShopServer, client: Client
) -> None:
    await replacing_workers(server)
    told_at = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    while not await says_that_it_stops(client):
        assert time.monotonic() < told_at + SECONDS_MAX
    os.kill(server.pid, signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert time.monotonic() < told_at + DRAIN_SECONDS


@pytest.mark.skipif(PROGRAM is None, reason="HAProxy is not installed: apt install haproxy")
async def test_a_rolling_restart_behind_haproxy_loses_no_request(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = new_database(request, "postgresql", tmp_path, "migrated_postgresql")
    with (
        deployed(tmp_path / "shops", database, workers=(1, 1), drain_seconds="2") as deployment,
        running_haproxy([server.port for server in deployment.servers]) as port,
    ):
        product = await deployment.given_product(stock=PLENTY)
        async with ordering(deployment, port, product, clients=32) as answered:
            for server in deployment.servers:
                # Not before the one that was restarted last has its share again.
                for each in deployment.servers:
                    await has_answered(answered, each, 100)
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
            await has_answered(answered, server, 100)
        assert {status for status, _ in answered} == {201}
        books = await deployment.books([product])
        assert len(books.orders) == len(answered)


# --- as documented ---

DOCS = Path(__file__).parents[2] / "docs"
# Stands in for systemd: asks the test to restart a server, and waits until it has.
_SYSTEMCTL = """#!/bin/sh
echo "$@" > "$ASKED"
read -r _ < "$DONE"
"""


def documented(mark: str) -> str:
    [block] = re.findall(
        rf"<!-- tested: {mark} -->\n```(?:sh)?\n(.*?)```",
        (DOCS / "operate.md").read_text(),
        re.DOTALL,
    )
    assert isinstance(block, str)
    return block


def test_the_unit_tells_the_main_process_alone_and_waits_for_it() -> None:
    [unit] = re.findall(r"```ini\n(.*?)```", (DOCS / "deploy.md").read_text(), re.DOTALL)
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert settings["KillMode"] == "mixed"
    stop_seconds = DRAIN_SECONDS_MAX + STOP_SECONDS_MAX
    assert stop_seconds < SECONDS_MAX < float(settings["TimeoutStopSec"])


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason="HAProxy is not installed: apt install haproxy")
async def test_a_restart_as_documented_loses_no_request(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database = new_database(request, "postgresql", tmp_path, "migrated_postgresql")
    backend = documented("haproxy").splitlines()
    checks = "\n".join(line for line in backend[1:] if not line.startswith("    server "))
    [enough] = re.findall(r"so (\d+) are enough", (DOCS / "operate.md").read_text())
    with (
        deployed(tmp_path / "shops", database, workers=(1, 1), drain_seconds=enough) as deployment,
        running_haproxy([each.port for each in deployment.servers], checks=checks) as port,
    ):
        product = await deployment.given_product(stock=PLENTY)
        async with ordering(deployment, port, product, clients=32) as answered:
            for server in deployment.servers:
                await has_answered(answered, server, 100)
            restarted = await restart_as_documented(deployment, tmp_path)
            for server in deployment.servers:
                await has_answered(answered, server, 100)
        assert restarted == ["shop@8000", "shop@8001"]
        assert {status for status, _ in answered} == {201}
        books = await deployment.books([product])
        assert len(books.orders) == len(answered)


async def restart_as_documented(deployment: Deployment, folder: Path) -> list[str]:
    """Run the commands; the units that they restarted, in their order."""
    commands, servers = documented("restart"), {}
    for number, server in enumerate(deployment.servers, 8000):
        commands = commands.replace(f"127.0.0.1:{number}", f"127.0.0.1:{server.port}")
        servers[f"shop@{number}"] = server
    programs = folder / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(_SYSTEMCTL)
    (programs / "systemctl").chmod(0o755)
    asked, done = folder / "asked", folder / "done"
    os.mkfifo(asked)
    os.mkfifo(done)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ASKED": str(asked),
        "DONE": str(done),
    }
    restarted: list[str] = []
    shell = await asyncio.create_subprocess_exec("sh", "-c", commands, env=environment)
    for _ in servers:
        verb, unit = (await asyncio.to_thread(asked.read_text)).split()
        assert verb == "restart"
        assert await asyncio.to_thread(servers[unit].stop) == 0
        await asyncio.to_thread(servers[unit].start)
        await asyncio.to_thread(done.write_text, "done\n")
        restarted.append(unit)
    assert await asyncio.wait_for(shell.wait(), 2 * SECONDS_MAX) == 0
    return restarted
