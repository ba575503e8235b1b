"""Who may call a route: said on the route, checked here before its body is read."""

from collections.abc import Iterable
from enum import Enum
from urllib.parse import parse_qsl, unquote_to_bytes

from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp, Receive, Scope, Send

from shop.domain.errors import Invalid, InvalidField, InvalidToken, StaffOnly, Unauthenticated
from shop.domain.services.check_user import CheckUser
from shop.entrypoints.tokens import AccessTokens


class Access(Enum):
    PUBLIC = "anybody"
    SIGNED_IN = "whoever is signed in"
    STAFF = "staff"


PUBLIC = {"access": Access.PUBLIC}
PUBLIC_PAGE = PUBLIC | {"answers_json": False}
STAFF = {"access": Access.STAFF}

# By these names on the hot path: Python 3.11 looks the members of an enum up slowly.
_PUBLIC, _SIGNED_IN, _STAFF = Access


_SCHEME = b"bearer "
_JSON_RANGES = frozenset(
    {b"*/*", b"application/*", b"application/json", b"application/problem+json", b""}
)


class NotAcceptable(Invalid):
    code = "not_acceptable"
    title = "Only JSON is served here"

    def __init__(self) -> None:
        super().__init__("The answer is application/json; let the `Accept` header allow it.")


class CheckAccess:
    """Puts the caller into `request.user`, or refuses; a route that says nothing needs one.

    An ASGI middleware that does not wrap `send`: guards and Litestar's own authentication
    middleware cost several times as much.
    """

    def __init__(
        self, app: ASGIApp, tokens: AccessTokens, check_user: CheckUser | None = None
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._check_user = check_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "OPTIONS":
            await _send_methods(scope, send)
            return
        if b"%" in scope["raw_path"] or b"//" in scope["raw_path"]:
            _check_path(scope["raw_path"])
        if query := scope["query_string"]:
            _check_query(query)
        authorization, accept = _authorization_and_accept(scope["headers"])
        opt = scope["route_handler"].opt
        if accept and opt.get("answers_json", True):
            _check_accept(accept)
        access = opt.get("access", _SIGNED_IN)
        if access is not _PUBLIC:
            caller = self._tokens.verify(_bearer_token(authorization))
            if self._check_user is not None:
                caller = await self._check_user(caller=caller)
            if access is _STAFF and not caller.is_staff:
                raise StaffOnly
            scope["user"] = caller
        await self._app(scope, receive, send)


async def _send_methods(scope: Scope, send: Send) -> None:
    """All methods of the address; Litestar 2 names those of its first handler only (its #4169)."""
    template = scope["path_template"]
    route = next(route for route in scope["litestar_app"].routes if route.path_format == template)
    allow = ", ".join(sorted(route.methods)).encode()
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", allow)]})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _check_path(path: bytes) -> None:
    """Every address has one spelling; a proxy that keeps `/metrics` in would let others out."""
    if b"//" in path or b"%2f" in path.lower():
        raise NotFoundException


def _check_query(query: bytes) -> None:
    """Litestar would look for a replacement of what is no UTF-8, and take `null` for nothing."""
    if b"%" in query or not query.isascii():
        try:
            unquote_to_bytes(query).decode()
        except UnicodeDecodeError:
            raise InvalidField("query", "is not UTF-8") from None
    if b"null" in query:
        for name, value in parse_qsl(query.decode()):
            if value == "null" and name != "search":
                raise InvalidField(name, "must not be null; leave it out")


def _authorization_and_accept(
    headers: Iterable[tuple[bytes, bytes]],
) -> tuple[bytes | None, bytes | None]:
    """Both in one look; what was sent several times is joined by commas, as RFC 9110 has it."""
    authorization = accept = None
    for name, value in headers:
        if name == b"authorization":
            authorization = value if authorization is None else authorization + b"," + value
        elif name == b"accept":
            accept = value if accept is None else accept + b"," + value
    return authorization, accept


def _check_accept(accept: bytes) -> None:
    if accept == b"*/*":
        return
    ranges = (item.partition(b";")[0] for item in accept.split(b","))
    if not any(item.strip().lower() in _JSON_RANGES for item in ranges):
        raise NotAcceptable


def _bearer_token(authorization: bytes | None) -> bytes:
    if authorization is None:
        raise Unauthenticated(
            "Sign in at /api/token/ and send `Authorization: Bearer <access token>`."
        )
    # No token has a comma, so neither have two: a proxy may have checked the other one.
    if authorization[: len(_SCHEME)].lower() != _SCHEME or b"," in authorization:
        raise InvalidToken("Send one header `Authorization: Bearer <access token>`.")
    return authorization[len(_SCHEME) :].strip()
