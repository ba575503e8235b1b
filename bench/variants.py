"""The shop with one part exchanged: what orders cost without being placed, batched or guarded.

`python -m bench.variants constant --port 8000` is `shop serve --port 8000` but for that part.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from dependency_injector import providers
from litestar import Litestar, get, post
from litestar.params import JSONBody
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

from bench.data import LINES_MAX
from shop.domain.errors import ShopError
from shop.domain.money import Money
from shop.domain.orders import Order, OrderItem, OrderLine, OrderStatus, Placed
from shop.domain.services.decide_orders import DecideOrders, Request
from shop.domain.services.place_order import PlaceOrder
from shop.domain.users import Caller, Role
from shop.entrypoints.cli.serve import serve
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.http.api.orders import OrderOut
from shop.entrypoints.http.app import build_app
from shop.entrypoints.http.edge import Edge, Headers, announced_length
from shop.entrypoints.settings import load_settings


def answering_constant(container: Container) -> Callable[..., Awaitable[Placed]]:
    """In the place of what `PlaceOrder` does: one answer for every order of so many lines."""
    answers = [
        Placed(order=_order(container, lines), created=True) for lines in range(LINES_MAX + 1)
    ]

    async def answer(_: PlaceOrder, *, items: tuple[OrderItem, ...], **__: Any) -> Placed:
        return answers[len(items)]

    return answer


def _order(container: Container, lines: int) -> Order:
    now = container.clock()()
    price = Money(amount=1_290, currency="EUR")
    return Order(
        id=container.new_id()(),
        code=container.new_order_code()(),
        user_id=1,
        status=OrderStatus.PLACED,
        lines=tuple(
            OrderLine(product_id=number, name="Nordic Oak Chair", price=price, quantity=1)
            for number in range(1, max(lines, 1) + 1)
        ),
        currency="EUR",
        digest=bytes(32),
        version=1,
        created_at=now,
        modified_at=now,
    )


class OneByOne:
    """In the place of the intake: every order is a transaction of its own, at once."""

    waiting, is_full, is_alive = 0, False, True

    def __init__(self, decide_orders: DecideOrders) -> None:
        self._decide_orders = decide_orders

    async def __call__(self, request: Request) -> Any:
        [answer] = await self._decide_orders([request])
        if isinstance(answer, ShopError):
            raise answer
        return answer

    async def close(self) -> None: ...


class HandOn:
    """In the place of `PlainOrders`: every order takes the framework's way."""

    def __init__(self, app: ASGIApp, **_: object) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class LetIn:
    """In the place of `CheckClient`: whoever comes is a customer."""

    def __init__(self, app: ASGIApp, **_: object) -> None:
        self._app = app
        self._caller = Caller(user_id=1, role=Role.CUSTOMER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = self._caller
        await self._app(scope, receive, send)


class UnguardedEdge(Edge):
    """An edge that waits for a body for ever and adds no header but the request's id."""

    def _headers(self, scope: Scope, given: list[tuple[bytes, bytes]]) -> Headers:
        return ()

    def _in_time(self, scope: Scope, receive: Receive) -> Receive:
        missing = announced_length(scope["headers"])

        async def receive_whole() -> ReceiveMessage:
            nonlocal missing
            message = await receive()
            assert message["type"] == "http.request"
            missing -= len(message["body"])
            if missing == 0:
                message["more_body"] = False
            return message

        return receive_whole


def build_unguarded(container: Container) -> ASGIApp:
    container.order_limit.override(providers.Object(lambda _user_id: None))
    with (
        patch.multiple("shop.entrypoints.http.app", check_request=_unchecked, Edge=UnguardedEdge),
        patch("shop.entrypoints.http.api.router.CheckClient", LetIn),
    ):
        return build_app(container)


def _unchecked(app: ASGIApp) -> ASGIApp:
    return app


def create_direct() -> ASGIApp:
    container = build_container(load_settings())
    # Of the class itself: handlers are given no instance of another one, a subclass included.
    patch.object(PlaceOrder, "__call__", answering_constant(container)).start()
    return build_app(container)


def create_constant() -> ASGIApp:
    with patch("shop.entrypoints.http.api.router.PlainOrders", HandOn):
        return create_direct()


def create_naive() -> ASGIApp:
    container = build_container(load_settings())
    container.intake.override(OneByOne(container.decide_orders()))
    return build_app(container)


BARE_BODY = "BENCH_BARE_BODY"
"""The file whose bytes are the constant."""


def order_answer(container: Container, lines: int) -> bytes:
    """What the shop answers to an order of so many lines."""
    return msgspec.json.encode(OrderOut.of(_order(container, lines)))


class BareItem(msgspec.Struct):
    product_id: int
    quantity: int


class BareOrder(msgspec.Struct):
    items: list[BareItem]


def create_bare() -> ASGIApp:
    """No part of the shop: what Litestar and the server cost to read a request and answer it."""
    body = Path(os.environ[BARE_BODY]).read_bytes()

    @get("/", media_type="application/json", sync_to_thread=False)
    def constant() -> bytes:
        return body

    @get("/health/ready", sync_to_thread=False)
    def ready() -> None:
        return None

    @post("/api/orders/", media_type="application/json", sync_to_thread=False)
    def place(data: JSONBody[BareOrder]) -> bytes:
        return body

    return Litestar([constant, place, ready], openapi_config=None, logging_config=None)


def main(variant: str, *arguments: str) -> None:
    """`shop serve` as it is, but its workers serve the variant."""
    # By the module's own name, under which the workers find it, too.
    create = getattr(import_module("bench.variants"), f"create_{variant}")
    with patch("shop.entrypoints.cli.serve.loader", lambda _port, _settings: create):
        serve(list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
