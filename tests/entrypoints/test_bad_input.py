"""Bad input: a 4xx that names the field, and nothing done or logged as an error.

Nearly all of it is refused before a store is asked anything. That is sent to the store in memory
only, and a unit of work that is opened for it is a failure. What does reach a store is sent to all
three, and so are a few of each kind.
"""

import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from dependency_injector import providers

from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.domain.pages import Window
from shop.domain.ports import UnitOfWork
from shop.domain.products import ProductQuery
from shop.domain.users import OPERATOR
from tests.cases import all_cases
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

STOCK = 10
BODY_MAX = 65_536
EACH = 20
"""Of each kind, every so many go to all stores."""


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A request that must be refused, and how."""

    case: str
    path: str
    request: dict[str, Any] = field(default_factory=dict)
    method: str = "POST"
    check: Callable[[httpx.Response], object]


def names(*fields: str) -> Callable[[httpx.Response], None]:
    """The answer is a 400 that names these fields."""

    def check(response: httpx.Response) -> None:
        assert wrong_fields(response) == list(fields)

    return check


def names_the_query(response: httpx.Response) -> None:
    """What is left of a page or a status may be wrong as well."""
    assert wrong_fields(response)[0] == "query"


def is_problem(status: int, code: str) -> Callable[[httpx.Response], None]:
    def check(response: httpx.Response) -> None:
        problem(response, status, code)

    return check


JSON = {"Content-Type": "application/json"}

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
        shapes: list[Any] = [None, {}, "", 1, [], [{"product_id": 1, "quantity": 1}] * 101]
        for items in shapes:
            yield path, {"items": items}, "items"
        for line in (None, 1, "x", [], [1, 1]):
            yield path, {"items": [line]}, "items.0"
        yield path, {"items": [{"quantity": 1}]}, "items.0.product_id"
        yield path, {"items": [{"product_id": 1}]}, "items.0.quantity"
        yield path, order_of((1, 1)) | {"user": 2}, "user"
        for value in [1, 1.5, True, "", " ", "-1", "1e3", "1.", ".5", "1,00", "NaN", "1" * 20]:
            yield path, order_of((1, 1)) | {"expected_total": value}, "expected_total"
        yield path, item(price="0.01"), "items.0.price"
        yield path, order_of((1, 1), (1, 0)), "items.1.quantity"
    for path in (SIGN_IN,):
        for name, length_max in [("username", 150), ("password", 256)]:
            for value in [*NOT_TEXT, "", "x" * (length_max + 1)]:
                yield path, GOOD[path] | {name: value}, name
    for path in (REFRESH, REVOKE):
        for value in [*NOT_TEXT, "", "x" * 513]:
            yield path, {"refresh": value}, "refresh"
    for value in [*NOT_TEXT, "", " ", "a,b", "a%", "../", "x" * 65, "a\nb", "a\x00", "a\u202e"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"sku": value}, "sku"
    for value in [*NOT_TEXT, "", " ", "x" * 201, "a\x00", "a\nb", "\x1b[31m", "\x7f", "\x85"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"name": value}, "name"
    for value in [*NOT_TEXT, "x" * 5_001, "a\x00", "\x1b[31m"]:
        yield PRODUCTS, GOOD[PRODUCTS] | {"description": value}, "description"
    for value in [
        *NOT_TEXT,
        *["", " ", "-1", "+1", "1,00", "1e3", "1.", ".5", " 1", "1 ", "1\n", "1.234", "NaN"],
        *["Infinity", "0x1", "1_000", "9" * 11, "10000000000.01", "\N{SUPERSCRIPT TWO}"],
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


def values() -> Iterator[Bad]:
    for path, body, name in wrong_values():
        yield Bad(case=repr(body), path=path, request={"json": body}, check=names(name))


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


def is_malformed(response: httpx.Response) -> None:
    assert response.status_code == 400, response.text
    body = problem(response, 400, response.json()["code"])
    assert body["code"] in ("malformed_body", "invalid_fields")
    if body["code"] == "invalid_fields":
        # Refused by its shape before the text was read to its end.
        assert body["errors"]


def no_json() -> Iterator[Bad]:
    for path in GOOD:
        for case, content in MALFORMED.items():
            request = {"content": content, "headers": JSON}
            yield Bad(case=case, path=path, request=request, check=is_malformed)
        yield Bad(case="nothing", path=path, request={"headers": JSON}, check=names("body"))


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


def no_text() -> Iterator[Bad]:
    for path, name in TEXT_FIELDS:
        good = json.dumps(GOOD[path] | {name: "@"}).encode()
        for case, text in NO_TEXT.items():
            content = good.replace(b'"@"', b'"' + text + b'"')
            yield Bad(
                case=f"{name}: {case}",
                path=path,
                request={"content": content, "headers": JSON},
                check=is_problem(400, "malformed_body"),
            )


TWICE: list[tuple[str, str, str]] = [
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
    (
        ORDERS,
        '{"items": [{"product_id": 1, "quantity": 1}],'
        ' "expected_total": "1.00", "expected_total": "12.00"}',
        "expected_total",
    ),
    (SIGN_IN, '{"username": "a", "password": "b", "username": "admin"}', "username"),
    (REFRESH, '{"refresh": "a", "refresh": "b"}', "refresh"),
    (PRODUCTS, '{"sku": "A", "name": "A", "price": "9", "price": "1"}', "price"),
    (CHANGE, '{"delta": 1, "reason": "x", "delta": 2}', "delta"),
]


def fields_given_twice() -> Iterator[Bad]:
    for path, content, name in TWICE:
        request = {"content": content, "headers": JSON}
        yield Bad(case=content, path=path, request=request, check=names(name))


NO_JSON_TYPES: list[str | None] = [
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
]


def bodies_that_do_not_say_they_are_json() -> Iterator[Bad]:
    for path, good in GOOD.items():
        for media_type in NO_JSON_TYPES:
            said = [] if media_type is None else [(b"Content-Type", media_type.encode("latin-1"))]
            yield Bad(
                case=repr(media_type),
                path=path,
                request={"content": json.dumps(good).encode(), "headers": httpx.Headers(said)},
                check=is_problem(415, "unsupported_media_type"),
            )


ENCODINGS = ["gzip", "GZIP", "br", "deflate", "gzip, identity", "aes128gcm", "\xff"]


def encoded_bodies() -> Iterator[Bad]:
    """What they hold is valid, so that only the header is wrong."""
    for path, good in GOOD.items():
        for encoding in ENCODINGS:
            said = [(b"Content-Type", b"application/json")]
            said.append((b"Content-Encoding", encoding.encode("latin-1")))
            yield Bad(
                case=repr(encoding),
                path=path,
                request={"content": json.dumps(good).encode(), "headers": httpx.Headers(said)},
                check=is_problem(415, "unsupported_content_encoding"),
            )


@dataclass
class Chunks:
    """A body that is sent in pieces; without an end, when it has none."""

    content: bytes | None
    sent: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.sent = 0
        while self.content is None or self.sent < len(self.content):
            chunk = b" " * 1_000
            if self.content is not None:
                chunk = self.content[self.sent : self.sent + 1_000]
            self.sent += len(chunk)
            yield chunk


def bodies_over_the_limit() -> Iterator[Bad]:
    for path, good in GOOD.items():
        content = json.dumps(good).encode().ljust(BODY_MAX + 1)
        for case, sent in {"at once": content, "in chunks": Chunks(content)}.items():
            yield Bad(
                case=case,
                path=path,
                request={"content": sent, "headers": JSON},
                check=is_problem(413, "body_too_large"),
            )


def endless_bodies() -> Iterator[Bad]:
    endless = Chunks(None)

    def is_not_read_to_its_end(response: httpx.Response) -> None:
        problem(response, 413, "body_too_large")
        assert endless.sent < 3 * BODY_MAX

    request = {"content": endless, "headers": JSON}
    yield Bad(case="endless", path=ORDERS, request=request, check=is_not_read_to_its_end)


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


def order_ids_that_are_no_uuid() -> Iterator[Bad]:
    for order_id in BAD_UUIDS:
        path = f"/api/orders/{order_id}/"
        bad = partial(Bad, case=order_id, check=names("order_id"))
        if not order_id.isdecimal():
            # A number may be that of an order that was moved in.
            yield bad(method="GET", path=path)
        yield bad(path=path, request={"json": order_of((1, 1))})
        yield bad(path=f"{path}cancel/")


BAD_PRODUCT_IDS = ["x", "0", "-1", "1.5", "%00", "%FF", "%EF%BC%91x", "9" * 20, "9" * 5_000]


def product_ids_that_are_none() -> Iterator[Bad]:
    for product_id in BAD_PRODUCT_IDS:
        path = f"/api/products/{product_id}/"
        bad = partial(Bad, case=product_id, check=names("product_id"))
        yield bad(method="GET", path=path)
        yield bad(path=f"{path}stock/", request={"json": GOOD[CHANGE]})


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
BAD_PRICES = ["", "x", "-1", "1e3", "1,5", "1.", ".5", "1.2345", "1.234", "9" * 11, "%00", "NaN"]
BAD_QUERIES: dict[str, dict[str, list[str]]] = {
    "/api/products/": {
        "page": BAD_NUMBERS,
        "page_size": [*BAD_NUMBERS, "101"],
        "search": ["%00", "a%0Ab", "%7F", "%C2%85", "x" * 101],
        "ordering": [
            "",
            "stock",
            "-relevance",
            "--name",
            "NAME",
            "name,price",
            "name;",
            "name%00",
            "name%0A",
        ],
        "in_stock": ["", "null", "maybe", "2", "%00", "true%0A"],
        "archived": ["", "null", "maybe", "2", "%00", "true%0A"],
        "price_min": BAD_PRICES,
        "price_max": [*BAD_PRICES, "%EF%BC%91", "1%0A"],
        "created_after": BAD_TIMES,
        "modified_after": BAD_TIMES,
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


def parameters() -> Iterator[Bad]:
    for path, of_path in BAD_QUERIES.items():
        for name, values in of_path.items():
            for value in values:
                query = f"{path}?{name}={value}"
                yield Bad(case=f"{name}={value}", method="GET", path=query, check=names(name))


def queries_that_are_no_text() -> Iterator[Bad]:
    for path in BAD_QUERIES:
        for name in ("search", "page", "cursor", "status", "unknown", "%FF"):
            for value in ("%FF", "%ED%A0%80", "%C0%80", "a%E2%82"):
                query = f"{name}={value}"
                yield Bad(case=query, method="GET", path=f"{path}?{query}", check=names_the_query)


# --- headers ---


def idempotency_keys() -> Iterator[Bad]:
    keys = [b"", b"x" * 256, b"\xff", "ü".encode(), b"a\x00b", b"a\tb", b"\x7f", b"\x1b[31m"]
    for key in keys:
        yield Bad(
            case=repr(key),
            path=ORDERS,
            request={
                "json": order_of((1, STOCK + 1)),
                "headers": httpx.Headers([(b"Idempotency-Key", key)]),
            },
            check=names("Idempotency-Key"),
        )


def is_about_the_host(response: httpx.Response) -> None:
    assert response.status_code == 400
    assert "host" in problem(response, 400, response.json()["code"])["detail"].lower()


def hosts_that_must_not_get_into_a_link() -> Iterator[Bad]:
    bad = [b"", b"evil.example/path", b"a b", b"a@b", b"<script>", b"\xff", b"x" * 256, b"a?b#c"]
    for host in bad:
        yield Bad(
            case=repr(host),
            method="GET",
            path="/api/products/?page_size=1",
            request={"headers": httpx.Headers([(b"Host", host)])},
            check=is_about_the_host,
        )


REFUSED_UNREAD: dict[str, Callable[[], Iterable[Bad]]] = {
    "a wrong value is refused by the name of its field": values,
    "what is no JSON is refused": no_json,
    "what is no text is refused": no_text,
    "a field given twice is refused": fields_given_twice,
    "a body that does not say it is JSON is refused": bodies_that_do_not_say_they_are_json,
    "an encoded body is refused": encoded_bodies,
    "a body over the limit is refused": bodies_over_the_limit,
    "an endless body is not read to its end": endless_bodies,
    "an order id that is no UUID is refused": order_ids_that_are_no_uuid,
    "a product id that is none is refused": product_ids_that_are_none,
    "a wrong parameter is refused by name": parameters,
    "a query that is no text is refused": queries_that_are_no_text,
    "a wrong idempotency key is refused by name": idempotency_keys,
}


@dataclass(frozen=True, kw_only=True)
class World:
    api: Api
    opened: list[UnitOfWork] = field(default_factory=list)
    """In memory, the units of work: nothing of a store is read or changed without one."""

    async def send(self, bad: Bad) -> None:
        bad.check(await self.api.staff.request(bad.method, bad.path, **bad.request))

    async def look(self) -> tuple[int, int, int]:
        """Everything that bad input must not change: stock, products and orders."""
        products = await self.api.container.list_products()(
            caller=OPERATOR, query=ProductQuery(), window=Window(limit=1)
        )
        return products.items[0].stock, products.count.number, await self.api.count_orders()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with opened_api(container_for(settings_for(database_url))) as api:
        await api.given_product(stock=STOCK)
        yield World(api=api)


@pytest.fixture
async def in_memory() -> AsyncIterator[World]:
    """Over a store that notes its units of work."""
    container = container_for(settings_for("memory://"))
    opened: list[UnitOfWork] = []

    def noted(**options: Any) -> UnitOfWork:
        opened.append(MemoryUnitOfWork(database=container.memory(), **options))
        return opened[-1]

    with container.unit_of_work.override(providers.Callable(noted)):
        async with opened_api(container) as api:
            await api.given_product(stock=STOCK)
            yield World(api=api, opened=opened)


def errors_in(log: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in log.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", REFUSED_UNREAD.values(), ids=REFUSED_UNREAD)
async def test_bad_input_is_refused_before_a_store_is_asked(
    in_memory: World, kind: Callable[[], Iterable[Bad]], caplog: pytest.LogCaptureFixture
) -> None:
    # What is read is noted, or the rest would prove nothing.
    in_memory.opened.clear()
    await in_memory.api.customer.get("/api/products/1/")
    assert in_memory.opened
    with all_cases() as cases:
        for bad in kind():
            in_memory.opened.clear()
            caplog.clear()
            with cases.case(bad.method, bad.path, bad.case):
                await in_memory.send(bad)
                assert not errors_in(caplog)
                assert not in_memory.opened, "it reached the store"


async def test_bad_input_of_every_kind_changes_nothing_on_any_store(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = await world.look()
    with all_cases() as cases:
        for kind in REFUSED_UNREAD.values():
            for bad in list(kind())[::EACH]:
                caplog.clear()
                with cases.case(bad.method, bad.path, bad.case):
                    await world.send(bad)
                    assert not errors_in(caplog)
                    assert await world.look() == before


# --- what is read for, on every store ---


def is_passed_over(response: httpx.Response) -> None:
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        problem(response, 400, "invalid_fields")


def does_no_harm(response: httpx.Response) -> None:
    assert response.status_code in (400, 409, 413), response.text


ODD_QUERIES = (
    *("&&&", "=", "?", "%", "%zz", "page=1;page=2", "unknown=%00", "[]=1", "=1&=2"),
    "a" * 8_000,
)


def what_reaches_a_store() -> Iterator[Bad]:
    for path in (ORDERS, CHOSEN):
        body = item(product_id=2**53 - 1)
        check = names("items.0.product_id")
        yield Bad(case="no such product", path=path, request={"json": body}, check=check)
    for query in ODD_QUERIES:
        path = f"/api/orders/?{query}"
        yield Bad(case="an odd query", method="GET", path=path, check=is_passed_over)
    yield from hosts_that_must_not_get_into_a_link()
    too_many = json.dumps(order_of((1, STOCK + 1))).encode()
    yield Bad(
        case="a body of exactly the limit",
        path=ORDERS,
        request={
            "content": too_many.ljust(BODY_MAX),
            "headers": {"Content-Type": "application/json; charset=utf-8"},
        },
        check=is_problem(409, "out_of_stock"),
    )
    for length in (b"abc", b"-1", b"1e3", b"9" * 30, b"", b"\xff"):
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", length)]
        yield Bad(
            case=f"a wrong content length: {length!r}",
            path=ORDERS,
            request={"content": too_many, "headers": httpx.Headers(headers)},
            check=does_no_harm,
        )


MEANINGLESS: list[tuple[str, bytes]] = [
    ("If-None-Match", b"\xff\x00"),
    ("If-None-Match", b'"' * 20_000),
    ("Accept-Language", b"\xff"),
    ("Cookie", b"\xff=\xff; =; a"),
    ("Content-Type", b"\xff"),
    ("X-Forwarded-Host", b"evil.example"),
    ("Range", b"bytes=9-1"),
    ("X-HTTP-Method-Override", b"DELETE"),
]


async def test_what_is_read_for_changes_nothing_on_any_store(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = await world.look()
    plain = await world.api.customer.get("/api/products/1/")

    def is_as_ever(response: httpx.Response) -> None:
        assert response.status_code == 200
        assert response.json() == plain.json()

    odd_headers = [
        Bad(
            case=f"{name}: {value!r}",
            method="GET",
            path="/api/products/1/",
            request={"headers": httpx.Headers([(name.encode(), value)])},
            check=is_as_ever,
        )
        for name, value in MEANINGLESS
    ]
    with all_cases() as cases:
        for bad in [*what_reaches_a_store(), *odd_headers]:
            caplog.clear()
            with cases.case(bad.method, bad.path, bad.case):
                await world.send(bad)
                assert not errors_in(caplog)
                assert await world.look() == before
