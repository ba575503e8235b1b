"""The metrics for who scrapes them: with a token where one is set, at a port of their own where one
is named. Every worker listens there and answers for all, so it is served while workers change."""

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from shop.domain.errors import Unauthenticated
from shop.entrypoints.metrics import Metrics
from shop.entrypoints.vitals import Vitals

logger = logging.getLogger("shop.metrics")

_SECONDS_MAX = 5.0
"""For a request to come and its answer to go."""
_AT_ONCE_MAX = 8
_HEAD_BYTES_MAX = 16_384


@dataclass(frozen=True, kw_only=True)
class Exposition:
    metrics: Metrics
    vitals: Vitals
    token: str
    """Empty if nobody need show one."""

    async def __call__(self, *, authorization: str, accept: str) -> tuple[bytes, str]:
        """The metrics in a form that is accepted, and its type. Raises `Unauthenticated`."""
        expected = f"Bearer {self.token}"
        if self.token and not hmac.compare_digest(authorization.encode(), expected.encode()):
            raise Unauthenticated("Send `Authorization: Bearer` and the SHOP_METRICS_TOKEN.")
        self.vitals.look()
        return await asyncio.to_thread(self.metrics.text, accept)


def split_address(address: str) -> tuple[str, int]:
    """Of `127.0.0.1:9100` or `[::1]:9100`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def exposed(exposition: Exposition, address: str) -> AsyncIterator[None]:
    """Serves `/metrics` at the address, if it is not empty.

    Where that cannot be done, the shop is served nevertheless, and the log says so.
    """
    server = None
    if address:
        host, port = split_address(address)
        try:
            server = await asyncio.start_server(
                _Port(exposition), host, port, limit=_HEAD_BYTES_MAX, reuse_port=True
            )
        except OSError as error:
            logger.error("No metrics at %s: %s", address, error)
    try:
        yield
    finally:
        if server is not None:
            server.close()


class _Port:
    """As much of HTTP as a scraper speaks: one request a connection."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._under_way = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._under_way += 1
        try:
            if self._under_way > _AT_ONCE_MAX:
                return
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_SECONDS_MAX):
                    writer.write(await self._answer(reader))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._under_way -= 1
            # Whoever does not read it is not waited for.
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _message(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != "/metrics":
            return _message(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            return _message(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        try:
            body, content_type = await self._exposition(
                authorization=headers.get("authorization", ""), accept=headers.get("accept", "")
            )
        except Unauthenticated:
            return _message(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", "Bearer"))
        message = _message(HTTPStatus.OK, ("Content-Type", content_type), length=len(body))
        return message if method == "HEAD" else message + body


def _message(status: HTTPStatus, *headers: tuple[str, str], length: int = 0) -> bytes:
    given = (*headers, ("Content-Length", str(length)), ("Connection", "close"))
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{n}: {v}" for n, v in given), "", ""]
    return "\r\n".join(lines).encode()
