"""The edge: what every answer has and every request must have, around the whole application."""

import asyncio
import logging
import os
import re
import time
from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from shop.domain.errors import Invalid
from shop.entrypoints.logs import request_id_of_context
from shop.entrypoints.metrics import Metrics

access_logger = logging.getLogger("shop.access")

_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # The server's own banner would say which software to look up holes of.
    (b"server", b"shop"),
)
# Whatever a browser makes of an answer, it runs and frames nothing; the docs page has its own.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")
_PRIVATE = ("/api/token", "/api/users")


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_TOO_SLOW = "the body came too slowly"


class BodyTooSlow(Invalid):
    code = "body_too_slow"
    title = "The body came too slowly"

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time; nothing was done.")


class ClientGone(Invalid):
    """Nobody is there to read the answer."""

    code = "client_gone"

    def __init__(self) -> None:
        super().__init__("The connection was closed before the body was complete.")


class Edge:
    """Gives every request an id, which its answer and its log lines carry; logs it if asked to.

    A body must have arrived within `body_seconds_max`: a slow peer is refused, not waited for.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, log_access: bool, body_seconds_max: float
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._log_access = log_access
        self._body_seconds_max = body_seconds_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        context = request_id_of_context.set(request_id)
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._body_seconds_max
        status = 0

        async def receive_in_time() -> ReceiveMessage:
            # As `asyncio.timeout_at` does it, at a third of its price.
            task = asyncio.current_task()
            assert task is not None
            cancelling = task.cancelling()
            timer = loop.call_at(give_up_at, task.cancel, _TOO_SLOW)
            try:
                message = await receive()
            except asyncio.CancelledError as cancelled:
                # Somebody else may have cancelled as well; theirs goes on.
                if cancelled.args != (_TOO_SLOW,) or task.uncancel() > cancelling:
                    raise
                raise BodyTooSlow from None
            finally:
                timer.cancel()
            if message["type"] == "http.disconnect":
                raise ClientGone
            return message

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                headers = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *_HEADERS,
                ]
                if not any(name == b"content-security-policy" for name, _ in headers):
                    headers.append(_POLICY)
                if (scope.get("path_template") or "").startswith(_PRIVATE):
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive_in_time, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.request_done(
                method=scope["method"] if scope["method"] in _METHODS else "(other)",
                route=scope.get("path_template") or "(none)",
                status=status,
                seconds=seconds,
            )
            if self._log_access:
                access_logger.info(
                    "%s %s %s %.1f ms",
                    scope["method"],
                    # Quoted as it came, so that it cannot forge a line.
                    scope["raw_path"].decode("ascii", "backslashreplace"),
                    status,
                    seconds * 1000,
                )
            request_id_of_context.reset(context)


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's, if it is sane, else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _SANE_REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return os.urandom(16).hex()
