"""Answers in JSON, made with less ado than Litestar's own."""

from typing import TypeVar

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class JSONAnswer(Response[T]):
    """Headers and a body, encoded once.

    Litestar looks up how to encode each answer and carries its headers through three mutable
    copies, for hooks and cookies that the shop has none of: a tenth of a placed order.
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
    send: Send, *, status: int, content: object, headers: list[tuple[bytes, bytes]]
) -> None:
    """The same where there is no Litestar around."""
    body = _encode(content)
    described = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers + described})
    await send({"type": "http.response.body", "body": body, "more_body": False})
