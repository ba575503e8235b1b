"""Servers that traces and error reports are sent to, as far as the shop can tell."""

import gzip
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_SECONDS_MAX = 20.0


@dataclass
class Received:
    """Bodies, as they came."""

    path: str
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    address: str = ""

    def wait_until(self, is_there: Any) -> Any:
        """What `is_there` finds in what has come, as soon as it is not empty."""
        give_up_at = time.monotonic() + WAIT_SECONDS_MAX
        with self.changed:
            while not (found := is_there()):
                left = give_up_at - time.monotonic()
                assert left > 0, f"it did not come; {len(self.bodies)} others did"
                self.changed.wait(left)
        return found


@contextmanager
def receiver(path: str, *, answers_after: threading.Event | None = None) -> Iterator[Received]:
    """Takes whatever is posted to the path. With `answers_after` it answers only then."""
    received = Received(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            is_ours = self.path == received.path
            if is_ours:
                with received.changed:
                    received.bodies.append(body)
                    received.headers.append(dict(self.headers))
                    received.changed.notify_all()
            if answers_after is not None:
                answers_after.wait(WAIT_SECONDS_MAX)
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT_SECONDS_MAX)


@dataclass(frozen=True, kw_only=True)
class SeenSpan:
    """A span as the collector has it."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: Sequence[str]
    """Ids of the spans."""
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    seconds: float


class Collector:
    """Spans, from the protobuf that came over HTTP."""

    def __init__(self, received: Received) -> None:
        self.received = received

    @property
    def endpoint(self) -> str:
        return f"http://{self.received.address}/v1/traces"

    @property
    def spans(self) -> list[SeenSpan]:
        return [span for body in list(self.received.bodies) for span in _spans_in(body)]

    def named(self, name: str, *, number: int = 1) -> list[SeenSpan]:
        """All of that name, once there are so many."""

        def found() -> list[SeenSpan]:
            spans = [span for span in self.spans if span.name == name]
            return spans if len(spans) >= number else []

        spans: list[SeenSpan] = self.received.wait_until(found)
        return spans

    def below(self, parent: SeenSpan) -> list[SeenSpan]:
        return [span for span in self.spans if span.parent_id == parent.span_id]


@contextmanager
def collector() -> Iterator[Collector]:
    with receiver("/v1/traces") as received:
        yield Collector(received)


def _spans_in(body: bytes) -> Iterator[SeenSpan]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _values(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SeenSpan(
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    links=[link.span_id.hex() for link in span.links],
                    attributes=_values(span.attributes),
                    resource=about,
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


def _values(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, str(each.value.WhichOneof("value"))) for each in attributes
    }


class Sentry:
    """Events, from the envelopes that came over HTTP."""

    KEY = "planted-sentry-key"

    def __init__(self, received: Received) -> None:
        self.received = received

    @property
    def dsn(self) -> str:
        return f"http://{self.KEY}@{self.received.address}/1"

    @property
    def items(self) -> list[tuple[str, dict[str, Any]]]:
        return [item for body in list(self.received.bodies) for item in _items_in(body)]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [content for kind, content in self.items if kind == "event"]

    def wait_for(self, number: int = 1) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.received.wait_until(
            lambda: self.events if len(self.events) >= number else []
        )
        return events


@contextmanager
def sentry() -> Iterator[Sentry]:
    with receiver("/api/1/envelope/") as received:
        yield Sentry(received)


def _items_in(body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    _, *lines = body.rstrip(b"\n").split(b"\n")
    for head, content in zip(lines[::2], lines[1::2], strict=True):
        yield json.loads(head)["type"], json.loads(content)
