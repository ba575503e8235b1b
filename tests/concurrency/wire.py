"""A small HTTP client on a bare socket: one connection, which can also misbehave."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANSWER_SECONDS_MAX = 60.0
"""A bound on what a test may take, not a promise of the service."""


class Gone(Exception):
    """The connection ended without a whole answer: what was asked may have been done, or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: Any
    seconds: float

    @property
    def code(self) -> str:
        """Of a problem."""
        return str(self.body["code"])


@dataclass(kw_only=True)
class Client:
    """Connects when it must; a connection stays open from request to request."""

    port: int
    token: str = ""
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(
        default=None, repr=False
    )
    _is_over: bool = field(default=False, repr=False)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError as error:
                raise Gone from error
        return self._streams

    def close(self) -> None:
        """Hang up at once, whatever is under way."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
            self._is_over = False

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return await self.ask("POST", path, body, **headers)

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        started = time.monotonic()
        await self.send(self.request(method, path, body, **headers))
        answer = await self.answer()
        return Answer(
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            seconds=time.monotonic() - started,
        )

    def request(self, method: str, path: str, body: object = None, **headers: str) -> bytes:
        """The bytes of a request; a header `idempotency_key` is sent as `idempotency-key`."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: shop.test", f"content-length: {len(content)}"]
        if body is not None:
            lines.append("content-type: application/json")
        if self.token:
            lines.append(f"authorization: Bearer {self.token}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + content

    async def send(self, content: bytes) -> None:
        if self._is_over:
            # The server takes nothing more on this connection.
            self.close()
        _, writer = await self.connect()
        try:
            writer.write(content)
            await writer.drain()
        except OSError as error:
            self.close()
            raise Gone from error

    async def answer(self, *, within: float = ANSWER_SECONDS_MAX) -> Answer:
        """The answer to what was sent. Raises `Gone`, and `TimeoutError` if none comes in time."""
        started = time.monotonic()
        reader, _ = await self.connect()
        try:
            async with asyncio.timeout(within):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")[:-2]
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
        except TimeoutError:
            self.close()
            raise
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Gone from error
        self._is_over = headers.get("connection", "").lower() == "close"
        return Answer(
            status=int(first.split(" ")[1]),
            headers=headers,
            body=json.loads(body) if body else None,
            seconds=time.monotonic() - started,
        )
