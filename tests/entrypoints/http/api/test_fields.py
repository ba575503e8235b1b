"""Every wrong field is named, in words: of a body, and of an address and its headers."""

import json
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from shop.domain.errors import InvalidField
from shop.domain.orders import LINES_MAX
from shop.entrypoints.http.api.bodies import _PAIRS, StrictJSON
from shop.entrypoints.http.api.fields import (
    ERRORS_MAX,
    NAME_LENGTH_MAX,
    Rule,
    Words,
    shape_of,
    wrong_fields,
)
from tests.entrypoints.api import Api, order_of, problem

ORDER = "/api/orders/00000000-0000-4000-8000-000000000000/"


def even(text: str, currency: str) -> None:
    if len(text) % 2:
        raise InvalidField("whatever", f"must be even in {currency}")


class Way(StrEnum):
    POST = "post"
    VAN = "van"


class Line(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=1_000_000)]
    name: Annotated[str, Meta(min_length=2, max_length=4), Rule(even)]
    gift: bool = False


class Body(msgspec.Struct, forbid_unknown_fields=True, rename={"lines": "items"}):
    """All kinds of fields that bodies have."""

    lines: Annotated[list[Line], Meta(min_length=1, max_length=3)]
    way: Way
    size: Literal["small", "large"]
    id: UUID
    code: Annotated[str, Meta(pattern="^[A-Z]+$"), Words("must be capital letters")] | None = None
    note: Annotated[Annotated[str, Meta(max_length=3)] | None, Meta(description="?")] = None
    count: Annotated[int, Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    discount: Annotated[int, Meta(le=0)] = 0
    tags: list[str] | None = None
    text: str = ""
    at: datetime | None = None


GOOD: dict[str, Any] = {
    "items": [{"id": 1, "name": "ab"}],
    "way": "post",
    "size": "small",
    "id": "00000000-0000-4000-8000-000000000000",
}
SHAPE = shape_of(Body)


def wrong(body: Any) -> list[tuple[str, str]]:
    text = body if isinstance(body, str) else json.dumps(body)
    return wrong_fields(SHAPE, _PAIRS.decode(text), "EUR")


def test_nothing_is_wrong_with_what_fits() -> None:
    assert wrong(GOOD) == []
    everything = {"code": "A", "note": "abc", "count": 0, "discount": -1, "tags": [""], "text": "x"}
    assert wrong(GOOD | everything) == []
    assert wrong(GOOD | {"code": None, "note": None, "tags": None}) == []


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"items": []}, "items", "must be a list of 1 to 3 items"),
        ({"items": None}, "items", "must be a list of 1 to 3 items"),
        ({"items": {}}, "items", "must be a list of 1 to 3 items"),
        ({"items": GOOD["items"] * 4}, "items", "must be a list of 1 to 3 items"),
        ({"items": [1]}, "items.0", "must be an object with these fields: id, name, gift"),
        ({"items": [[]]}, "items.0", "must be an object with these fields: id, name, gift"),
        ({"way": "foot"}, "way", "must be one of: post, van"),
        ({"size": "POST"}, "size", "must be one of: small, large"),
        ({"id": "x"}, "id", "must be a UUID such as 6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50"),
        ({"code": "a"}, "code", "must be capital letters"),
        ({"note": "four"}, "note", "must be a text of at most 3 characters"),
        ({"count": -1}, "count", "must be a whole number of at least 0"),
        ({"count": None}, "count", "must be a whole number of at least 0"),
        ({"discount": 1}, "discount", "must be a whole number of at most 0"),
        ({"tags": "x"}, "tags", "must be a list of items"),
        ({"tags": ["x", 1]}, "tags.1", "must be a text"),
        ({"text": None}, "text", "must be a text"),
        ({"at": "today"}, "at", "must be a time such as 2026-01-31T12:00:00Z"),
    ],
)
def test_a_wrong_value_is_said_to_be_what_it_must(
    changes: dict[str, Any], field: str, message: str
) -> None:
    assert wrong(GOOD | changes) == [(field, message)]


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ({"id": "1"}, "id", "must be a whole number from 1 to 1,000,000"),
        ({"id": True}, "id", "must be a whole number from 1 to 1,000,000"),
        ({"id": 0}, "id", "must be a whole number from 1 to 1,000,000"),
        ({"id": 10**4_000}, "id", "must be a whole number from 1 to 1,000,000"),
        ({"id": 1.5}, "id", "must be a whole number from 1 to 1,000,000"),
        (
            {"id": 2.0},
            "id",
            "must be a whole number from 1 to 1,000,000, written without a point and an exponent",
        ),
        ({"name": "a"}, "name", "must be a text of 2 to 4 characters"),
        ({"name": "abc"}, "name", "must be even in EUR"),
        ({"gift": 1}, "gift", "must be true or false"),
        ({"gift": "true"}, "gift", "must be true or false"),
    ],
)
def test_the_path_leads_to_it(line: dict[str, Any], field: str, message: str) -> None:
    body = GOOD | {"items": [{"id": 1, "name": "ab"}, {"id": 2, "name": "cd"} | line]}
    assert wrong(body) == [(f"items.1.{field}", message)]


