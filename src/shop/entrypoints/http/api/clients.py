"""What a client of the API must send before its body is read: an `Accept` that takes JSON, and a
bearer token where the route is not public."""

from collections.abc import Iterable

from litestar.types import ASGIApp, Receive, Scope, Send

from shop.domain.errors import InvalidToken, Unauthenticated
from shop.domain.services.check_user import CheckUser
from shop.entrypoints.http.access import is_public, let_in
from shop.entrypoints.http.errors import NotAcceptable
from shop.entrypoints.tokens import AccessTokens

_SCHEME = b"bearer "
_JSON_RANGES = frozenset(
    {b"*/*", b"application/*", b"application/json", b"application/problem+json", b""}
)


class CheckClient:
    """Puts the caller into `request.user`, or refuses.

    An ASGI middleware that does not wrap `send`: guards and Litestar's own authentication
    middleware cost several times as much.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: AccessTokens, check_user: CheckUser | None = None
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._check_user = check_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorization, accept = _authorization_and_accept(scope["headers"])
        if accept:
            _check_accept(accept)
        if not is_public(scope["route_handler"]):
            caller = self._tokens.verify(_bearer_token(authorization))
            if self._check_user is not None:
                caller = await self._check_user(caller=caller)
            let_in(scope, caller)
        await self._app(scope, receive, send)


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
    # A token has no comma, so a comma means two headers: a proxy may have checked the other one.
    if authorization[: len(_SCHEME)].lower() != _SCHEME or b"," in authorization:
        raise InvalidToken("Send one header `Authorization: Bearer <access token>`.")
    return authorization[len(_SCHEME) :].strip()
