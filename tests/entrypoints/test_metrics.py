"""Metrics that workers share may be lost when the disk is full; the service may not."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import prometheus_client
import pytest

from shop.entrypoints import metrics
from shop.entrypoints.metrics import MULTIPROCESS_VARIABLE, Metrics, reserve_files
from tests.concurrency.servers import FAILURES, ShopServer

Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of this size, in memory."""
    mounted = []

    def disk(size: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    yield disk
    for folder in mounted:
        # Lazily: killed workers may still be on their way out.
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))


def get(server: ShopServer, path: str, *, method: str = "GET") -> tuple[int, str]:
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def ask_much(server: ShopServer) -> None:
    """So that new series are made, in each worker."""
    paths = ("/api/products/", "/api/orders/", "/api/users/me/", "/nowhere", "/docs/", "/metrics")
    for _ in range(6):
        for path in (*paths, "/openapi.json", "/health/live", "/api/products/1/", "/jwks.json"):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
                get(server, path, method=method)


def test_a_disk_that_fills_up_kills_no_worker(disk: Disk, tmp_path: Path, sqlite_url: str) -> None:
    folder = disk("32m")
    server = ShopServer(tmp_path / "shop", sqlite_url, workers=2, settings={"TMPDIR": str(folder)})
    server.start()
    workers = server.worker_pids
    try:
        assert list(folder.glob("shop-metrics-*/*.db"))
        fill(folder)
        ask_much(server)
        # Nor does a worker that starts now die of it.
        os.kill(min(workers), signal.SIGKILL)
        while len(server.worker_pids | workers) < 3 or server.log.count("Started worker-") < 3:
            assert server.is_running
        ask_much(server)
        status, text = get(server, "/metrics")
        assert status == 200
        assert 'route="/api/products"' in text
        assert len(server.worker_pids | workers) == 3
        assert server.log.count("Unexpected exit") == 1
    finally:
        server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


def test_without_room_each_worker_has_its_own_metrics(
    disk: Disk, tmp_path: Path, sqlite_url: str
) -> None:
    folder = disk("1m")
    server = ShopServer(tmp_path / "shop", sqlite_url, workers=2, settings={"TMPDIR": str(folder)})
    server.start()
    try:
        ask_much(server)
        assert "shop_http_request_seconds_count" in get(server, "/metrics")[1]
        assert server.log.count("No room for the metrics of all workers") == 1
        assert not list(folder.glob("shop-metrics-*"))
        assert "Unexpected exit" not in server.log
    finally:
        server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of two workers; this process is all of them, one after the other."""
    monkeypatch.setattr(prometheus_client.values, "ValueClass", None)
    monkeypatch.setattr(metrics, "_claimed", [])
    monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path))
    reserve_files(tmp_path, 2)
    yield tmp_path
    for descriptor in metrics._claimed:
        os.close(descriptor)


def requests_done(number: int, one: Metrics) -> None:
    for status in range(number):
        one.request_done(method="GET", route="/" + "x" * 200, status=status, seconds=0.1)


def test_no_file_grows_however_many_series_there_are(shared: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in shared.iterdir()}
    one = Metrics()
    requests_done(2_000, one)
    assert {path.name: path.stat().st_size for path in shared.iterdir()} == sizes
    text = one.text().decode()
    assert 'shop_http_request_seconds_count{method="(rest)"' in text
    assert text.count("shop_http_request_seconds_count{") > 500
    counts = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("shop_http_request_seconds_count{")
    ]
    assert sum(counts) == 2_000


def test_a_worker_takes_over_the_file_of_a_dead_one(shared: Path) -> None:
    first, second = Metrics(), Metrics()
    requests_done(1, first)
    requests_done(1, second)
    os.close(metrics._claimed.pop(0))
    third = Metrics()
    requests_done(1, third)
    assert len({path.name for path in shared.iterdir()}) == 2 * len(metrics._FILE_BYTES)
    [line] = [
        line
        for line in third.text().decode().splitlines()
        if line.startswith("shop_http_request_seconds_count{")
    ]
    assert line.endswith(" 3.0")
    # A fourth finds no file, and has its own numbers.
    fourth = Metrics()
    assert b"shop_http_request_seconds_count{" not in fourth.text()
