"""Metrics for Prometheus: requests by route, the order intake, and background tasks."""

import collections
import fcntl
import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

from shop.adapters.background import BackgroundObserver
from shop.adapters.intake import IntakeObserver
from shop.adapters.sql.statements import StatementObserver
from shop.domain.events import Event

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)

# What workers share is in files that each maps into its memory. A page of a file for which the disk
# has no room kills the process that touches it, so room is taken before anybody serves, a file is
# used again by the worker that follows a dead one, and no file ever grows.
_FILE_BYTES = {"histogram": 4_194_304, "counter": 262_144, "gauge_max": 65_536}
_SERIES_BYTES_MAX = 6_144
"""What a histogram of requests takes for one method, route and status."""
_REST = ("(rest)", "(rest)", "(rest)")
"""Of requests for which there is no room."""


def reserve_files(folder: Path, number: int) -> None:
    """Take room for the metrics of this many workers. Raises `OSError` where there is none."""
    for index in range(number):
        for kind, size in _FILE_BYTES.items():
            with (folder / f"{kind}_{index}.db").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)


class Metrics(IntakeObserver, BackgroundObserver, StatementObserver):
    """One for a process. Labels are routes, never paths: what clients make up makes no series."""

    def __init__(self) -> None:
        self._shared_file = _claim_file()
        self._series_left = (
            _FILE_BYTES["histogram"] - _used_bytes(self._shared_file)
        ) // _SERIES_BYTES_MAX
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "shop_http_request_seconds",
            "Time to answer a request.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # The library makes strings of all labels and takes a lock each time it is asked.
        self._requests_of: dict[tuple[str, str, int], Histogram] = {}
        self._batch_size = Histogram(
            "shop_intake_batch_orders",
            "Orders in a batch.",
            buckets=_SIZES,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "shop_intake_batch_seconds",
            "Time to decide and commit a batch.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._wait_seconds = Histogram(
            "shop_intake_wait_seconds",
            "Time an order waited for its batch to begin.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rejected = Counter(
            "shop_intake_rejected_total",
            "Orders turned away because too many waited, or for too long.",
            registry=self._registry,
        )
        self._task_seconds = Histogram(
            "shop_background_run_seconds",
            "Time a background task's run took, also one that failed.",
            ["task"],
            buckets=(*_SECONDS, 30.0, 60.0),
            registry=self._registry,
        )
        self._task_failures = Counter(
            "shop_background_failures_total",
            "Runs of a background task that failed.",
            ["task"],
            registry=self._registry,
        )
        self._task_success = Gauge(
            "shop_background_last_success_timestamp_seconds",
            "When a background task last succeeded, in Unix time.",
            ["task"],
            # Of all workers, also those that are gone: whichever did it last.
            multiprocess_mode="max",
            registry=self._registry,
        )

        events = Counter(
            "shop_events_total",
            "What happened and was committed, by name.",
            ["event"],
            registry=self._registry,
        )
        self._events_of = cache(events.labels)

    def events_happened(self, events: Sequence[Event]) -> None:
        for name, number in collections.Counter(event.name for event in events).items():
            self._events_of(name).inc(number)

    def request_done(self, *, method: str, route: str, status: int, seconds: float) -> None:
        key = (method, route, status)
        series = self._requests_of.get(key)
        if series is None:
            series = self._requests_of[key] = self._new_series(key)
        series.observe(seconds)

    def _new_series(self, key: tuple[str, str, int]) -> Histogram:
        self._series_left -= 1
        # The last one is for the rest.
        return self._requests.labels(*(key if self._series_left > 0 else _REST))

    def batch_done(self, *, size: int, seconds: float) -> None:
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        self._wait_seconds.observe(seconds)

    def rejected(self) -> None:
        self._rejected.inc()

    def task_succeeded(self, name: str, *, seconds: float) -> None:
        self._task_seconds.labels(name).observe(seconds)
        self._task_success.labels(name).set_to_current_time()

    def task_failed(self, name: str, *, seconds: float) -> None:
        self._task_seconds.labels(name).observe(seconds)
        self._task_failures.labels(name).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' format, of all workers of this server."""
        if self._shared_file is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


_claimed: list[int] = []
"""Open for as long as the process lives: a file is locked by whoever writes to it."""


def _claim_file() -> Path | None:
    """A histogram's file that nobody else uses; None if this process's metrics are its own."""
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    for path in sorted(Path(folder).glob("histogram_*.db")) if folder else ():
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        _claimed.append(descriptor)
        index = path.stem.partition("_")[2]
        # By the file's number instead of the process's.
        values.ValueClass = values.MultiProcessValue(partial(str, index))  # type: ignore[no-untyped-call]
        return path
    values.ValueClass = values.MutexValue
    return None


def _used_bytes(path: Path | None) -> int:
    """Its first four bytes say it, of a file of the library's."""
    if path is None:
        return 0
    with path.open("rb") as file:
        return int.from_bytes(file.read(4), sys.byteorder)
