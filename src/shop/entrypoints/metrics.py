"""Metrics for Prometheus, all of them: docs/operate.md says what each is for.

Labels are bounded: routes, codes and names of the program's own, never what clients make up. Where
several workers share files, even those have no more series than there is room for.
"""

import collections
import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from shop.adapters.background import BackgroundObserver
from shop.adapters.intake import IntakeObserver
from shop.adapters.shared_reads import ReadObserver
from shop.adapters.sql.errors import kind_of
from shop.adapters.sql.replicas import ReplicaObserver
from shop.adapters.sql.statements import StatementObserver
from shop.adapters.work import work_under_way
from shop.domain.events import Event
from shop.entrypoints.metrics_files import Claim, SharedFiles, claim_files

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Those that OpenTelemetry's semantic conventions of HTTP advise."""
_STATEMENT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
_LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000)

REST = "(rest)"
"""In place of each label, of what there is no room for."""
NAMES_MAX = 64
"""Of use cases, of tasks, of events, and so on: there are fewer, and all are the program's own."""
# What is watched is there from the start: Prometheus sees no increase from nothing to one.
_OF_ORDERING = (
    (201, 409, 500, 503),
    ("out_of_stock", "overloaded", "database_unavailable", "outcome_unknown", "internal_error"),
)
_WATCHED = {
    ("POST", "/api/orders"): _OF_ORDERING,
    ("POST", "/api/orders/{order_id}"): _OF_ORDERING,
    ("POST", "/api/token"): ((200,), ("wrong_credentials", "too_many_attempts")),
}
_EVENTS = ("order.placed", "order.amended", "order.cancelled", "order.returned", "order.paid")
# Bytes of a file: what a series of a request or refusal takes at most, and what is kept for those
# series whose number is known.
_REQUEST_BYTES, _REFUSAL_BYTES = 8_192, 768
_KEPT_BYTES = {"histogram": 655_360, "counter": 131_072}

M = TypeVar("M")
W = TypeVar("W", Counter, Histogram)

# Times at which series were made, which nobody asks for and which would be half of all series.
disable_created_metrics()  # type: ignore[no-untyped-call]


class _Series(Generic[M]):
    """The series of a metric by their labels; what comes when there is no room is all in one.

    The library makes strings of all labels and takes a lock each time it is asked.
    """

    def __init__(
        self,
        labels: Callable[..., M],
        room: int = NAMES_MAX,
        written: frozenset[tuple[str, ...]] = frozenset(),
    ) -> None:
        """`written` are the labels of those that take no room any more."""
        self._labels = labels
        self._room = room
        self._written = written
        self._known: dict[tuple[object, ...], M] = {}

    def __call__(self, *labels: object) -> M:
        series = self._known.get(labels)
        if series is None:
            if tuple(map(str, labels)) not in self._written:
                if self._room <= 1:
                    # The last one is for the rest, of which nothing is kept in memory either.
                    return self._labels(*(REST for _ in labels))
                self._room -= 1
            series = self._known[labels] = self._labels(*labels)
        return series


