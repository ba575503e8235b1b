"""Workers that die are started again; none outlives the process that starts them."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shop.entrypoints.workers import RestartPauses
from tests.concurrency.deployment import until
from tests.concurrency.servers import FAILURES, ShopServer

SECONDS_MAX = 30.0


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path) -> Iterator[ShopServer]:
    server = ShopServer(tmp_path / "shop", sqlite_url, workers=2)
    server.start()
    yield server
    server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


def test_the_first_death_costs_no_pause_and_each_soon_after_it_a_longer_one() -> None:
    pauses = RestartPauses()
    assert pauses.after(0, lived=3600) == 0
    soon = [pauses.after(0, lived=1) for _ in range(10)]
    assert soon == sorted(soon)
    assert soon[0] > 0
    assert soon[-1] == 30
    assert pauses.after(1, lived=1) == 0, "another worker has nothing to do with it"
    assert pauses.after(0, lived=3600) == 0


async def dies(server: ShopServer, pids: set[int]) -> None:
    deaths = server.log.count("Unexpected exit")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await until(
        lambda: server.log.count("Unexpected exit") == deaths + len(pids), within=SECONDS_MAX
    )


async def is_replaced(server: ShopServer, pids: set[int]) -> None:
    await until(lambda: not pids & server.worker_pids, within=SECONDS_MAX)


async def test_a_worker_that_dies_again_and_again_does_not_end_the_server(
    server: ShopServer,
) -> None:
    """Granian's own limit is one death in 5.5 seconds after a restart."""
    staying, dying = min(server.worker_pids), max(server.worker_pids)
    for _ in range(3):
        await dies(server, {dying})
        await is_replaced(server, {dying})
        assert server.is_running
        [dying] = server.worker_pids - {staying}
    await until(server.is_listening, within=SECONDS_MAX)
    assert await asyncio.to_thread(server.stop) == 0


async def test_all_workers_may_die_at_once_and_a_stop_waits_for_no_pause_and_no_worker(
    server: ShopServer,
) -> None:
    """Neither for the pause before a worker is started again, nor for one that is starting."""
    for _ in range(3):
        before = server.worker_pids
        await dies(server, before)
        await is_replaced(server, before)
    await until(server.is_listening, within=SECONDS_MAX)
    assert server.is_running
    await dies(server, {min(server.worker_pids)})
    started = time.monotonic()
    assert await asyncio.to_thread(server.stop) == 0
    assert time.monotonic() - started < 4


async def test_a_hangup_replaces_every_worker_and_they_end_when_the_main_process_is_killed(
    server: ShopServer,
) -> None:
    before = server.worker_pids
    os.kill(server.pid, signal.SIGHUP)
    give_up_at = time.monotonic() + SECONDS_MAX
    while any(map(is_alive, before)):
        assert server.is_listening(), "somebody serves all the time"
        assert time.monotonic() < give_up_at
    workers = server.worker_pids
    assert not before & workers
    assert len(workers) == 2

    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: not any(map(is_alive, workers)), within=5)
    assert not server.is_listening()
    server.wait()
    await asyncio.to_thread(server.start)
    assert not workers & server.worker_pids


# Runs in each process that is started with it: workers that are slow to start, or cannot.
SITE = """
import pathlib
import sys
import time

if "serve" in sys.argv:
    import shop.entrypoints.http.app as app

    build = app.build_app

    def build_slowly(container):
        if pathlib.Path("broken").exists():
            raise ValueError("broken")
        if pathlib.Path("slow").exists():
            time.sleep(6)
        return build(container)

    app.build_app = build_slowly
"""


@pytest.mark.parametrize("trouble", ["slow", "broken"])
async def test_a_worker_that_is_replaced_serves_until_the_new_one_does(
    sqlite_url: str, tmp_path: Path, trouble: str
) -> None:
    """However long that takes to start, and even if it dies of it."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    folder = tmp_path / "shop"
    server = ShopServer(folder, sqlite_url, settings={"PYTHONPATH": str(tmp_path)})
    server.start()
    try:
        [old] = server.worker_pids
        (folder / trouble).touch()
        os.kill(server.pid, signal.SIGHUP)
        give_up_at = time.monotonic() + SECONDS_MAX
        while is_alive(old):
            assert server.is_listening(), "somebody serves all the time"
            assert time.monotonic() < give_up_at
            if server.log.count("Unexpected exit") == 2:
                (folder / trouble).unlink(missing_ok=True)
            await asyncio.sleep(0.01)
        assert server.is_listening()
        assert server.log.count("Started worker-") == 2
        started = time.monotonic()
        assert await asyncio.to_thread(server.stop) == 0
        assert time.monotonic() - started < 4
    finally:
        server.close()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before, or while it was read
        return False
    return state != "Z"
