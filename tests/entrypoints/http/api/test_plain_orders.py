"""The short way for plain orders: what takes it, and that both ways answer the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from litestar.types import ASGIApp, Receive, Scope, Send

from shop.domain.orders import Placed
from shop.domain.services.place_order import PlaceOrder
from shop.entrypoints.http.api.orders import SHORT_WAY
from shop.entrypoints.http.api.plain_orders import PlainOrders
from tests.builders import customer, order_id
from tests.builders import order as an_order
from tests.entrypoints.api import (
    Api,
    container_for,
    opened_api,
    order_of,
    placed,
    problem,
    settings_for,
)

BODY = b'{"items":[{"product_id":1,"quantity":2},{"product_id":3,"quantity":1}]}'
JSON = (b"content-type", b"application/json")


@dataclass
class Placing:
    """In the place of `PlaceOrder`, and of the handler behind."""

    asked: list[Mapping[str, Any]] = field(default_factory=list)
    handed_on: list[bytes] = field(default_factory=list)
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)
    """What was sent and not received yet."""

    async def place_order(self, **asked: Any) -> Placed:
        self.asked.append(asked)
        return Placed(order=an_order(), created=True)

    async def handler(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            body, more = body + message["body"], message["more_body"]
        self.handed_on.append(body)

    async def request(
        self,
        *chunks: bytes,
        headers: tuple[tuple[bytes, bytes], ...] = (JSON,),
        opt: Mapping[str, Any] = SHORT_WAY,
        handler: ASGIApp | None = None,
        **path_params: str,
    ) -> None:
        self.left = list(chunks)

        async def receive() -> Any:
            chunk = self.left.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.left)}

        async def send(message: Any) -> None:
            self.answers.append(message)

        scope = {
            "headers": list(headers),
            "path_params": path_params,
            "route_handler": type("Handler", (), {"opt": opt}),
            "user": customer(),
        }
        place_order = cast("PlaceOrder", self.place_order)
        short = PlainOrders(
            handler or self.handler,
            place_order=lambda: place_order,
            body_max=1_000,
            currency="EUR",
        )
        await short(cast("Scope", scope), receive, send)


@pytest.fixture
def placing() -> Placing:
    return Placing()


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        BODY.replace(b":", b" :\t"),
        b'\n{ "items" : [ {"quantity": 1, "product_id": 9007199254740991} ] }\r\n',
    ],
)
async def test_a_plain_order_is_placed_and_answered_at_once(placing: Placing, body: bytes) -> None:
    await placing.request(body, headers=((b"accept", b"*/*"), JSON, (b"x-other", b"1")))
    assert placing.handed_on == []
    [asked] = placing.asked
    assert (asked["caller"], asked["order_id"], asked["idempotency_key"]) == (
        customer(),
        None,
        None,
    )
    start, rest = placing.answers
    assert start["status"] == 201
    assert dict(start["headers"])[b"content-length"] == str(len(rest["body"])).encode()


async def test_it_takes_a_key(placing: Placing) -> None:
    await placing.request(BODY, headers=(JSON, (b"idempotency-key", b"order 17")))
    assert [asked["idempotency_key"] for asked in placing.asked] == ["order 17"]


@pytest.mark.parametrize("given", [str(order_id(7)), str(order_id(7)).upper(), order_id(7).hex])
async def test_it_takes_an_id_and_then_no_key(placing: Placing, given: str) -> None:
    await placing.request(BODY, headers=(JSON, (b"idempotency-key", b"k")), order_id=given)
    assert [(asked["order_id"], asked["idempotency_key"]) for asked in placing.asked] == [
        (order_id(7), None)
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        BODY + b"{}",
        b"[" * 900,
        BODY + b" " * 1_000,
        b'{"items":[]}',
        b'{"items":[{"product_id":0,"quantity":1}]}',
        b'{"items":[{"product_id":1,"quantity":"1"}]}',
        b'{"items":[{"product_id":1,"quantity":1,"price":1}]}',
        b'{"items":[{"product_id":1,"product_id":2,"quantity":1}]}',
        b'{"items":[{"product_id":1,"quantity":1,"quantity":1}]}',
        b'{"items":[{"product_id":1,"quantity":1}],"items":[{"product_id":1,"quantity":1}]}',
        b'{"items":[{"product_id":1,"quantity":1,"qu\\u0061ntity":2}]}',
        b'{"items":[{"product_id":1,"quantity":1}],"\\u0069tems":[]}',
    ],
)
async def test_any_other_body_goes_on_as_it_came(placing: Placing, body: bytes) -> None:
    await placing.request(body)
    assert (placing.asked, placing.handed_on) == ([], [body])


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/json; charset=utf-8"),),
        (JSON, JSON),
        (JSON, (b"idempotency-key", b"")),
        (JSON, (b"idempotency-key", b"a\tb")),
        (JSON, (b"idempotency-key", b"\xe9")),
        (JSON, (b"idempotency-key", b"a\n")),
        (JSON, (b"idempotency-key", b"k" * 256)),
        (JSON, (b"idempotency-key", b"a"), (b"idempotency-key", b"b")),
    ],
)
async def test_so_does_what_has_other_headers(placing: Placing, headers: Any) -> None:
    await placing.request(BODY, headers=headers)
    assert (placing.asked, placing.handed_on) == ([], [BODY])


@pytest.mark.parametrize("length", [b"1001", b"9" * 25, b"", b"x", b"71, 71", b"-1"])
async def test_what_is_announced_oddly_or_too_large_goes_on_before_it_is_waited_for(
    placing: Placing, length: bytes
) -> None:
    read_before = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        read_before.append(len(placing.left))

    await placing.request(BODY, headers=(JSON, (b"content-length", length)), handler=handler)
    assert (placing.asked, read_before) == ([], [1])


async def test_so_does_a_body_in_pieces(placing: Placing) -> None:
    await placing.request(BODY[:9], BODY[9:], b"")
    assert (placing.asked, placing.handed_on) == ([], [BODY])


@pytest.mark.parametrize("given", ["1", "x" * 36, "{" + str(order_id(7)) + "}", ""])
async def test_so_does_what_is_no_id(placing: Placing, given: str) -> None:
    await placing.request(BODY, order_id=given)
    assert (placing.asked, placing.handed_on) == ([], [BODY])


async def test_so_does_what_asks_for_something_else(placing: Placing) -> None:
    await placing.request(BODY, opt={})
    assert (placing.asked, placing.handed_on) == ([], [BODY])


# --- the answers of both ways ---


async def both(
    api: Api, body: Any, path: str = "/api/orders/", key: str = ""
) -> list[httpx.Response]:
    """The same order plainly, and as only the long way takes it; each under its own id or key."""
    answers: list[httpx.Response] = []
    for content_type in ("application/json", "application/json; charset=utf-8"):
        headers = {"Content-Type": content_type}
        if key:
            headers["Idempotency-Key"] = key.format(len(answers))
        content = httpx.Request("POST", "http://x", json=body).content
        where = path.format(uuid4())
        answers.append(await api.customer.post(where, content=content, headers=headers))
    return answers


def comparable(response: httpx.Response) -> Any:
    body = response.json()
    own = {name: body.pop(name, None) for name in ("id", "code", "instance", "request_id")}
    headers = dict(response.headers)
    if own["id"]:
        assert headers.pop("location") == f"/api/orders/{UUID(own['id'])}/"
    headers.pop("x-request-id")
    return response.status_code, list(body), body, headers


@pytest.mark.parametrize("path", ["/api/orders/", "/api/orders", "/api/orders/{}/"])
@pytest.mark.parametrize("key", ["", "the key {}"])
async def test_both_ways_answer_alike(api: Api, path: str, key: str) -> None:
    tea, mug = await api.given_product(stock=10), await api.given_product(price=850, stock=10)
    short, long = await both(api, order_of((tea, 2), (mug, 1), (tea, 1)), path, key)
    assert short.status_code == 201
    assert comparable(short) == comparable(long)
    assert await api.stock_of(tea) == 4


@pytest.mark.parametrize("wanted", [(11,), (1, 10)])
async def test_both_ways_refuse_alike_what_is_not_there(api: Api, wanted: tuple[int, ...]) -> None:
    tea = await api.given_product(stock=10)
    short, long = await both(api, order_of(*((tea, quantity) for quantity in wanted)))
    assert short.status_code == 409
    assert comparable(short) == comparable(long)
    assert await api.stock_of(tea) == 10


async def test_both_ways_refuse_alike_what_is_not_known(api: Api) -> None:
    tea = await api.given_product()
    short, long = await both(api, order_of((tea, 1), (4711, 1)))
    assert short.status_code == 400
    assert comparable(short) == comparable(long)


@pytest.mark.parametrize("key", ["", "the key {}"])
async def test_both_ways_refuse_a_total_with_digits_that_the_currency_has_not(
    api: Api, key: str
) -> None:
    tea = await api.given_product(price=1200)
    short, long = await both(api, order_of((tea, 2)) | {"expected_total": "24.001"}, key=key)
    errors = problem(short, 400, "invalid_fields")["errors"]
    assert errors == problem(long, 400, "invalid_fields")["errors"]
    assert errors == [{"field": "expected_total", "message": "EUR has 2 digits after the point"}]
    short, long = await both(api, order_of((tea, 2)) | {"expected_total": "24.000"}, key=key)
    assert {short.status_code, long.status_code} <= {200, 201}


@pytest.mark.parametrize("total", ["1.5", "0.01"])
async def test_an_amount_in_yen_has_no_digits_after_the_point(total: str) -> None:
    async with opened_api(container_for(settings_for(currency="JPY"))) as api:
        tea = await api.given_product(price=1200)
        order = await placed(api.customer, (tea, 1))
        body = order_of((tea, 2)) | {"expected_total": total}
        response = await api.customer.patch(f"/api/orders/{order['id']}/", json=body)
        [error] = problem(response, 400, "invalid_fields")["errors"]
        assert error["message"] == "JPY has 0 digits after the point"


@pytest.mark.parametrize("key", ["", "the key {}"])
async def test_both_ways_hold_an_order_to_its_expected_total(api: Api, key: str) -> None:
    tea = await api.given_product(price=1200, stock=10)
    short, long = await both(api, order_of((tea, 2)) | {"expected_total": "23.99"}, key=key)
    assert problem(short, 409, "price_changed")["total"] == "24.00"
    assert comparable(short) == comparable(long)
    assert await api.stock_of(tea) == 10
    short, long = await both(api, order_of((tea, 2)) | {"expected_total": "24"}, key=key)
    assert short.status_code == 201
    assert comparable(short) == comparable(long)


async def test_what_is_expected_is_plain_and_a_null_is_not(placing: Placing) -> None:
    expecting = BODY[:-1] + b',"expected_total":"24.00"}'
    await placing.request(expecting)
    assert [asked["expected_total"] for asked in placing.asked] == [Decimal("24.00")]
    null = BODY[:-1] + b',"expected_total":null}'
    await placing.request(null)
    assert placing.handed_on == [null]


async def test_both_ways_are_one_shop_to_whoever_repeats(api: Api) -> None:
    tea = await api.given_product(stock=10)
    for path, key in (("/api/orders/", "once"), (f"/api/orders/{uuid4()}/", "")):
        short, long = await both(api, order_of((tea, 1)), path, key)
        assert (short.status_code, long.status_code) == (201, 200)
        assert short.json() == long.json()
    assert await api.stock_of(tea) == 8
