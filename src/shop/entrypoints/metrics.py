"""Metrics for Prometheus: requests by route, the order intake, and background tasks."""

import collections
import os
from collections.abc import Sequence
from functools import cache

from shop.adapters.background import BackgroundObserver
from shop.adapters.intake import IntakeObserver
from shop.domain.events import Event

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)


class Metrics(IntakeObserver, BackgroundObserver):
    """One for a process. Labels are routes, never paths: what clients make up makes no series."""

    def __init__(self) -> None:
        # Imported when a worker makes its own: the library looks for the folder that workers
        # share once, when it is imported, and `shop serve` sets it after its own imports.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = CollectorRegistry()
        requests = Histogram(
            "shop_http_request_seconds",
            "Time to answer a request.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # The library makes strings of all labels and takes a lock each time it is asked.
        self._requests_of = cache(requests.labels)
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
        self._requests_of(method, route, status).observe(seconds)

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
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        if MULTIPROCESS_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
