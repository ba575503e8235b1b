"""Answers in JSON, made with less work than Litestar's own."""

from typing import TypeVar

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class JSONAnswer(Response[T]):
    """Headers and a body, encoded once.

    Litestar looks up how to encode each answer and copies its headers three times, for hooks and
    cookies, which the shop does not have (docs/performance.md).
    """

    def to_asgi_response(  # type: ignore[override]  # any ASGI application will do
        self,
        *_: object,
        headers: dict[str, str] | None = None,
        status_code: int | None = None,
        **_unused: object,
    ) -> ASGIApp:
        body = b"" if self.content is None else _encode(self.content)
        given = {**(headers or {}), **self.headers}
        sent = {name.lower(): value for name, value in given.items()}
        if body:
            sent["content-type"] = self.media_type or "application/json"
            sent["content-length"] = str(len(body))
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code or status_code or 200,
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()
            ],
        }

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})

        return answer


async def send_json(
    send: Send, *, status_code: int, content: object, headers: list[tuple[bytes, bytes]]
) -> None:
    """The same without Litestar's response, which costs as much as encoding the content."""
    body = _encode(content)
    described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    start: Message = {
        "type": "http.response.start",
        "status": status_code,
        "headers": headers + described,
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
