"""The short way for one product or one order, before the handlers that read them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from shop.domain.users import Caller
from shop.entrypoints.http.answers import JSONAnswer, send_json
from shop.entrypoints.http.api.etags import if_none_match_in, is_known


class Shown(msgspec.Struct, frozen=True):
    """One thing as it is shown, before it is known how it is sent."""

    content: msgspec.Struct
    etag: str


Show: TypeAlias = Callable[[Caller, Mapping[str, str]], Awaitable[Shown] | None]
"""Shows what the parameters of an address name; None if they are not plain, or wrong."""


def plain_detail(name: str) -> dict[str, str]:
    """Said by a route (`opt=`): `PlainDetails` may answer in the place of its handler."""
    return {"plain_detail": name}


class PlainDetails:
    """Answers in the place of the handlers whatever is plain, as `PlainOrders` does for orders.

    One who reads is most often one of many who read at the same moment, and then nearly all that
    is left to pay for each is HTTP (docs/decisions/0005).
    """

    def __init__(self, app: ASGIApp, shows: Mapping[str, Show]) -> None:
        self._app = app
        self._shows = shows

    # Not `async`, so that every other request has one step less.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        name = scope["route_handler"].opt.get("plain_detail")
        if name is not None:
            shown = self._shows[name](scope["user"], scope["path_params"])
            if shown is not None:
                return _answer(shown, scope, send)
        return self._app(scope, receive, send)


async def _answer(showing: Awaitable[Shown], scope: Scope, send: Send) -> None:
    shown = await showing
    tag = [(b"etag", shown.etag.encode())]
    if is_known(shown.etag, if_none_match_in(scope["headers"])):
        await send({"type": "http.response.start", "status": 304, "headers": tag})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await send_json(send, status_code=200, content=shown.content, headers=tag)


def respond_shown(shown: Shown, if_none_match: str | None) -> JSONAnswer:  # type: ignore[type-arg]
    """The same, by the framework's way."""
    known = is_known(shown.etag, if_none_match)
    return JSONAnswer(
        None if known else shown.content,
        status_code=304 if known else 200,
        headers={"ETag": shown.etag},
    )
