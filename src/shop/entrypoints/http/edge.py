"""The edge, around the whole application: request ids, headers of every answer, HEAD, slow ones."""

import asyncio
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    Message,
    Receive,
    ReceiveMessage,
    Scope,
    Send,
)

from shop.adapters.deadlines import TimeLimits
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import Invalid
from shop.entrypoints.health import Drain
from shop.entrypoints.http.access import is_public
from shop.entrypoints.http.access_log import AccessLog
from shop.entrypoints.http.errors import BodyTooSlow
from shop.entrypoints.marks import SeenMarks
from shop.entrypoints.metrics import Metrics

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


# Every answer has these. The server's own `server` header would name the software to attack.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"server", b"shop"),
)
# The next request goes to a server that stays.
_CLOSE = (b"connection", b"close")
_NO_STORE = (b"cache-control", b"no-store")
_PRIVATE = ("/api/token", "/api/users")
# Said of what has an `ETag` (`opt=`), for who is signed in: nobody else may keep it, and who
# does asks whether it is still so. Orders differ by who asks, too.
_REVALIDATE = (b"cache-control", b"private, no-cache")
REVALIDATED: dict[str, Any] = {"headers": (_REVALIDATE,)}
REVALIDATED_BY_CALLER: dict[str, Any] = {"headers": (_REVALIDATE, (b"vary", b"authorization"))}
_VARY_ORIGIN = (b"vary", b"Origin")
# A browser runs nothing that is in an answer and shows it in no frame. A page's route says what
# the page needs (`opt`, "policy").
_POLICY = "default-src 'none'; frame-ancestors 'none'"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


PART_BYTES_MAX = 32_768
"""Of an answer's body, handed to the server at once."""

# No body is so long that its length has more digits.
_LENGTH_DIGITS_MAX = 18


class ClientGone(Invalid):
    """Nobody is there to read the answer."""

    code = "client_gone"

    def __init__(self) -> None:
        super().__init__("The connection was closed before the body was complete.")