def test_all_that_is_wrong_is_named_at_once() -> None:
    body = """{
        "items": [{"id": 0, "id": 1, "nmae": "ab"}, {"id": 2, "name": "abc", "gift": null}],
        "way": "foot", "id": 7, "user": 1
    }"""
    names = "items, way, size, id, code, note, count, discount, tags, text, at"
    assert wrong(body) == [
        ("items.0.id", "must not be given twice"),
        ("items.0.nmae", "is not a field of this request; these are: id, name, gift"),
        ("items.0.name", "is required"),
        ("items.1.name", "must be even in EUR"),
        ("items.1.gift", "must be true or false"),
        ("way", "must be one of: post, van"),
        ("id", "must be a UUID such as 6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50"),
        ("user", f"is not a field of this request; these are: {names}"),
        ("size", "is required"),
    ]


@pytest.mark.parametrize("body", [None, [], [GOOD], "x", 1, True])
def test_what_is_no_object_is_said_so(body: Any) -> None:
    [(field, message)] = wrong(json.dumps(body))
    assert (field, message[:33]) == ("body", "must be an object with these fiel")


def test_only_so_much_is_said() -> None:
    hostile = {"x" * 1_000 + str(number): 1 for number in range(1_000)}
    named = wrong(GOOD | hostile)
    assert len(named) == ERRORS_MAX
    assert {len(field) for field, _ in named} == {NAME_LENGTH_MAX}


# What a client may send in the place of something that fits.
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "ab", "abcd", "AB", "post", "small", GOOD["id"], "ä\0"])
    | st.integers(-1, 3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "name", "gift", "items", "x"]), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*Body.__struct_encode_fields__, "x"]), ODD, max_size=4))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_something_is_wrong_wherever_msgspec_finds_something(changes: dict[str, Any]) -> None:
    body = GOOD | changes
    try:
        msgspec.json.decode(json.dumps(body), type=Body)
        fits = True
    except msgspec.ValidationError:
        fits = False
    said = [problem for problem in wrong(body) if problem[1] != "must be even in EUR"]
    assert (not said) is fits, said


# --- over HTTP ---


@pytest.fixture
def database_url() -> str:
    return "memory://"


def errors_of(response: Any) -> dict[str, str]:
    body = problem(response, 400, "invalid_fields")
    return {error["field"]: error["message"] for error in body["errors"]}


async def test_all_wrong_fields_of_a_body_are_named(api: Api) -> None:
    body = {"sku": "-", "name": "\x1b", "price": "1e3", "stock": "7", "colour": "red"}
    assert errors_of(await api.staff.post("/api/products/", json=body)) == {
        "sku": "must be 1 to 64 letters, digits, spaces or any of . - _ / + # & ( )",
        "name": "must not contain control characters",
        "price": 'must be a decimal string such as "12.00"',
        "stock": "must be a whole number from 0 to 1,000,000,000,000",
        "colour": "is not a field of this request; these are: "
        "sku, name, price, description, stock, max_per_order",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"reason": "is required", "delta": "give either delta, or quantity and expected"}),
        ({"delta": 0}, {"reason": "is required", "delta": "must not be 0"}),
        (
            {"reason": " ", "quantity": -1, "delta": 2},
            {
                "reason": "must have 1 to 200 characters",
                "quantity": "must be a whole number from 0 to 1,000,000,000,000",
                "delta": "give either delta, or quantity and expected",
            },
        ),
        (
            {"reason": "", "delta": False},
            {
                "reason": "must be a text of 1 to 200 characters",
                "delta": "must be a whole number from -1,000,000,000,000 to 1,000,000,000,000",
            },
        ),
        (
            {"reason": "x", "quantity": None, "expected": None, "delta": 0},
            {"delta": "must not be 0"},
        ),
    ],
)
async def test_of_a_change_of_stock_all_is_named_that_is_wrong_alone_and_together(
    api: Api, body: dict[str, Any], expected: dict[str, str]
) -> None:
    product = await api.given_product(stock=10)
    assert errors_of(await api.staff.post(f"/api/products/{product.id}/stock/", json=body)) == (
        expected
    )


async def test_an_order_that_is_wrong_in_every_line_says_so_of_every_line(api: Api) -> None:
    lines = [(number, 0) for number in range(1, LINES_MAX + 1)]
    errors = errors_of(await api.customer.post("/api/orders/", json=order_of(*lines)))
    assert errors == {
        f"items.{number}.quantity": "must be a whole number from 1 to 1,000,000"
        for number in range(LINES_MAX)
    }


async def test_a_price_has_the_digits_of_the_shop(api: Api) -> None:
    body = {"sku": "A", "name": "", "price": "1.234"}
    assert errors_of(await api.staff.post("/api/products/", json=body)) == {
        "name": "must be a text of 1 to 200 characters",
        "price": "EUR has 2 digits after the point",
    }


