"""Traces by OpenTelemetry, sent over OTLP. Imported only where they are switched on.

Spans are made by hand at a few seams: request, use case, batch of the intake, statement. Names and
attributes are those of OpenTelemetry's semantic conventions, where there are any; none has a value
from a body, a header, a query string or a statement's parameters.
"""

import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

import shop
from shop.adapters.intake import IntakeObserver
from shop.adapters.shared_reads import ReadObserver
from shop.adapters.sql.statements import StatementObserver
from shop.adapters.threads import try_for
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import ShopError
from shop.entrypoints.trace_context import HeadSampler, TraceParent, trace_parent

T = TypeVar("T")

_QUEUE_MAX = 4_096
"""Spans that wait to be sent; what is beyond is dropped."""
_SENT_AT_ONCE_MAX = 512
_PAUSE_MILLISECONDS = 2_000.0
_SEND_SECONDS_MAX = 5.0
"""For a request to the collector, with its repetitions."""
_STOP_SECONDS_MAX = 2.0
_COMPLAINTS_EVERY = 60.0

LIMITS = SpanLimits(
    max_span_attributes=32,
    max_span_attribute_length=2_048,
    # As many requests as a batch of the intake can have.
    max_links=1_000,
    max_link_attributes=4,
    max_events=8,
)
_OTHER = "_OTHER"
"""A method that HTTP has not, as the edge calls it."""
_SERVER_ERROR = 500


