"""What holds for every request, whoever sends it, before its body is read."""

import re
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes
from uuid import UUID

import msgspec
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp, Receive, Scope, Send

from shop.adapters.work import work_under_way
from shop.domain.errors import InvalidField

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def _percent_encoded(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % byte[0][0]


def null_is_text(*parameters: str) -> dict[str, Any]:
    """Said by a route (`opt=`): in these query parameters `null` is a word like any other."""
    return {"null_is_text": parameters}


def check_request(app: ASGIApp) -> ASGIApp:
    """Answers OPTIONS, and refuses a host or URL that could be read in more than one way."""

    # Not `async`: the caller awaits what the next application returns, which is one step less.
    def checked(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        _check_host(scope)
        if scope.get("method") == "OPTIONS":
            return _send_methods(scope, send)
        path = scope["raw_path"]
        if b"%" in path or b"//" in path:
            _check_path(path)
        if parameters := scope["path_params"]:
            _check_numbers(parameters)
            _note_order(parameters)
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
    allow = allowed(route.methods).encode()
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def allowed(methods: Iterable[str]) -> str:
    """The `Allow` header. HEAD is taken wherever GET is, though no route says so."""
    names = set(methods)
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))


def _check_host(scope: Scope) -> None:
    """RFC 9112, section 3.2; HTTP/1.0, which load balancers may speak, can do without."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        raise InvalidField("Host", "must be given once")
    # The server shows a header that is missing as one that is empty.
    if hosts in ([], [b""]) and scope["http_version"] == "1.1":
        raise InvalidField("Host", "is required")


# Characters that need no percent sign (RFC 3986, section 2.3), and the slash.
_OTHER_SPELLING = re.compile(rb"%(2[DEF]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)


def _check_path(path: bytes) -> None:
    """An address has one spelling: a proxy that hides `/metrics` must not miss another one."""
    if b"//" in path or _OTHER_SPELLING.search(path):
        raise NotFoundException


# With a sign, a point or an exponent; no UUID is such a number.
_ODD_NUMBER = re.compile(r"-[0-9]+|-?[0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)", re.ASCII)


def _check_numbers(parameters: Mapping[str, Any]) -> None:
    """Ids have one spelling as well: Litestar takes `1e0` for 1."""
    for text in parameters.values():
        if not _ODD_NUMBER.fullmatch(text):
            continue
        try:
            number = msgspec.convert(text, int, strict=False)
        except msgspec.ValidationError:
            continue
        if text != str(number):
            raise NotFoundException


def _note_order(parameters: Mapping[str, Any]) -> None:
    """Log lines of a request about an order name it."""
    if "order_id" in parameters and (work := work_under_way.get()) is not None:
        with suppress(ValueError):
            work.order_id = UUID(parameters["order_id"])


def _check_query(query: bytes, opt: Mapping[str, Any]) -> None:
    """Litestar replaces what is not UTF-8, and takes the word `null` for a missing value."""
    if b"%" in query:
        try:
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise InvalidField("query", "is not UTF-8") from None
    if b"null" in query or b"%" in query:
        for name, value in parse_qsl(query.decode()):
            if value == "null" and name not in opt.get("null_is_text", ()):
                raise InvalidField(name, "must not be null; leave it out")
