"""Metrics: right with several workers, bounded, and in the forms that Prometheus reads.

Those that workers share may be lost when the disk is full; the service may not.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError

import prometheus_client
import prometheus_client.multiprocess
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from shop.adapters.work import Work, work_under_way
from shop.domain.errors import StoreUnavailable
from shop.domain.events import Event
from shop.entrypoints import metrics_files
from shop.entrypoints.metrics import NAMES_MAX, REST, Metrics
from shop.entrypoints.metrics_files import MULTIPROCESS_VARIABLE, reserve_files, shared_folder
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
        assert 'http_route="/api/products"' in text
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
        assert "http_server_request_duration_seconds_count" in get(server, "/metrics")[1]
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
    monkeypatch.setattr(metrics_files, "_claimed", [])
    monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path))
    reserve_files(tmp_path, 2)
    yield tmp_path
    for descriptor in metrics_files._claimed:
        os.close(descriptor)


def requests_done(number: int, one: Metrics) -> None:
    for status in range(number):
        one.request_done(
            method="GET",
            route="/" + "x" * 200,
            status=status,
            seconds=0.1,
            refusal=f"{'r' * 40}{status}",
        )


def text_of(one: Metrics, accept: str = "") -> str:
    return one.text(accept)[0].decode()


def values_of(text: str, name: str) -> dict[str, float]:
    """By the labels as they stand there."""
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    pairs = (line.removeprefix(name).rpartition(" ") for line in lines)
    return {labels: float(number) for labels, _, number in pairs}


COUNT = "http_server_request_duration_seconds_count"


def everything_happens(one: Metrics) -> None:
    """More than can: of each name that the program makes as many as there is room for."""
    for number in range(NAMES_MAX + 10):
        name = f"{'n' * 40}{number}"
        work_under_way.set(Work(use_case=name))
        one.statement_done("SELECT", seconds=0.1, error=StoreUnavailable(name))
        one.task_failed(name, seconds=0.1)
        one.task_succeeded(name, seconds=0.1)
        one.events_happened([Event(name=name, about={})])
    for pool in ("write", "read", "look_up", "intake"):
        one.pool_is(pool, in_use=1, size=1, awaited=1)
    for reads in ("products", "orders", "lists"):
        one.reads(reads).read_done(askers=3, seconds=0.1)
    one.queues_are(intake=1, passwords=1, reads={"products": 1, "orders": 1, "lists": 1})
    one.process_is({"open_fds": 1.0}, cpu_seconds=1.0)
    one.database_is(up=True)


def test_no_file_grows_however_many_series_there_are(shared: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in shared.iterdir()}
    one = Metrics()
    requests_done(2_000, one)
    everything_happens(one)
    assert {path.name: path.stat().st_size for path in shared.iterdir()} == sizes
    text = text_of(one)
    assert f'{COUNT}{{http_request_method="{REST}"' in text
    counts = values_of(text, COUNT)
    assert len(counts) > 500
    assert sum(counts.values()) == 2_000
    refusals = values_of(text, "shop_refusals_total")
    assert len(refusals) > 400
    assert sum(refusals.values()) == 2_000
    # Nor does one that somebody else, who is dead, has filled.
    for descriptor in metrics_files._claimed:
        os.close(descriptor)
    metrics_files._claimed.clear()
    after = Metrics()
    for status in range(5_000, 7_000):
        after.request_done(method="PUT", route="/", status=status, seconds=0.1, refusal=str(status))
    everything_happens(after)
    assert {path.name: path.stat().st_size for path in shared.iterdir()} == sizes
    assert sum(values_of(text_of(after), COUNT).values()) == 4_000


def test_whoever_takes_over_a_file_knows_what_is_in_it(shared: Path) -> None:
    """However often it is taken over: what is there takes no room a second time."""
    for times in range(1, 4):
        one = Metrics()
        requests_done(400, one)
        counts = values_of(text_of(one), COUNT)
        refusals = values_of(text_of(one), "shop_refusals_total")
        for numbers in (counts, refusals):
            assert [n for labels, n in numbers.items() if "/xxx" in labels] == [times] * 400
        assert not [labels for labels in (*counts, *refusals) if REST in labels]
        for descriptor in metrics_files._claimed:
            os.close(descriptor)
        metrics_files._claimed.clear()


def test_a_folder_that_nobody_holds_is_removed_by_the_next_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, empty, of_old = (tmp_path / f"shop-metrics-{name}" for name in ("a", "b", "c"))
    for folder in (abandoned, empty, of_old):
        folder.mkdir()
    for folder in (abandoned, of_old):
        reserve_files(folder, 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    reserve_files(elsewhere, 1)
    (tmp_path / "shop-metrics-link").symlink_to(elsewhere)
    (tmp_path / "shop-metrics-file").touch()
    # Its workers have claimed their files, and that is all.
    with (of_old / "histogram_0.db").open("rb") as claimed:
        fcntl.flock(claimed, fcntl.LOCK_EX)
        with shared_folder(1) as one, shared_folder(1) as two:
            assert not abandoned.exists()
            assert len(list(one.iterdir())) == len(list(two.iterdir())) > 0
    assert not one.exists()
    assert not two.exists()
    left = {path.name.removeprefix("shop-metrics-") for path in tmp_path.iterdir()}
    assert left == {"b", "c", "link", "file", "elsewhere"}
    assert list(elsewhere.iterdir())


def test_what_a_killed_server_leaves_is_gone_when_the_next_one_serves(
    tmp_path: Path, sqlite_url: str
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    server = ShopServer(tmp_path / "shop", sqlite_url, workers=2, settings={"TMPDIR": str(folder)})
    server.start()
    try:
        [left] = folder.glob("shop-metrics-*")
        server.kill()
        assert list(left.iterdir())
        server.start()
        [own] = folder.glob("shop-metrics-*")
        assert own != left
        assert server.stop() == 0
        assert not list(folder.glob("shop-metrics-*"))
    finally:
        server.close()


def test_no_memory_grows_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MULTIPROCESS_VARIABLE, raising=False)
    one = Metrics()
    requests_done(2_000, one)
    counts = values_of(text_of(one), COUNT)
    assert len(counts) < 800
    assert sum(counts.values()) == 2_000


def test_a_worker_takes_over_the_file_of_a_dead_one(shared: Path) -> None:
    first, second = Metrics(), Metrics()
    requests_done(1, first)
    requests_done(1, second)
    os.close(metrics_files._claimed.pop(0))
    os.close(metrics_files._claimed.pop(0))
    third = Metrics()
    assert third.worker == first.worker
    requests_done(1, third)
    assert len({path.name for path in shared.iterdir()}) == 2 * len(metrics_files.FILE_BYTES)
    # Those that nobody has asked for yet are there as well.
    assert [number for number in values_of(text_of(third), COUNT).values() if number] == [3.0]
    # A fourth finds no file, and has its own numbers.
    fourth = Metrics()
    assert set(values_of(text_of(fourth), COUNT).values()) == {0.0}


def test_what_a_dead_worker_had_under_way_is_gone_and_what_it_did_is_not(shared: Path) -> None:
    first, second = Metrics(), Metrics()
    for one, waiting in ((first, 3), (second, 4)):
        one.queues_are(intake=waiting, passwords=0, reads={})
        one.process_is({"open_fds": 10.0 * waiting}, cpu_seconds=waiting)
        one.waited(0.1)
        one.task_succeeded("purge_keys", seconds=0.1)
    text = text_of(second)
    assert values_of(text, "shop_intake_waiting") == {"": 7.0}
    assert values_of(text, "process_open_fds") == {'{worker="0"}': 30.0, '{worker="1"}': 40.0}
    for descriptor in (metrics_files._claimed.pop(0), metrics_files._claimed.pop(0)):
        os.close(descriptor)
    text = text_of(second)
    assert values_of(text, "shop_intake_waiting") == {"": 4.0}
    assert values_of(text, "process_open_fds") == {'{worker="1"}': 40.0}
    assert values_of(text, "shop_intake_wait_seconds_count") == {"": 2.0}
    assert values_of(text, "process_cpu_seconds_total") == {
        '{worker="0"}': 3.0,
        '{worker="1"}': 4.0,
    }
    [last_success] = values_of(text, "shop_background_last_success_timestamp_seconds").values()
    assert last_success == pytest.approx(time.time(), abs=60)


def test_of_what_each_worker_reads_the_last_one_counts(shared: Path) -> None:
    first, second = Metrics(), Metrics()
    first.products_are(out_of_stock=9, low=9, below_zero=9, at=datetime.now(UTC))
    second.products_are(out_of_stock=2, low=1, below_zero=0, at=datetime.now(UTC))
    text = text_of(first)
    assert values_of(text, "shop_products_out_of_stock") == {"": 2.0}
    assert values_of(text, "shop_products_below_zero") == {"": 0.0}


def test_workers_are_added_up_as_the_library_does_it(shared: Path) -> None:
    """Its own way of reading the files, which takes several times as long."""
    one, two = Metrics(), Metrics()
    for each in (one, two):
        requests_done(3, each)
        everything_happens(each)
        # The library leaves out what was never told.
        each.products_are(out_of_stock=2, low=1, below_zero=0, at=None)
        each.stock_was_verified(differences=3, at=None)
    theirs = prometheus_client.CollectorRegistry()
    prometheus_client.multiprocess.MultiProcessCollector(theirs)  # type: ignore[no-untyped-call]
    expected = prometheus_client.generate_latest(theirs).decode()
    assert sorted(text_of(one).splitlines()) == sorted(expected.splitlines())
    # As the file says it a second time as well.
    requests_done(5, two)
    assert sum(values_of(text_of(one), COUNT).values()) == 11


def test_several_workers_are_shown_within_fifty_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    reserve_files(shared, 4)
    workers = [Metrics() for _ in range(4)]
    for one in workers:
        for number in range(60):
            one.request_done(method="GET", route=f"/r{number}", status=200, seconds=0.01)
        for number in range(40):
            work_under_way.set(Work(use_case=f"use_case_{number}"))
            one.statement_done("SELECT", seconds=0.01, error=None)
    seconds = []
    for _ in range(10):
        # Of the processor: others want it, too, while tests run.
        started = time.thread_time()
        text_of(workers[0])
        seconds.append(time.thread_time() - started)
    assert sorted(seconds)[5] < 0.05


def test_both_forms_are_those_of_prometheus() -> None:
    one = Metrics(version="1.2", python="3.11")
    requests_done(2, one)
    everything_happens(one)
    plain, plain_type = one.text("")
    assert plain_type.startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(plain.decode())}
    open_metrics, open_type = one.text("application/openmetrics-text; version=1.0.0")
    assert open_type.startswith("application/openmetrics-text; version=1.0.0")
    parsed = openmetrics_families(open_metrics.decode())  # type: ignore[no-untyped-call]
    of_open = {f.name: f for f in parsed}
    assert families.keys() - of_open.keys() == set()
    [build] = of_open["shop_build_info"].samples
    assert (build.labels, build.value) == ({"version": "1.2", "python": "3.11"}, 1.0)


def test_the_request_of_a_sampled_trace_is_an_exemplar() -> None:
    one = Metrics()
    one.request_done(method="GET", route="/", status=200, seconds=0.03, trace_id="ab" * 16)
    accept = "application/openmetrics-text; version=1.0.0"
    [line] = [line for line in text_of(one, accept).splitlines() if "trace_id" in line]
    assert 'le="0.05"' in line
    assert f'# {{trace_id="{"ab" * 16}"}} 0.03' in line
    assert "trace_id" not in text_of(one)


def test_with_several_workers_there_are_no_exemplars_and_no_failure(shared: Path) -> None:
    one = Metrics()
    one.request_done(method="GET", route="/", status=200, seconds=0.03, trace_id="ab" * 16)
    assert values_of(text_of(one), COUNT)
    assert "trace_id" not in text_of(one, "application/openmetrics-text; version=1.0.0")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("workers", [1, 2])
def test_promtool_finds_no_fault(workers: int, request: pytest.FixtureRequest) -> None:
    if workers > 1:
        request.getfixturevalue("shared")
    one = Metrics(version="1.2", python="3.11")
    requests_done(2, one)
    everything_happens(one)
    one.products_are(out_of_stock=2, low=1, below_zero=0, at=datetime.now(UTC))
    one.stock_was_verified(differences=0, at=None)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=one.text()[0], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
