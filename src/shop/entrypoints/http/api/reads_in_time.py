"""The deadline of requests that only read; what changes something has its own: `idempotency`."""

import asyncio
from collections.abc import Awaitable

from litestar.types import ASGIApp, Receive, Scope, Send

from shop.adapters.deadlines import TimeLimits
from shop.domain.errors import StoreUnavailable
from shop.domain.ports import OUT_OF_TIME


class ReadsInTime:
    """Whatever a read waits for, it is answered in time: with 503 if need be."""

    def __init__(self, app: ASGIApp, *, seconds_max: float) -> None:
        self._app = app
        self._seconds_max = seconds_max
        self._reading = TimeLimits(OUT_OF_TIME, _late)

    # Not `async`, so that every other request has one step less.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope.get("method") in ("GET", "HEAD"):
            return self._read(scope, receive, send)
        return self._app(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._reading.until(asyncio.get_running_loop().time() + self._seconds_max):
            await self._app(scope, receive, send)


def _late() -> StoreUnavailable:
    return StoreUnavailable("There was no answer in time; nothing was done.")