async def test_all_wrong_parameters_are_named(api: Api) -> None:
    """Wherever they are read: by dependencies, by the framework, or by the handler itself."""
    query = "page=x&page_size=101&status=lost&created_after=y&created_before=z&code=1&user=0"
    assert errors_of(await api.customer.get(f"/api/orders/?{query}")) == {
        "page": "must be a whole number from 1 to 2,147,483,647",
        "page_size": "must be a whole number from 1 to 100",
        "status": "must be one of: placed, paid, shipped, delivered, cancelled, returned",
        "created_after": "must be a time such as 2026-01-31T12:00:00Z",
        "created_before": "must be a time such as 2026-01-31T12:00:00Z",
        "code": "must be the 12 letters and digits that an order is called by",
        "user": "must be a whole number from 1 to 9,007,199,254,740,991",
    }
    query = "page=null&in_stock=maybe&price_min=a&price_max=1.234&ordering=size&search=%00"
    assert errors_of(await api.customer.get(f"/api/products/?{query}")) == {
        "page": "must not be null; leave it out",
        "in_stock": "must be true or false",
        "price_min": 'must be a decimal string such as "12.00"',
        "price_max": "EUR has 2 digits after the point",
        "ordering": "must be one of: name, -name, price, -price, created, -created, "
        "modified, -modified, relevance",
        "search": "must be 100 characters at most, and no control characters",
    }


@pytest.mark.parametrize("number", ["1.0", "1e0", "10E-1", "1.0e0", "1%2E0", "%31e0"])
async def test_whole_numbers_in_a_query_have_one_spelling(api: Api, number: str) -> None:
    must = "must be a whole number from 1 to {}, written without a point and an exponent"
    query = f"page={number}&user={number}&page_size={number}"
    assert errors_of(await api.staff.get(f"/api/orders/?{query}")) == {
        "page": must.format("2,147,483,647"),
        "page_size": must.format("100"),
        "user": must.format("9,007,199,254,740,991"),
    }
    for path in ("/api/products/", "/api/users/me/sessions/"):
        assert set(errors_of(await api.staff.get(f"{path}?page={number}"))) == {"page"}


async def test_what_looks_like_such_a_number_may_be_something_else(api: Api) -> None:
    await api.given_product(sku="1e5", name="1.0")
    query = "search=1.0&sku=1e5&price_min=1.50&page=1&else=1e1"
    response = await api.customer.get(f"/api/products/?{query}")
    assert (response.status_code, response.json()["count"]) == (200, 1)


async def test_what_the_handler_finds_first_is_not_the_only_one(api: Api) -> None:
    query = "created_after=y&created_before=z"
    assert set(errors_of(await api.customer.get(f"/api/orders/?{query}"))) == {
        "created_after",
        "created_before",
    }


async def test_the_path_the_headers_and_the_body_are_told_together(api: Api) -> None:
    headers = {"Idempotency-Key": "x" * 256, "If-Match": "x" * 1_001}
    response = await api.staff.patch("/api/products/0/", json={"name": ""}, headers=headers)
    assert errors_of(response) == {
        "product_id": "must be a whole number from 1 to 9,007,199,254,740,991",
        "Idempotency-Key": "must be 1 to 255 printable ASCII characters",
        "If-Match": "must be a text of at most 1,000 characters",
        "name": "must be a text of 1 to 200 characters",
    }
    response = await api.customer.post("/api/orders/x/", json={})
    assert errors_of(response) == {
        "order_id": "must be a UUID such as 6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50",
        "items": "is required",
    }
    response = await api.customer.post("/api/orders/x/")
    assert set(errors_of(response)) == {"order_id", "body"}


@pytest.mark.parametrize("spelling", ["true", "false", "1", "0", "True", "FALSE"])
async def test_a_truth_value_is_read_as_clients_write_it(api: Api, spelling: str) -> None:
    await api.given_product(stock=1)
    response = await api.customer.get("/api/products/", params={"in_stock": spelling})
    assert response.json()["count"] == (spelling.lower() in ("true", "1"))


def texts_with_a_pattern(kind: Any) -> Iterator[Any]:
    about = msgspec.inspect.type_info(kind)
    pending: list[Any] = [about]
    while pending:
        match pending.pop():
            case msgspec.inspect.StructType(fields=fields):
                pending.extend(field.type for field in fields)
            case msgspec.inspect.ListType(item_type=item):
                pending.append(item)
            case msgspec.inspect.UnionType(types=types):
                pending.extend(types)
            case msgspec.inspect.Metadata(type=inner):
                pending.append(inner)
            case msgspec.inspect.StrType(pattern=str()) as text:
                yield text


def test_no_body_has_a_text_whose_pattern_nobody_can_read() -> None:
    """A pattern in a body's type would be told as a length: it stands in the document instead."""
    assert StrictJSON._bodies
    for decoder, _ in StrictJSON._bodies.values():
        assert not list(texts_with_a_pattern(decoder.type))
