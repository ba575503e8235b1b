"""Lists that many ask for at the same moment: read, encoded and tagged once for all of them."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import structlog
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from shop.adapters.work import Work, work_under_way
from shop.domain.users import Caller
from shop.entrypoints.http.api.etags import if_none_match_in, is_known, tag_of

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.http")

Audience = Callable[[Caller], Hashable]
"""Callers who are shown the same have the same audience."""


def same_for_each_role(caller: Caller) -> Hashable:
    return caller.role


def own_for_each_customer(caller: Caller) -> Hashable:
    return caller.role if caller.is_staff else caller.user_id


def shared_by(audience: Audience) -> dict[str, Any]:
    """Said by a route (`opt=`): who asks for the same at the same moment gets one answer.

    Its handler sees the caller, the address with its query, and the `Host`, but no other header:
    whatever an answer depends on has to tell those who share it apart.
    """
    return {"shared_by": audience}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    tag: str
    """Empty of what is not to be known again: refusals."""
    problem: str | None
    """The code of a refusal."""

    def refusing(self, own: Work) -> "_Answer":
        """A refusal names the request and the trace of who is shown it, not of whom it was for."""
        content = msgspec.json.decode(self.body)
        shown = {name: text for name, text in content.items() if name != "trace_id"}
        read_by = content.get("request_id")
        if read_by is not None:
            shown["request_id"] = own.request_id
        if own.trace_id is not None:
            shown["trace_id"] = own.trace_id
        if shown == content:
            return self
        if read_by is not None and read_by != own.request_id:
            # What failed was logged under that one.
            logger.error("request.failed", read_by=read_by)
        body = msgspec.json.encode(shown)
        others = [each for each in self.headers if each[0] != b"content-length"]
        return replace(self, body=body, headers=[*others, (b"content-length", b"%d" % len(body))])


class ShareReads(Protocol):
    def __call__(
        self, read: Callable[[], Awaitable[_Answer]], /, *, line: Hashable, asker: int
    ) -> Awaitable[_Answer]: ...


class SharedAnswers:
    """Calls the handler once for all who wait for the same list.

    Sharing what is read is not enough: Litestar's parameters and dependencies, and encoding a page,
    cost several times as much as being answered with what is there (docs/performance.md).
    """

    def __init__(self, app: ASGIApp, share: ShareReads) -> None:
        self._app = app
        self._share = share

    # Not `async`, so that every other request has one step less.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        audience = scope["route_handler"].opt.get("shared_by")
        if audience is None:
            return self._app(scope, receive, send)
        return self._answer(scope, send, audience)

    async def _answer(self, scope: Scope, send: Send, audience: Audience) -> None:
        caller: Caller = scope["user"]
        hosts = [header for header in scope["headers"] if header[0] == b"host"]
        answer = await self._share(
            lambda: self._read(scope, hosts),
            line=(
                scope["path"],
                scope["query_string"],
                scope["scheme"],
                tuple(hosts),
                audience(caller),
            ),
            asker=caller.user_id,
        )
        if answer.problem is not None and (own := work_under_way.get()) is not None:
            own.problem = answer.problem
            answer = answer.refusing(own)
        known = answer.tag and is_known(answer.tag, if_none_match_in(scope["headers"]))
        await send(
            {
                "type": "http.response.start",
                "status": 304 if known else answer.status,
                # A list of its own: what is around this adds to it.
                "headers": [(b"etag", answer.tag.encode())] if known else list(answer.headers),
            }
        )
        body = b"" if known else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _read(self, scope: Scope, hosts: list[tuple[bytes, bytes]]) -> _Answer:
        """The handler's answer to this asker, which is the answer to all."""
        messages: list[Any] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        reduced: Any = {**scope, "headers": hosts}
        await self._app(reduced, _nothing, keep)
        start, *parts = messages
        body = b"".join(part["body"] for part in parts)
        headers = list(start["headers"])
        tag = tag_of(body) if start["status"] == 200 else ""
        if tag:
            headers.append((b"etag", tag.encode()))
        read = work_under_way.get()
        return _Answer(start["status"], headers, body, tag, read.problem if read else None)


async def _nothing() -> ReceiveMessage:
    return {"type": "http.request", "body": b"", "more_body": False}
