"""What holds for every request, whoever sends it, before its body is read."""

import re
from collections.abc import Awaitable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp, Receive, Scope, Send

from shop.domain.errors import InvalidField

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def _percent_encoded(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % byte[0][0]


def null_is_text(*parameters: str) -> dict[str, Any]:
    """Said by a route (`opt=`): in these query parameters `null` is a word like any other."""
    return {"null_is_text": parameters}


def check_request(app: ASGIApp) -> ASGIApp:
    """Answers OPTIONS, and refuses a URL that could be read in more than one way."""

    # Not `async`: the caller awaits what the next application returns, which is one step less.
    def checked(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope.get("method") == "OPTIONS":
            return _send_methods(scope, send)
        path = scope["raw_path"]
        if b"%" in path or b"//" in path:
            _check_path(path)
        if query := scope["query_string"]:
            if not query.isascii():
                # As browsers send it. Litestar would read each byte as a letter of Latin-1.
                query = scope["query_string"] = _NOT_ASCII.sub(_percent_encoded, query)
            _check_query(query, scope["route_handler"].opt)
        return app(scope, receive, send)

    return checked


async def _send_methods(scope: Scope, send: Send) -> None:
    """All methods of the address; Litestar 2 names those of its first handler only (its #4169)."""
    template = scope["path_template"]
    route = next(route for route in scope["litestar_app"].routes if route.path_format == template)
    allow = ", ".join(sorted(route.methods)).encode()
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _check_path(path: bytes) -> None:
    """An address has one spelling: a proxy that hides `/metrics` must not miss another one."""
    if b"//" in path or b"%2f" in path.lower():
        raise NotFoundException


def _check_query(query: bytes, opt: Mapping[str, Any]) -> None:
    """Litestar replaces what is not UTF-8, and takes the word `null` for a missing value."""
    if b"%" in query:
        try:
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise InvalidField("query", "is not UTF-8") from None
    if b"null" in query:
        for name, value in parse_qsl(query.decode()):
            if value == "null" and name not in opt.get("null_is_text", ()):
                raise InvalidField(name, "must not be null; leave it out")
