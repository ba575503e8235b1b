"""The short way for plain orders, before the handlers of `POST /api/orders/` and `…/{id}/`."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias
from uuid import UUID

import msgspec
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

from shop.domain.orders import IDEMPOTENCY_KEY_LENGTH_MAX
from shop.domain.services.place_order import PlaceOrder
from shop.entrypoints.http.answers import send_json
from shop.entrypoints.http.api.bodies import each_field_once
from shop.entrypoints.http.api.orders import NewOrder, place

# The order's id, or its idempotency key.
_Head: TypeAlias = tuple[UUID | None, str | None]


class PlainOrders:
    """Answers plain requests in the place of the handlers, which read any request.

    Litestar's request, parameters, dependencies and response cost as much as the order itself
    (docs/performance.md), so this module reads and answers the shop's busiest request by hand.
    A request is plain if nothing in it has to be refused or explained. All others go on to the
    handlers as they came, so that what is wrong with a request is said in one place.
    """

    def __init__(
        self, app: ASGIApp, place_order: Callable[[], PlaceOrder], body_max: int, currency: str
    ) -> None:
        self._app = app
        self._place_order = place_order
        self._body_max = body_max
        self._currency = currency

    # Not `async`, so that every other request has one step less.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if "short_way" in scope["route_handler"].opt:
            return self._answer(scope, receive, send)
        return self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = self._read_head(scope)
        if head is None:
            # Without waiting for its body: the handler refuses one that is announced too large.
            await self._app(scope, receive, send)
            return
        message = await receive()
        order = self._read_order(message)
        if order is None:
            await self._app(scope, _again(message, receive), send)
            return
        order_id, idempotency_key = head
        answer = await place(
            self._place_order(),
            caller=scope["user"],
            order=order,
            currency=self._currency,
            order_id=order_id,
            idempotency_key=idempotency_key,
        )
        await send_json(
            send,
            status_code=answer.status_code,
            content=answer.content,
            headers=[
                (b"etag", answer.etag.encode()),
                (b"location", answer.location.encode()),
            ],
        )

    def _read_head(self, scope: Scope) -> _Head | None:
        headers = _interesting(scope["headers"])
        if headers is None or headers.get(b"content-type") != b"application/json":
            return None
        if b"content-encoding" in headers:
            return None
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX or int(length) > self._body_max:
            return None
        key = headers.get(b"idempotency-key")
        if key is not None and not _PLAIN_KEY.fullmatch(key):
            return None
        try:
            order_id = _order_id(scope["path_params"])
        except msgspec.ValidationError:
            return None
        # An id of the client's own takes no key.
        return order_id, key.decode() if key and not order_id else None

    def _read_order(self, message: ReceiveMessage) -> NewOrder | None:
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        body = message.get("body", b"")
        if len(body) > self._body_max:
            return None
        try:
            order = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return order if each_field_once(body, order) else None


_PLAIN_KEY = re.compile(rb"[ -~]{1,%d}" % IDEMPOTENCY_KEY_LENGTH_MAX)
_LENGTH_DIGITS_MAX = 9
_INTERESTING = (b"content-type", b"content-length", b"content-encoding", b"idempotency-key")

_decode = msgspec.json.Decoder(NewOrder).decode


def _interesting(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """Those that placing looks at; None if one was sent twice."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _INTERESTING:
            if name in found:
                return None
            found[name] = value
    return found


def _order_id(path_parameters: Mapping[str, object]) -> UUID | None:
    given = path_parameters.get("order_id")
    return None if given is None else msgspec.convert(given, UUID)


def _again(message: ReceiveMessage, receive: Receive) -> Receive:
    """Receives what was received already, then the rest."""
    received = [message]

    async def receive_again() -> ReceiveMessage:
        return received.pop() if received else await receive()

    return receive_again
