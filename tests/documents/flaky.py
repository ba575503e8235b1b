"""A proxy in front of a shop, which does to its answers what networks and servers do."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Fault(Enum):
    """What becomes of a request to place an order."""

    UNAVAILABLE = "not sent on, 503 with Retry-After: 1"
    TOO_MANY = "not sent on, 429 with Retry-After: 1"
    MUCH_LATER = "not sent on, 503 with Retry-After: 1000"
    LOST = "sent on, and the connection ends without the answer"
    UNKNOWN = "sent on, and answered 503 outcome_unknown"
    BAD_GATEWAY = "sent on, and answered 502 by a proxy"
    SILENT = "sent on, and never answered"
    EXPIRED = "not sent on, 401"


_ANSWERS: dict[Fault, tuple[int, dict[str, str], str]] = {
    Fault.UNAVAILABLE: (503, {"Retry-After": "1"}, "overloaded"),
    Fault.TOO_MANY: (429, {"Retry-After": "1"}, "too_many_requests"),
    Fault.MUCH_LATER: (503, {"Retry-After": "1000"}, "overloaded"),
    Fault.UNKNOWN: (503, {}, "outcome_unknown"),
    Fault.BAD_GATEWAY: (502, {}, ""),
    Fault.EXPIRED: (401, {"WWW-Authenticate": "Bearer"}, "invalid_token"),
}
_SENT_ON = {Fault.LOST, Fault.UNKNOWN, Fault.BAD_GATEWAY, Fault.SILENT}


@dataclass(frozen=True, kw_only=True)
class Asked:
    at: float
    """In seconds of a monotonic clock."""
    name: str
    """The order's id or key."""
    fault: Fault | None


@dataclass
class Flaky:
    """Faults come in their order, and then `always`."""

    shop_port: int
    faults: list[Fault]
    always: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, name: str) -> Fault | None:
        with self._lock:
            fault = self.faults.pop(0) if self.faults else self.always
            self.asked.append(Asked(at=time.monotonic(), name=name, fault=fault))
            return fault

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address."""
        server = _Server(("127.0.0.1", 0), _Handler)
        server.flaky = self
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            self.stopping.set()
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    flaky: Flaky

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are no errors here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = None
        if self.path.startswith("/api/orders/"):
            name = self.headers.get("Idempotency-Key") or self.path
            fault = self.server.flaky.note(name)
        if fault is None:
            status, headers, text = self._send_on(body)
            self._answer(status, headers, text)
            return
        if fault in _SENT_ON:
            self._send_on(body)
        if fault is Fault.SILENT:
            self.server.flaky.stopping.wait(60)
        if fault in _ANSWERS:
            status, headers, code = _ANSWERS[fault]
            text = json.dumps({"code": code}).encode() if code else b"<h1>Bad Gateway</h1>"
            self._answer(status, headers, text)
        else:
            self.close_connection = True

    def _send_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        shop = http.client.HTTPConnection("127.0.0.1", self.server.flaky.shop_port, timeout=30)
        wanted = ("Content-Type", "Authorization", "Idempotency-Key")
        headers: dict[str, Any] = {n: self.headers[n] for n in wanted if n in self.headers}
        shop.request("POST", self.path, body, headers)
        answer = shop.getresponse()
        text = answer.read()
        shop.close()
        kept = {"Content-Type": answer.headers["Content-Type"]}
        return answer.status, kept, text

    def _answer(self, status: int, headers: dict[str, str], text: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
