"""Bad input, on every store: a 4xx that names the field, and nothing done or logged as an error."""

import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shop.domain.pages import Part
from shop.domain.products import Product, ProductQuery
from shop.domain.users import OPERATOR
from tests.entrypoints.api import (
    Api,
    container_for,
    new_uuid,
    opened_api,
    order_of,
    problem,
    settings_for,
    wrong_fields,
)
from tests.postgresql import TEMPLATE, PostgresServer

STOCK = 10
BODY_MAX = 65_536
KINDS = ["memory", "sqlite", "postgresql"]


@pytest.fixture(scope="module", params=KINDS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database for the whole table, since nothing in it may change anything."""
    if request.param == "memory":
        yield "memory://"
    elif request.param == "sqlite":
        migrated: Path = request.getfixturevalue("migrated_sqlite")
        copy = migrated.with_name("bad_input.sqlite3")
        copy.write_bytes(migrated.read_bytes())
        yield f"sqlite+aiosqlite:///{copy}"
    else:
        server: PostgresServer = request.getfixturevalue("migrated_postgresql")
        yield server.create_database("bad_input", template=TEMPLATE)
        server.drop_database("bad_input")


@dataclass(kw_only=True)
class World:
    api: Api
    tea: Product
    known: tuple[int, int, int] = (STOCK, 1, 0)

    async def look(self) -> tuple[int, int, int]:
        """Everything that bad input must not change: stock, products and orders."""
        products = await self.api.container.list_products()(
            caller=OPERATOR, query=ProductQuery(), part=Part(limit=1)
        )
        return products.items[0].stock, products.count, await self.api.count_orders()


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    async with opened_api(container_for(settings_for(database_url))) as api:
        yield World(api=api, tea=await api.given_product(stock=STOCK))


@pytest.fixture(autouse=True)
async def _nothing_happens(world: World, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    yield
    before, world.known = world.known, await world.look()
    assert world.known == before, "bad input changed something"
    assert not [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR]


# --- bodies ---

ORDERS = "/api/orders/"
CHOSEN = f"/api/orders/{new_uuid(1)}/"
SIGN_IN = "/api/token/"
REFRESH = "/api/token/refresh/"
REVOKE = "/api/token/revoke/"
PRODUCTS = "/api/products/"
CHANGE = "/api/products/1/stock/"

GOOD: dict[str, dict[str, Any]] = {
    ORDERS: order_of((1, 1)),
    CHOSEN: order_of((1, 1)),
    SIGN_IN: {"username": "customer", "password": "whatever"},
    REFRESH: {"refresh": "whatever"},
    REVOKE: {"refresh": "whatever"},
    PRODUCTS: {"sku": "TEA-1", "name": "Tea", "price": "12.00"},
    CHANGE: {"delta": 1, "reason": "restock"},
}

BEYOND = [2**53 * 1_000, 2**63, 2**64, 10**30, -(2**63) - 1, -(10**30)]
NOT_INTEGERS: list[Any] = ["2", "", 2.5, 1e300, None, True, [2], {"value": 2}]
NOT_TEXT: list[Any] = [1, 1.5, None, True, ["x"], {"x": "x"}]


def item(**changes: Any) -> dict[str, Any]:
    return {"items": [{"product_id": 1, "quantity": 1} | changes]}


def wrong_values() -> Iterator[tuple[str, Any, str]]:
    """Path, body as a value, and the field that is wrong."""
    for path in (ORDERS, CHOSEN):
        for value in [-1, 0, 1_000_001, *BEYOND, *NOT_INTEGERS]:
            yield path, item(quantity=value), "items.0.quantity"
        for value in [-1, 0, *BEYOND, *NOT_INTEGERS]:
            yield path, item(product_id=value), "items.0.product_id"
        yield path, item(product_id=2**53 - 1), "items.0.product_id"
        shapes: list[Any] = [None, {}, "", 1, [], [{"product_id": 1, "quantity": 1}] * 101]
        for items in shapes:
            yield path, {"items": items}, "items"
        for line in (None, 1, "x", [], [1, 1]):
            yield path, {"items": [line]}, "items.0"
        yield path, {"items": [{"quantity": 1}]}, "items.0.product_id"
        yield path, {"items": [{"product_id": 1}]}, "items.0.quantity"
        yield path, order_of((1, 1)) | {"user": 2}, "user"
        yield path, item(price="0.01"), "items.0.price"
        yield path, order_of((1, 1), (1, 0)), "items.1.quantity"
    for path in (SIGN_IN,):
        for name, length_max in [("username", 150), ("password", 256)]:
            for value in [*NOT_TEXT, "", "x" * (length_max + 1)]:
                yield path, GOOD[path] | {name: value}, name
    for path in (REFRESH, REVOKE):
        for value in [*NOT_TEXT, "", "x" * 513]:
            yield path, {"refresh": value}, "refresh"
    for value in [*NOT_TEXT, "", "a b", "ü", "-a", "../x", "x" * 65, "a\n", "a\x00", "a\u202e"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"sku": value}, "sku"
    for value in [*NOT_TEXT, "", " ", "x" * 201, "a\x00", "a\nb", "\x1b[31m", "\x7f", "\x85"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"name": value}, "name"
    for value in [*NOT_TEXT, "x" * 5_001, "a\x00", "\x1b[31m"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"description": value}, "description"
    for value in [
        *NOT_TEXT,
        *["", " ", "-1", "+1", "1,00", "1e3", "1.", ".5", " 1", "1 ", "1\n", "1.234", "NaN"],
        *["Infinity", "0x1", "1_000", "999999999", "100000000.01", "\N{SUPERSCRIPT TWO}"],
        *["\N{ARABIC-INDIC DIGIT TWO}", "\N{FULLWIDTH DIGIT TWO}", "1\x00"],
    ]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"price": value}, "price"
    for value in [-1, 10**12 + 1, *BEYOND, *NOT_INTEGERS]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"stock": value}, "stock"
    for value in [0, 10**12 + 1, -(10**12) - 1, *BEYOND, *NOT_INTEGERS]:
        yield CHANGE, GOOD[CHANGE] | {"delta": value}, "delta"
    for name in ("quantity", "expected"):
        count = {"quantity": 11, "expected": STOCK, "reason": "counted"}
        for value in [-1, 10**12 + 1, *BEYOND, *(set_apart for set_apart in NOT_INTEGERS[:4])]:
            yield CHANGE, count | {name: value}, name
    for value in [*NOT_TEXT, "", " ", "x" * 201, "a\x00", "a\r\nb"]:
        yield CHANGE, GOOD[CHANGE] | {"reason": value}, "reason"
    for path, good in GOOD.items():
        yield path, good | {"unknown": 1}, "unknown"
        for name in good:
            if name != "delta":
                yield path, {k: v for k, v in good.items() if k != name}, name
        for value in (None, [], "x", 1, True, [good]):
            yield path, value, "body"


async def post(world: World, path: str, **request: Any) -> httpx.Response:
    return await world.api.staff.post(path, **request)


@pytest.mark.parametrize(("path", "body", "name"), list(wrong_values()))
async def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    world: World, path: str, body: Any, name: str
) -> None:
    assert wrong_fields(await post(world, path, json=body)) == [name]


# Texts that are no JSON, whatever is asked for.
MALFORMED: dict[str, bytes] = {
    "a space": b" ",
    "no JSON": b"nonsense",
    "an open object": b'{"items": [',
    "single quotes": b"{'items': []}",
    "a comma too many": b'{"items": [],}',
    "something after it": b'{"items": []} x',
    "two objects": b"{}{}",
    "a comment": b'{/* */ "items": []}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"items": []}'.encode("utf-16"),
    "UTF-32": '{"items": []}'.encode("utf-32-le"),
    "NUL bytes": b"\x00" * 100,
    "a NUL after it": b"{}\x00",
    "a control character in a name": b'{"a\x01b": 1}',
    "NaN": b'{"items": NaN}',
    "infinity": b'{"items": -Infinity}',
    "a leading zero": b'{"items": 01}',
    "a plus": b'{"items": +1}',
    "hexadecimal": b'{"items": 0x10}',
    "a form": b"items=1&username=x",
    "gzip": gzip.compress(b"{}", mtime=0),
    "arrays in arrays": b"[" * 60_000,
    "objects in objects": b'{"items":' * 6_000,
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", GOOD)
async def test_what_is_no_json_is_refused(world: World, path: str, content: bytes) -> None:
    response = await post(
        world, path, content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400, response.text
    body = problem(response, 400, response.json()["code"])
    assert body["code"] in ("malformed_body", "invalid_fields")
    if body["code"] == "invalid_fields":
        # Refused by its shape before the text was read to its end.
        assert body["errors"]


TEXT_FIELDS = [
    (SIGN_IN, "username"),
    (SIGN_IN, "password"),
    (REFRESH, "refresh"),
    (REVOKE, "refresh"),
    (PRODUCTS, "sku"),
    (PRODUCTS, "name"),
    (PRODUCTS, "description"),
    (PRODUCTS, "price"),
    (CHANGE, "reason"),
]
# As they stand between the quotes.
NO_TEXT: dict[str, bytes] = {
    "a lone surrogate": rb"\ud800",
    "a lone low surrogate": rb"a\udc00b",
    "surrogates the wrong way round": rb"\udc00\ud800",
    "an encoded surrogate": b"\xed\xa0\x80",
    "invalid UTF-8": b"\xff\xfe",
    "an overlong NUL": b"\xc0\x80",
    "half a character": b"\xe2\x82",
    "a raw newline": b"a\nb",
    "a raw NUL": b"a\x00b",
    "an unknown escape": rb"\x41",
}


@pytest.mark.parametrize("text", NO_TEXT.values(), ids=NO_TEXT)
@pytest.mark.parametrize(("path", "name"), TEXT_FIELDS)
async def test_what_is_no_text_is_refused(world: World, path: str, name: str, text: bytes) -> None:
    good = json.dumps(GOOD[path] | {name: "@"}).encode()
    response = await post(
        world,
        path,
        content=good.replace(b'"@"', b'"' + text + b'"'),
        headers={"Content-Type": "application/json"},
    )
    problem(response, 400, "malformed_body")


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        (ORDERS, '{"items": [{"product_id": 1, "quantity": 1}], "items": []}', "items"),
        (ORDERS, '{"items": [], "items": [{"product_id": 1, "quantity": 1}]}', "items"),
        (
            CHOSEN,
            '{"items": [{"product_id": 1, "quantity": 1}],'
            ' "\\u0069tems": [{"product_id": 1, "quantity": 1}]}',
            "items",
        ),
        (
            ORDERS,
            '{"items": [{"product_id": 1, "quantity": 1},'
            ' {"product_id": 2, "quantity": 9, "quantity": 1}]}',
            "items.1.quantity",
        ),
        (SIGN_IN, '{"username": "a", "password": "b", "username": "admin"}', "username"),
        (REFRESH, '{"refresh": "a", "refresh": "b"}', "refresh"),
        (PRODUCTS, '{"sku": "A", "name": "A", "price": "9", "price": "1"}', "price"),
        (CHANGE, '{"delta": 1, "reason": "x", "delta": 2}', "delta"),
    ],
)
async def test_a_field_given_twice_is_refused(
    world: World, path: str, content: str, name: str
) -> None:
    response = await post(
        world, path, content=content, headers={"Content-Type": "application/json"}
    )
    assert wrong_fields(response) == [name]


@pytest.mark.parametrize("path", GOOD)
async def test_a_missing_body_is_named(world: World, path: str) -> None:
    response = await post(world, path, headers={"Content-Type": "application/json"})
    assert wrong_fields(response) == ["body"]


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/jsonx",
        "application/json-patch+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/x-msgpack",
        "json",
        "\xff",
    ],
)
async def test_a_body_that_does_not_say_it_is_json_is_refused(
    world: World, path: str, media_type: str | None
) -> None:
    headers = [] if media_type is None else [(b"Content-Type", media_type.encode("latin-1"))]
    response = await post(
        world, path, content=json.dumps(GOOD[path]).encode(), headers=httpx.Headers(headers)
    )
    problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(world: World, path: str, chunked: bool) -> None:
    content = json.dumps(GOOD[path]).encode().ljust(BODY_MAX + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1_000):
            yield content[start : start + 1_000]

    response = await post(
        world,
        path,
        content=chunks() if chunked else content,
        headers={"Content-Type": "application/json"},
    )
    problem(response, 413, "body_too_large")


async def test_an_endless_body_is_not_read_to_its_end(world: World) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000
            yield b" " * 1_000

    response = await post(
        world, ORDERS, content=endless(), headers={"Content-Type": "application/json"}
    )
    problem(response, 413, "body_too_large")
    assert sent < 3 * BODY_MAX


async def test_a_body_of_exactly_the_limit_is_read(world: World) -> None:
    content = json.dumps(order_of((1, STOCK + 1))).encode().ljust(BODY_MAX)
    response = await post(
        world, ORDERS, content=content, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    problem(response, 409, "out_of_stock")


# --- addresses ---

BAD_UUIDS = [
    "x",
    "1",
    "-1",
    "null",
    "00000000-0000-4000-8000-00000000000",
    "00000000-0000-4000-8000-0000000000000",
    "00000000-0000-4000-8000-00000000000g",
    "%7B00000000-0000-4000-8000-000000000000%7D",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000-0000-4000-8000-000000000000%00",
    "00000000-0000-4000-8000-000000000000%0A",
    "%00",
    "%FF",
    "%ED%A0%80",
    "%F0%9F%92%A9",
    "x" * 5_000,
    "'%20OR%201=1--",
]


@pytest.mark.parametrize("order_id", BAD_UUIDS)
async def test_an_order_id_that_is_no_uuid_is_refused(world: World, order_id: str) -> None:
    for response in (
        await world.api.customer.get(f"/api/orders/{order_id}/"),
        await world.api.customer.post(f"/api/orders/{order_id}/", json=order_of((1, 1))),
        await world.api.customer.post(f"/api/orders/{order_id}/cancel/"),
    ):
        assert wrong_fields(response) == ["order_id"]


@pytest.mark.parametrize(
    "product_id", ["x", "0", "-1", "1.5", "%00", "%FF", "%EF%BC%91x", "9" * 20, "9" * 5_000]
)
async def test_a_product_id_that_is_none_is_refused(world: World, product_id: str) -> None:
    for response in (
        await world.api.staff.get(f"/api/products/{product_id}/"),
        await world.api.staff.post(f"/api/products/{product_id}/stock/", json=GOOD[CHANGE]),
    ):
        assert wrong_fields(response) == ["product_id"]


BAD_NUMBERS = ["", "x", "null", "0", "-1", "1.5", "%00", "9" * 20, "9" * 5_000, "1,2"]
BAD_TIMES = [
    "",
    "0.5",
    "1",
    "1767225600",
    "yesterday",
    "2026-03-01",
    "2026-03-01T12:00:00",
    "2026-03-01T12:00Z",
    "2026-3-1T12:00:00Z",
    "2026-13-01T12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-03-01T25:00:00Z",
    "2026-03-01T12:60:00Z",
    "2026-03-01T12:00:61Z",
    "2026-03-01T12:00:00%2B24:00",
    "2026-03-01T12:00:00%2B99:99",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "-2026-03-01T12:00:00Z",
    "2026-03-01T12:00:00Z%00",
    "2026-03-01T12:00:00Z%0A",
    "%D9%A2%D9%A0%D9%A2%D9%A6-03-01T12:00:00Z",
]
BAD_PRICES = ["", "x", "-1", "1e3", "1,5", "1.", ".5", "1.2345", "1.234", "999999999", "%00", "NaN"]
BAD_QUERIES: dict[str, dict[str, list[str]]] = {
    "/api/products/": {
        "page": BAD_NUMBERS,
        "page_size": [*BAD_NUMBERS, "101"],
        "search": ["%00", "a%0Ab", "%7F", "%C2%85", "x" * 101],
        "ordering": ["", "stock", "--name", "NAME", "name,price", "name;", "name%00", "name%0A"],
        "in_stock": ["", "null", "maybe", "True", "2", "%00", "true%0A"],
        "price_min": BAD_PRICES,
        "price_max": [*BAD_PRICES, "%EF%BC%91", "1%0A"],
    },
    "/api/orders/": {
        "page": BAD_NUMBERS,
        "status": ["", "null", "lost", "PLACED", "placed%00", "placed%0A"],
        "created_after": BAD_TIMES,
        "created_before": BAD_TIMES,
        "code": ["", "short", "x" * 13, "'%20OR%201=1", "%00" * 12],
        "user": [*BAD_NUMBERS, "customer", str(2**53)],
    },
}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (path, name, value)
        for path, names in BAD_QUERIES.items()
        for name, values in names.items()
        for value in values
    ],
)
async def test_a_wrong_parameter_is_refused_by_name(
    world: World, path: str, name: str, value: str
) -> None:
    assert wrong_fields(await world.api.staff.get(f"{path}?{name}={value}")) == [name]


@pytest.mark.parametrize("value", ["%FF", "%ED%A0%80", "%C0%80", "a%E2%82"])
@pytest.mark.parametrize("name", ["search", "page", "cursor", "status", "unknown", "%FF"])
async def test_a_query_that_is_no_text_is_refused(world: World, name: str, value: str) -> None:
    for path in BAD_QUERIES:
        response = await world.api.staff.get(f"{path}?{name}={value}")
        assert wrong_fields(response) == ["query"]


@pytest.mark.parametrize(
    "query",
    ["&&&", "=", "?", "%", "%zz", "page=1;page=2", "unknown=%00", "[]=1", "=1&=2", "a" * 8_000],
)
async def test_an_odd_query_that_means_nothing_is_passed_over(world: World, query: str) -> None:
    response = await world.api.customer.get(f"/api/orders/?{query}")
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        problem(response, 400, "invalid_fields")


# --- headers ---


@pytest.mark.parametrize(
    "key", [b"", b"x" * 256, b"\xff", "ü".encode(), b"a\x00b", b"a\tb", b"\x7f", b"\x1b[31m"]
)
async def test_a_wrong_idempotency_key_is_refused_by_name(world: World, key: bytes) -> None:
    response = await post(
        world,
        ORDERS,
        json=order_of((1, STOCK + 1)),
        headers=httpx.Headers([(b"Idempotency-Key", key)]),
    )
    assert wrong_fields(response) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    "host", [b"", b"evil.example/path", b"a b", b"a@b", b"<script>", b"\xff", b"x" * 256, b"a?b#c"]
)
async def test_a_host_that_is_none_never_gets_into_a_link(world: World, host: bytes) -> None:
    response = await world.api.staff.get(
        "/api/products/?page_size=1", headers=httpx.Headers([(b"Host", host)])
    )
    assert response.status_code == 400
    assert "host" in problem(response, 400, response.json()["code"])["detail"].lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("If-None-Match", b"\xff\x00"),
        ("If-None-Match", b'"' * 20_000),
        ("Accept-Language", b"\xff"),
        ("Cookie", b"\xff=\xff; =; a"),
        ("Content-Type", b"\xff"),
        ("X-Forwarded-Host", b"evil.example"),
        ("Range", b"bytes=9-1"),
        ("X-HTTP-Method-Override", b"DELETE"),
    ],
)
async def test_headers_that_mean_nothing_here_change_nothing(
    world: World, name: str, value: bytes
) -> None:
    plain = await world.api.customer.get("/api/products/1/")
    response = await world.api.customer.get(
        "/api/products/1/", headers=httpx.Headers([(name.encode(), value)])
    )
    assert response.status_code == 200
    assert response.json() == plain.json()


@pytest.mark.parametrize("length", [b"abc", b"-1", b"1e3", b"9" * 30, b"", b"\xff"])
async def test_a_wrong_content_length_does_no_harm(world: World, length: bytes) -> None:
    response = await post(
        world,
        ORDERS,
        content=json.dumps(order_of((1, STOCK + 1))).encode(),
        headers=httpx.Headers(
            [(b"Content-Type", b"application/json"), (b"Content-Length", length)]
        ),
    )
    assert response.status_code in (400, 409, 413), response.text