class Traces(IntakeObserver, ReadObserver, StatementObserver):
    """Of one process. Whatever is not traced costs a look at its work."""

    def __init__(self, provider: TracerProvider, sampler: HeadSampler, *, database: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("shop", shop.__version__)
        self._is_sampled = sampler
        self._database = database

    # Requests

    def request_began(
        self, work: Work, *, method: str, scheme: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        parent = trace_parent(headers)
        if not self._is_sampled(parent):
            return
        span = self._tracer.start_span(
            _name_of(method),
            context=_below(parent),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "url.scheme": scheme,
                "shop.request_id": work.request_id or "",
            },
        )
        _follow(work, self._tracer, span)

    def request_ended(
        self, work: Work, *, method: str, route: str | None, path: str, status: int
    ) -> None:
        """`status` is 0 if there was no answer."""
        span: Span = work.trace.root
        if route is not None:
            span.update_name(f"{_name_of(method)} {route}")
            # Of an address that there is not, nobody knows what is in it.
            span.set_attributes({"http.route": route, "url.path": path})
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR or not status:
            span.set_attribute("error.type", str(status or "no_answer"))
            span.set_status(StatusCode.ERROR)
        known = {
            "user.id": None if work.user_id is None else str(work.user_id),
            "shop.order_id": None if work.order_id is None else str(work.order_id),
            "shop.batch_id": work.batch_id,
            "shop.batch_wait": work.batch_wait,
        }
        span.set_attributes({name: value for name, value in known.items() if value is not None})
        span.end()

    def response_headers(self, work: Work) -> tuple[tuple[bytes, bytes], ...]:
        """For a client to find its request by: W3C's draft of Trace Context, level 3."""
        span_id = format_span_id(work.trace.root.get_span_context().span_id)
        return ((b"traceresponse", f"00-{work.trace_id}-{span_id}-01".encode()),)

    # What serves many at once

    def attempt_began(self, batch: Work, carried: Sequence[Work]) -> None:
        """A batch is a trace of its own, linked with those of its orders in both directions."""
        traced = [each.trace.root for each in carried if each.trace is not None]
        if not traced:
            return
        span = self._tracer.start_span(
            "order batch",
            context=Context(),
            attributes={"shop.batch_id": batch.batch_id or "", "shop.requests": len(carried)},
            links=[Link(each.get_span_context()) for each in traced],
        )
        for each in traced:
            _link(each, span)
        _follow(batch, self._tracer, span)

    def attempt_ended(self, batch: Work, error: BaseException | None) -> None:
        if batch.trace is None:
            return
        if error is not None:
            _failed(batch.trace.root, error)
        batch.trace.root.end()

    def read_began(self, read: Work, carried: Sequence[Work]) -> None:
        """A shared read is part of the trace of one of those it is for."""
        for other in carried:
            if other.trace is not None and other is not read:
                _link(other.trace.root, read.trace.root)

    # Statements

    def statement_done(
        self, statement: str, *, seconds: float, error: BaseException | None
    ) -> None:
        work = work_under_way.get()
        if work is None or work.trace is None:
            return
        operation = statement.split(None, 1)[0].upper() if statement.strip() else "?"
        ended = time.time_ns()
        span = self._tracer.start_span(
            operation,
            context=set_span_in_context(work.trace.current, Context()),
            kind=SpanKind.CLIENT,
            start_time=ended - int(seconds * 1e9),
            attributes={
                "db.system.name": self._database,
                "db.operation.name": operation,
                # It has placeholders for its values.
                "db.query.text": statement,
            },
        )
        if error is not None:
            _failed(span, error)
            if state := getattr(error, "sqlstate", None):
                span.set_attribute("db.response.status_code", str(state))
        span.end(ended)

    async def close(self) -> None:
        """Send what waits, if the collector takes it soon; the process shall end."""
        await try_for(_STOP_SECONDS_MAX, self._provider.shutdown, name="traces")


class _Trace:
    """The spans of some work: its own, and the one below which others begin now."""

    __slots__ = ("current", "root", "tracer")

    def __init__(self, tracer: Tracer, root: Span) -> None:
        self.tracer = tracer
        self.root = self.current = root


def trace_calls(use_case: type[object], name: str) -> None:
    """From now on a call has a span, in this process, if it is part of traced work.

    The class itself is changed: Litestar gives handlers what is of exactly the class they name.
    """
    call: Callable[..., Coroutine[Any, Any, Any]] = use_case.__call__
    # Not those that show their results bit by bit, to commands only.
    if call in _traced_calls or not iscoroutinefunction(call):
        return

    # Not `async`, so that what is not traced has no further step.
    @wraps(call)
    def call_traced(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        work = work_under_way.get()
        called = call(*args, **kwargs)
        if work is None or work.trace is None:
            return called
        return _with_span(work.trace, name, called)

    _traced_calls.add(call_traced)
    use_case.__call__ = call_traced  # type: ignore[method-assign]


_traced_calls: set[Callable[..., Coroutine[Any, Any, Any]]] = set()


async def _with_span(trace: _Trace, name: str, called: Coroutine[Any, Any, T]) -> T:
    around = trace.current
    # With no attributes: each costs as much as half a span.
    span = trace.tracer.start_span(name, context=set_span_in_context(around, Context()))
    trace.current = span
    try:
        return await called
    except ShopError as error:
        # A refusal is an answer; it is no failure of the shop.
        span.set_attribute("shop.refusal", error.code)
        raise
    except BaseException as error:
        _failed(span, error)
        raise
    finally:
        trace.current = around
        span.end()


def _name_of(method: str) -> str:
    return "HTTP" if method == _OTHER else method


def _follow(work: Work, tracer: Tracer, span: Span) -> None:
    work.trace = _Trace(tracer, span)
    work.trace_id = format_trace_id(span.get_span_context().trace_id)


def _link(span: Span, other: Span) -> None:
    # Who hung up has no span any more.
    if span.is_recording():
        span.add_link(other.get_span_context())


def _failed(span: Span, error: BaseException) -> None:
    """By its kind only: what an error says may have somebody's values in it."""
    kind = type(error)
    span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")
    span.set_status(StatusCode.ERROR)


def _below(parent: TraceParent | None) -> Context:
    if parent is None:
        return Context()
    remote = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(remote), Context())


def open_traces(*, endpoint: str, share: float, environment: str, database: str) -> Traces:
    """Of this process, from which a thread of its own sends them.

    Whatever becomes of them there, the process does not notice: what finds no room in the queue is
    dropped. Headers that a collector wants are in `OTEL_EXPORTER_OTLP_HEADERS`, as everywhere.
    """
    for name in (OTLPSpanExporter.__module__, "opentelemetry.sdk._shared_internal"):
        logging.getLogger(name).addFilter(_Seldom())
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "shop"),
            "service.version": shop.__version__,
            "service.instance.id": str(uuid4()),
            "deployment.environment.name": environment,
            "process.pid": os.getpid(),
        }
    )
    provider = TracerProvider(
        # What comes here was sampled already.
        sampler=ALWAYS_ON,
        resource=resource,
        span_limits=LIMITS,
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(endpoint=endpoint, timeout=_SEND_SECONDS_MAX),
            max_queue_size=_QUEUE_MAX,
            schedule_delay_millis=_PAUSE_MILLISECONDS,
            max_export_batch_size=_SENT_AT_ONCE_MAX,
        )
    )
    return Traces(provider, HeadSampler(share), database=database)


class _Seldom(logging.Filter):
    """One line a minute: a collector that is away is reported again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._silent_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._silent_until:
            return False
        self._silent_until = now + _COMPLAINTS_EVERY
        return True