def _bounded(metric: W, claim: Claim, kind: str, series_bytes: int) -> _Series[W]:
    """As many series as there is room for in the file of this kind."""
    size, written = claim.room(kind, metric._name, metric._labelnames, kept=_KEPT_BYTES[kind])
    return _Series(metric.labels, size // series_bytes, written)


class _Family:
    """Makes metrics in one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, *labels: str, of: str = "livesum") -> Gauge:
        """`of` says whose value counts where there are several workers."""
        mode: Any = of
        return Gauge(name, text, labels, multiprocess_mode=mode, registry=self.registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


class Metrics(IntakeObserver, BackgroundObserver, StatementObserver, ReplicaObserver):
    """One for a process."""

    def __init__(self, *, version: str = "", python: str = "") -> None:
        self._claim = claim_files()
        self.worker = self._claim.worker
        self.active_requests = 0
        """Kept by who serves them."""
        family = _Family()
        self._of_http(family, self._claim)
        self._of_intake(family)
        self._of_reads(family)
        self._of_database(family)
        self._of_replicas(family)
        self._of_background(family)
        self._of_shop(family)
        self._of_process(family)
        build = family.gauge(
            "shop_build_info", "1, of this version and this Python.", "version", "python", of="max"
        )
        build.labels(version, python).set(1)
        self._registry = family.registry

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All of it, of all workers of this server, in a form that is accepted; and its type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._exported), content_type

    @cached_property
    def _exported(self) -> CollectorRegistry:
        if self._claim.folder is None:
            return self._registry
        shared = CollectorRegistry()
        shared.register(SharedFiles(self._claim.folder))
        return shared

    # HTTP

    def _of_http(self, family: _Family, claim: Claim) -> None:
        requests = family.histogram(
            "http_server_request_duration_seconds",
            "Time to answer a request.",
            *("http_request_method", "http_route", "http_response_status_code"),
            buckets=_REQUEST_SECONDS,
        )
        refusals = family.counter(
            "shop_refusals_total",
            "Requests that were answered with a problem document, by its code.",
            *("http_request_method", "http_route", "reason"),
        )
        self._requests = _bounded(requests, claim, "histogram", _REQUEST_BYTES)
        self._refusals = _bounded(refusals, claim, "counter", _REFUSAL_BYTES)
        for route, (statuses, reasons) in _WATCHED.items():
            for status in statuses:
                self._requests(*route, status)
            for reason in reasons:
                self._refusals(*route, reason)
        self._active = family.gauge(
            "http_server_active_requests", "Requests that are being answered."
        )

    def request_done(
        self,
        *,
        method: str,
        route: str,
        status: int,
        seconds: float,
        refusal: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        """`refusal` is the code of its problem document; `trace_id` that of a sampled trace."""
        series = self._requests(method, route, status)
        if trace_id is None:
            series.observe(seconds)
        else:
            # Several workers have none: files have no room for them.
            series.observe(seconds, {"trace_id": trace_id})
        if refusal is not None:
            self._refusals(method, route, refusal).inc()

    # The order intake

    def _of_intake(self, family: _Family) -> None:
        self._batch_size = family.histogram(
            "shop_intake_batch_orders", "Orders and changes in a batch.", buckets=_SIZES
        )
        self._batch_seconds = family.histogram(
            "shop_intake_batch_seconds", "Time to decide and commit a batch."
        )
        self._wait_seconds = family.histogram(
            "shop_intake_wait_seconds", "Time an order or a change waited for its batch to begin."
        )
        self._rejected = _Series(
            family.counter(
                "shop_intake_rejected_total",
                "Requests turned away: too many waited (full), or for too long (late, locked).",
                "reason",
            ).labels
        )
        for reason in ("full", "late", "locked", "closed"):
            self._rejected(reason)
        self._retries = family.counter(
            "shop_intake_retries_total", "Batches, or halves of them, that were tried again."
        )
        self._queue = family.gauge(
            "shop_intake_waiting", "Orders and changes that wait for a batch."
        )

    def batch_done(self, *, size: int, seconds: float) -> None:
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        self._wait_seconds.observe(seconds)

    def rejected(self, reason: str) -> None:
        self._rejected(reason).inc()

    def retried(self) -> None:
        self._retries.inc()

    # Shared reads

    def _of_reads(self, family: _Family) -> None:
        self._askers = family.histogram(
            "shop_shared_read_askers",
            "How many were answered by a read.",
            "reads",
            buckets=_SIZES,
        )
        self._read_seconds = family.histogram(
            "shop_shared_read_seconds", "Time that a read for many took.", "reads"
        )
        self._read_rejected = family.counter(
            "shop_shared_read_rejected_total",
            "Reads turned away, since too many waited, or for too long.",
            "reads",
        )
        self._reads_waiting = family.gauge(
            "shop_shared_read_waiting", "Who waits for a read, or for its end.", "reads"
        )

    def reads(self, name: str) -> ReadObserver:
        """Of one kind of shared reads."""
        return _Reads(
            self._askers.labels(name),
            self._read_seconds.labels(name),
            self._read_rejected.labels(name),
        )

    # The database

    def _of_database(self, family: _Family) -> None:
        self._statements = _Series(
            family.histogram(
                "shop_database_statement_seconds",
                "Time that a statement took, by the use case it was for.",
                "use_case",
                buckets=_STATEMENT_SECONDS,
            ).labels
        )
        self._statement_errors = _Series(
            family.counter(
                "shop_database_errors_total",
                "Statements that failed. What was lost to another transaction is tried again.",
                "kind",
            ).labels
        )
        for kind in ("serialization", "deadlock", "unavailable"):
            self._statement_errors(kind)
        self._database_up = family.gauge(
            "shop_database_up",
            "1 if the database answered when it was asked last, every 15 seconds and less often "
            "while it is away; else 0.",
            of="livemostrecent",
        )
        self._pool = {
            name: family.gauge(f"shop_database_connections{name}", text, "pool")
            for name, text in {
                "_in_use": "Connections lent out by a pool.",
                "_max": "Connections that a pool may have.",
                "_awaited": "Who waits for a connection of a pool.",
            }.items()
        }

    def statement_done(
        self, statement: str, *, seconds: float, error: BaseException | None
    ) -> None:
        work = work_under_way.get()
        name = work.use_case if work is not None else None
        self._statements(name or "(none)").observe(seconds)
        if error is not None:
            self._statement_errors(kind_of(error)).inc()

    def database_is(self, *, up: bool) -> None:
        self._database_up.set(up)

    def pool_is(self, name: str, *, in_use: int, size: int, awaited: int) -> None:
        for figure, number in {"_in_use": in_use, "_max": size, "_awaited": awaited}.items():
            self._pool[figure].labels(name).set(number)

    # Replicas of the database

    def _of_replicas(self, family: _Family) -> None:
        self._replica_reads = family.counter(
            "shop_replica_reads_total",
            "Reads that a replica may serve, by who served them: `replica`, or the primary, since "
            "no replica had what the caller had seen (`behind`), none may serve (`unfit`), or one "
            "failed just then (`failed`).",
            "served",
        )
        self._replica_fit = _Series(
            family.gauge(
                "shop_replica_fit",
                "1 if a replica may serve reads, or is the primary, by the last look; else 0.",
                "replica",
                of="livemostrecent",
            ).labels
        )
        self._replica_lag = _Series(
            family.gauge(
                "shop_replica_lag_seconds",
                "How late a replica is, about; NaN while that is not known.",
                "replica",
                of="livemostrecent",
            ).labels
        )

    def read_served(self, by: str) -> None:
        self._replica_reads.labels(by).inc()

    def replica_is(self, name: str, *, fit: bool, lag: float | None) -> None:
        self._replica_fit(name).set(fit)
        self._replica_lag(name).set(math.nan if lag is None else lag)

    # Work in the background

    def _of_background(self, family: _Family) -> None:
        self._task_seconds = _Series(
            family.histogram(
                "shop_background_run_seconds",
                "Time a background task's run took, also one that failed.",
                "task",
                buckets=(*_SECONDS, 30.0, 60.0),
            ).labels
        )
        self._task_failures = _Series(
            family.counter(
                "shop_background_failures_total", "Runs of a background task that failed.", "task"
            ).labels
        )
        self._task_success = _Series(
            family.gauge(
                "shop_background_last_success_timestamp_seconds",
                "When a background task last succeeded, in Unix time.",
                "task",
                # Of all workers, also those that are gone: whichever did it last.
                of="max",
            ).labels
        )

    def task_succeeded(self, name: str, *, seconds: float) -> None:
        self._task_seconds(name).observe(seconds)
        self._task_failures(name)
        self._task_success(name).set_to_current_time()

    def task_failed(self, name: str, *, seconds: float) -> None:
        self._task_seconds(name).observe(seconds)
        self._task_failures(name).inc()

    # What happens in the shop

    def _of_shop(self, family: _Family) -> None:
        self._events = _Series(
            family.counter("shop_events_total", "What happened and was committed.", "event").labels
        )
        for event in _EVENTS:
            self._events(event)
        self._pieces = family.counter("shop_pieces_sold_total", "Pieces on orders, when placed.")
        self._products = {
            name: family.gauge(f"shop_products{name}", text, of="livemostrecent")
            for name, text in {
                "_out_of_stock": "Products for sale of which no piece is there.",
                "_low": "Products for sale of which few pieces are there (SHOP_LOW_STOCK).",
                "_below_zero": "Products whose stock is below zero, which must never be.",
            }.items()
        }
        self._counted_at = family.gauge(
            "shop_products_counted_timestamp_seconds",
            "When products out of stock were counted, in Unix time.",
            of="livemostrecent",
        )
        self._differences = family.gauge(
            "shop_stock_verify_differences",
            "Products and orders that the ledger disagreed about when it was verified last.",
            of="livemostrecent",
        )
        self._verified_at = family.gauge(
            "shop_stock_verify_timestamp_seconds",
            "When `shop stock verify` last came to an end, in Unix time; 0 if it never did.",
            of="livemostrecent",
        )

    def events_happened(self, events: Sequence[Event]) -> None:
        for name, number in collections.Counter(event.name for event in events).items():
            self._events(name).inc(number)
        pieces = sum(event.pieces for event in events)
        if pieces:
            self._pieces.inc(pieces)

    def products_are(
        self, *, out_of_stock: int, low: int, below_zero: int, at: datetime | None
    ) -> None:
        figures = {"_out_of_stock": out_of_stock, "_low": low, "_below_zero": below_zero}
        for figure, number in figures.items():
            self._products[figure].set(number)
        self._counted_at.set(_unix_time(at))

    def stock_was_verified(self, *, differences: int, at: datetime | None) -> None:
        self._differences.set(differences)
        self._verified_at.set(_unix_time(at))

    # The process

    def _of_process(self, family: _Family) -> None:
        self._lag = family.histogram(
            "shop_event_loop_lag_seconds",
            "How late the event loop is to do what is due.",
            buckets=_LAG_SECONDS,
        )
        self._passwords = family.gauge(
            "shop_password_queue", "Passwords that are being hashed, or wait for it."
        )
        self._cpu = family.counter(
            "process_cpu_seconds_total", "Seconds of processor time, by worker.", "worker"
        ).labels(self.worker)
        self._cpu_told = 0.0
        self._process = {
            name: family.gauge(f"process_{name}", text, "worker").labels(self.worker)
            for name, text in {
                "resident_memory_bytes": "Memory in use, by worker.",
                "open_fds": "Open files and connections, by worker.",
                "max_fds": "Files and connections that may be open, by worker.",
                "start_time_seconds": "When it started, in Unix time, by worker.",
            }.items()
        }

    def lagged(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def process_is(self, figures: dict[str, float], *, cpu_seconds: float) -> None:
        """`figures` by what follows `process_` in their names."""
        for name, number in figures.items():
            self._process[name].set(number)
        self._cpu.inc(max(0.0, cpu_seconds - self._cpu_told))
        self._cpu_told = cpu_seconds

    def queues_are(self, *, intake: int, passwords: int, reads: dict[str, int]) -> None:
        self._active.set(self.active_requests)
        self._queue.set(intake)
        self._passwords.set(passwords)
        for name, number in reads.items():
            self._reads_waiting.labels(name).set(number)


class _Reads(ReadObserver):
    def __init__(self, askers: Histogram, seconds: Histogram, rejected: Counter) -> None:
        self._askers = askers
        self._seconds = seconds
        self._rejected = rejected

    def read_done(self, *, askers: int, seconds: float) -> None:
        self._askers.observe(askers)
        self._seconds.observe(seconds)

    def read_refused(self) -> None:
        self._rejected.inc()


def _unix_time(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0.0