class RequestTraces(Protocol):
    """Traces some requests: those whose work has a trace after `request_began`."""

    def request_began(
        self, work: Work, *, method: str, scheme: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> None: ...

    def response_headers(self, work: Work) -> Headers: ...

    def request_ended(
        self, work: Work, *, method: str, route: str | None, path: str, status: int
    ) -> None: ...


class Edge:
    """Gives every request an id, which its answer and its log lines carry; counts and logs it.

    A body must arrive within `body_seconds_max`: a slow client is refused. HEAD is answered as GET
    is, without the body. `for_origins` says that answers differ by the origin that asks. `marks`
    are there where the store has replicas: what a client has seen comes with its request, and goes
    with the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        drain: Drain,
        access_log: AccessLog,
        body_seconds_max: float,
        for_origins: bool = False,
        traces: RequestTraces | None = None,
        marks: SeenMarks | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._drain = drain
        self._access_log = access_log
        self._for_origins = for_origins
        self._traces = traces
        self._marks = marks
        self._body_seconds_max = body_seconds_max
        self._bodies = TimeLimits("the body came too slowly", BodyTooSlow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._live(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        work = Work(request_id=request_id)
        context = work_under_way.set(work)
        self._metrics.active_requests += 1
        started = time.perf_counter()
        status = size = 0
        method = scope["method"]
        known = method if method in _METHODS else "_OTHER"
        if (traces := self._traces) is not None:
            traces.request_began(
                work, method=known, scheme=scope["scheme"], headers=scope["headers"]
            )
        if (marks := self._marks) is not None:
            work.seen = marks.sent_in(scope["headers"])
        if is_head := method == "HEAD":
            scope["method"] = "GET"

        async def send_with_id(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                message["headers"] = [
                    *headers,
                    (b"x-request-id", request_id.encode()),
                    *self._headers(scope, headers),
                    *(traces.response_headers(work) if traces and work.trace else ()),
                    *(marks.of(work) if marks is not None else ()),
                ]
            elif message["type"] == "http.response.body":
                if is_head:
                    message["body"] = b""
                size += len(message.get("body", b""))
                for part in _in_parts(message):
                    await send(part)
                return
            await send(message)

        try:
            await self._app(scope, self._in_time(scope, receive), send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.active_requests -= 1
            self._metrics.request_done(
                method=known,
                route=scope.get("path_template") or "(none)",
                status=status,
                seconds=seconds,
                refusal=work.problem,
                trace_id=work.trace_id,
            )
            self._access_log(scope, work, method=known, status=status, seconds=seconds, size=size)
            if traces is not None and work.trace is not None:
                traces.request_ended(
                    work,
                    method=known,
                    route=scope.get("path_template"),
                    path=scope["raw_path"].decode("ascii", "backslashreplace"),
                    status=status,
                )
            work_under_way.reset(context)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan. What fails in it was logged (`app.py`): the server is told that, no more.

        Litestar would hand it the traceback as text, which it would log with nothing masked.
        """

        async def send_type(message: Any) -> None:
            await send({"type": message["type"]})

        with suppress(Exception):
            await self._app(scope, receive, send_type)

    def _headers(self, scope: Scope, given: list[tuple[bytes, bytes]]) -> Headers:
        """What makes an answer safe to show and to keep, beside the headers it has."""
        has_tag = any(name == b"etag" for name, _ in given)
        headers = _headers_of(scope.get("path_template"), scope.get("route_handler"), has_tag)
        if self._drain.has_begun:
            headers = (*headers, _CLOSE)
        if self._for_origins and not _varies_by_origin(given):
            # A cache must not give one origin the answer of another, or of none.
            headers = (*headers, _VARY_ORIGIN)
        return headers

    def _in_time(self, scope: Scope, receive: Receive) -> Receive:
        """Receives until the time is over, then raises `BodyTooSlow`.

        The server tells the end of a body with a message of its own, which costs another change
        between threads. Where `Content-Length` was given, the end is known without that message.
        """
        missing = announced_length(scope["headers"])
        give_up_at = asyncio.get_running_loop().time() + self._body_seconds_max

        async def receive_in_time() -> ReceiveMessage:
            nonlocal missing
            with self._bodies.until(give_up_at):
                message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            missing -= len(message.get("body", b""))
            if missing == 0:
                message["more_body"] = False
            return message

        return receive_in_time


def _in_parts(message: HTTPResponseBodyEvent) -> Iterable[HTTPResponseBodyEvent]:
    """The server keeps a copy of what it is given, and takes the next when the last has gone."""
    body = message.get("body", b"")
    if len(body) <= PART_BYTES_MAX:
        return [message]
    starts = range(0, len(body), PART_BYTES_MAX)
    return (
        {
            "type": "http.response.body",
            "body": body[start : start + PART_BYTES_MAX],
            "more_body": message.get("more_body", False) or start != starts[-1],
        }
        for start in starts
    )


@lru_cache(256)
def _headers_of(
    path_template: str | None, route_handler: BaseRouteHandler | None, has_tag: bool
) -> Headers:
    opt = route_handler.opt if route_handler else {}
    policy: str = opt.get("policy", _POLICY)
    # What has an `ETag` says itself how it may be kept.
    is_private = (path_template or "").startswith(_PRIVATE) or (
        route_handler is not None and not is_public(route_handler) and not has_tag
    )
    own: Headers = (_NO_STORE,) if is_private else opt.get("headers", ())
    return (*_HEADERS, (b"content-security-policy", policy.encode()), *own)


def _varies_by_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"vary" and b"origin" in value.lower() for name, value in headers)


def announced_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The length of the body by its header; -1 if there is no header or it makes no sense."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) <= _LENGTH_DIGITS_MAX else -1
    return -1


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's id if it is short and harmless, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return os.urandom(16).hex()
