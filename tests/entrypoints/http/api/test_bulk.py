"""Many rows at once over HTTP: one answer for each, and one key for all."""

import json
from typing import Any

import httpx
import pytest

from tests.entrypoints.api import Api, problem, wrong_fields

PRODUCTS, STOCK = "/api/products/bulk/", "/api/stock/changes/"
BODY_MAX = 1_048_576
JSON = {"content-type": "application/json"}


def by(sku: str, delta: int = 1, **fields: Any) -> dict[str, Any]:
    return {"sku": sku, "delta": delta, "reason": "restock", **fields}


def new(sku: str, **fields: Any) -> dict[str, Any]:
    return {"sku": sku, "name": "Tea", "price": "3.00", **fields}


def rows_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["rows"]
    return rows


async def send(api: Api, path: str, *rows: Any, policy: str = "each") -> httpx.Response:
    return await api.staff.post(path, json={"rows": list(rows), "policy": policy})


def wrong_in(row: dict[str, Any]) -> dict[str, str]:
    assert row["outcome"] == "refused"
    assert row["error"]["code"] == "invalid_fields"
    return {each["field"]: each["message"] for each in row["error"]["errors"]}


async def test_products_are_created_changed_and_left(api: Api) -> None:
    tea = await api.given_product(sku="TEA", name="Tea", price=300, stock=5)
    pot = await api.given_product(sku="POT", name="Pot", stock=1)
    response = await send(
        api,
        PRODUCTS,
        new("NEW", stock={"quantity": 4, "absolute": True, "reason": "restock"}),
        {
            "sku": "tea",
            "price": "3.50",
            "max_per_order": 2,
            "stock": {"delta": -2, "reason": "broken"},
        },
        {"sku": "POT", "name": "Pot", "max_per_order": None, "archived": False},
    )
    created, changed, unchanged = rows_of(response)
    assert created == {
        "sku": "NEW",
        "outcome": "created",
        "product_id": created["product_id"],
        "stock": 4,
    }
    assert changed == {"sku": "tea", "outcome": "changed", "product_id": tea.id, "stock": 3}
    assert unchanged == {"sku": "POT", "outcome": "unchanged", "product_id": pot.id, "stock": 1}
    shown = (await api.customer.get(f"/api/products/{tea.id}/")).json()
    assert (shown["price"], shown["max_per_order"], shown["stock"]) == ("3.50", 2, 3)
    shown = (await api.customer.get(f"/api/products/{created['product_id']}/")).json()
    assert (shown["sku"], shown["price"], shown["stock"]) == ("NEW", "3.00", 4)


async def test_stock_is_changed_in_three_ways(api: Api) -> None:
    for sku in ("A", "B", "C", "D"):
        await api.given_product(sku=sku, stock=10)
    response = await send(
        api,
        STOCK,
        by("A", -3),
        {"sku": "B", "quantity": 12, "expected": 10, "reason": "counted"},
        {"sku": "C", "quantity": 7, "absolute": True, "reason": "counted"},
        {"sku": "D", "quantity": 12, "expected": 11, "reason": "counted"},
        by("NONE"),
    )
    rows = rows_of(response)
    assert [row.get("stock") for row in rows] == [7, 12, 7, None, None]
    assert [row["outcome"] for row in rows] == ["changed"] * 3 + ["refused"] * 2
    assert rows[3]["error"] == {
        "code": "stock_changed",
        "detail": "The stock is 10, not the expected 11; nothing was changed.",
        "expected": 11,
        "actual": 10,
    }
    assert rows[4]["error"]["code"] == "product_not_found"


async def test_all_or_nothing_is_the_default_and_says_what_each_row_would_have_been(
    api: Api,
) -> None:
    tea = await api.given_product(sku="TEA", stock=5)
    rows = [by("TEA"), by("NONE")]
    refused = problem(await api.staff.post(STOCK, json={"rows": rows}), 409, "rows_refused")
    assert refused["detail"] == "Refused rows: 1 of 2; nothing was written."
    fine, missing = refused["rows"]
    assert fine == {"sku": "TEA", "outcome": "held_back", "product_id": tea.id}
    assert (missing["outcome"], missing["error"]["code"]) == ("refused", "product_not_found")
    assert await api.stock_of(tea) == 5


@pytest.mark.parametrize("policy", ["all", "each"])
async def test_a_refusal_of_all_is_judged_afresh_under_its_key_and_the_rest_is_kept(
    api: Api, policy: str
) -> None:
    body = {"rows": [by("TEA"), by("POT")], "policy": policy}
    await api.given_product(sku="TEA", stock=5)
    key = {"Idempotency-Key": "sync-1"}
    first = await api.staff.post(STOCK, json=body, headers=key)
    assert first.status_code == (409 if policy == "all" else 200)
    pot = await api.given_product(sku="POT", stock=5)
    again = await api.staff.post(STOCK, json=body, headers=key)
    assert again.status_code == 200
    assert ("idempotency-replayed" in again.headers) is (policy == "each")
    assert await api.stock_of(pot) == (6 if policy == "all" else 5)


OBJECT = "must be an object with these fields: reason, delta, quantity, expected, absolute, sku"

IN_A_ROW: dict[str, tuple[str, Any, dict[str, str]]] = {
    "both ways at once": (
        STOCK,
        by("TEA", quantity=1),
        {"delta": "give either delta, or quantity and expected, or quantity and absolute"},
    ),
    "all three ways": (
        STOCK,
        by("TEA", quantity=1, expected=1, absolute=True),
        {"delta": "give either delta, or quantity and expected, or quantity and absolute"},
    ),
    "nothing": (
        STOCK,
        {},
        {
            "sku": "is required",
            "reason": "is required",
            "delta": ("give either delta, or quantity and expected, or quantity and absolute"),
        },
    ),
    "no object": (STOCK, 7, {"row": OBJECT}),
    "a text": (
        STOCK,
        by("TEA") | {"delta": "1"},
        {"delta": "must be a whole number from -1,000,000,000,000 to 1,000,000,000,000"},
    ),
    "a fraction": (
        STOCK,
        by("TEA") | {"delta": 1.5},
        {"delta": "must be a whole number from -1,000,000,000,000 to 1,000,000,000,000"},
    ),
    "a huge number": (
        STOCK,
        by("TEA") | {"delta": 10**400},
        {"delta": "must be a whole number from -1,000,000,000,000 to 1,000,000,000,000"},
    ),
    "no such field": (
        STOCK,
        by("TEA", colour="red"),
        {
            "colour": (
                "is not a field of this request; these are: "
                "reason, delta, quantity, expected, absolute, sku"
            )
        },
    ),
    "words that are none": (
        STOCK,
        by("TEA", reason="a\nb"),
        {"reason": "must not contain control characters"},
    ),
    "no SKU": (
        STOCK,
        by("*"),
        {"sku": "must be 1 to 64 letters, digits, spaces or any of . - _ / + # & ( )"},
    ),
    "a limit of nothing": (
        PRODUCTS,
        {"sku": "TEA", "max_per_order": 0},
        {"max_per_order": "must be a whole number from 1 to 1,000,000,000,000"},
    ),
    "no price": (
        PRODUCTS,
        {"sku": "TEA", "price": "1e3"},
        {"price": 'must be a decimal string such as "12.00"'},
    ),
    "a field of what is in it": (
        PRODUCTS,
        {"sku": "TEA", "stock": {"delta": 0, "reason": "x"}},
        {"stock.delta": "must not be 0"},
    ),
    "words of what is in it": (
        PRODUCTS,
        {"sku": "TEA", "stock": {"delta": 1, "reason": " "}},
        {"stock.reason": "must have 1 to 200 characters"},
    ),
    "null": (
        PRODUCTS,
        {"sku": "TEA", "name": None},
        {"name": "must be a text of 1 to 200 characters"},
    ),
}


@pytest.mark.parametrize("name", IN_A_ROW)
async def test_what_is_wrong_in_a_row_is_the_trouble_of_that_row(api: Api, name: str) -> None:
    tea, pot = await api.given_product(sku="TEA"), await api.given_product(sku="POT")
    path, row, wrong = IN_A_ROW[name]
    fine = by("POT") if path == STOCK else {"sku": "POT", "price": "9.99"}
    bad, good = rows_of(await send(api, path, row, fine))
    assert wrong_in(bad) == wrong
    assert good["outcome"] == "changed"
    refused = problem(await send(api, path, row, fine, policy="all"), 409, "rows_refused")
    assert wrong_in(refused["rows"][0]) == wrong
    assert await api.stock_of(tea) == tea.stock
    assert await api.stock_of(pot) == pot.stock + (path == STOCK)


async def test_a_field_of_a_row_that_is_given_twice_is_named(api: Api) -> None:
    tea = await api.given_product(sku="TEA", stock=5)
    body = '{"policy": "each", "rows": [{"sku": "TEA", "delta": 1, "delta": 2, "reason": "x"}]}'
    [row] = rows_of(await api.staff.post(STOCK, content=body, headers=JSON))
    assert wrong_in(row) == {"delta": "must not be given twice"}
    assert await api.stock_of(tea) == 5


async def test_both_ways_of_reading_rows_come_to_the_same(api: Api) -> None:
    """An escaped character makes no difference, and sends all rows the slow way."""
    await api.given_product(sku="TEA", stock=5)
    rows = [by("TEA"), by("*"), by("NONE"), by("POT", reason=" "), by("A"), by("a")]
    plain = json.dumps({"rows": rows, "policy": "each"})
    answers = [
        rows_of(await api.staff.post(STOCK, content=body.encode(), headers=JSON))
        for body in (plain, plain.replace("NONE", "\\u004eONE"))
    ]
    for told in answers:
        for row in told:
            row.pop("stock", None)
    assert answers[0] == answers[1]


AROUND_ROWS: dict[str, tuple[str, list[str]]] = {
    "nothing": ("{}", ["rows"]),
    "no rows": ('{"rows": []}', ["rows"]),
    "no list": ('{"rows": {"sku": "TEA"}}', ["rows"]),
    "too many": (json.dumps({"rows": [{}] * 1_001}), ["rows"]),
    "no such policy": ('{"rows": [{}], "policy": "some"}', ["policy"]),
    "null": ('{"rows": [{}], "policy": null}', ["policy"]),
    "given twice": ('{"rows": [{}], "rows": [{}]}', ["rows"]),
    "another field": ('{"rows": [{}], "dry_run": true}', ["dry_run"]),
    "a list": ("[]", ["body"]),
}


@pytest.mark.parametrize("path", [PRODUCTS, STOCK])
@pytest.mark.parametrize("name", AROUND_ROWS)
async def test_what_is_wrong_around_the_rows_refuses_all(api: Api, path: str, name: str) -> None:
    body, wrong = AROUND_ROWS[name]
    assert wrong_fields(await api.staff.post(path, content=body, headers=JSON)) == wrong


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"rows": [{"sku": "TEA", "delta": NaN, "reason": "x"}]}',
        b'{"rows": [{"sku": "TEA", "delta": Infinity, "reason": "x"}]}',
        b'{"rows": [{"sku": "T\xff", "delta": 1, "reason": "x"}]}',
        b'{"rows": [{"sku": "\\ud800", "delta": 1, "reason": "x"}]}',
        b'{"rows": [{"sku": 1}, {"sku": NaN}]}',
        b'{"rows": [{"sku": 1}]} {}',
        b"[" * 100_000,
        b'{"rows": ' + b"[" * 100_000,
    ],
    ids=repr,
)
async def test_what_is_no_json_is_refused(api: Api, body: bytes) -> None:
    problem(await api.staff.post(STOCK, content=body, headers=JSON), 400, "malformed_body")


@pytest.mark.parametrize("path", [PRODUCTS, STOCK])
async def test_a_body_has_a_mebibyte_and_not_a_byte_more(api: Api, path: str) -> None:
    product = await api.given_product(sku="TEA")
    row = by("TEA") if path == STOCK else {"sku": "TEA", "name": "Green tea"}
    body = json.dumps({"rows": [row]}).encode()
    response = await api.staff.post(path, content=body.ljust(BODY_MAX), headers=JSON)
    assert [row["outcome"] for row in rows_of(response)] == ["changed"]
    response = await api.staff.post(path, content=body.ljust(BODY_MAX + 1), headers=JSON)
    problem(response, 413, "body_too_large")
    # Others have the limit that is set.
    single = f"/api/products/{product.id}/stock/"
    response = await api.staff.post(single, content=body.ljust(100_000), headers=JSON)
    problem(response, 413, "body_too_large")


async def test_the_longest_answer_is_bounded(api: Api) -> None:
    """A row may be wrong in more ways than it is worth telling."""
    row = ",".join(f'"{n:x}":1' for n in range(110))
    body = f'{{"rows": [{",".join([f"{{{row}}}"] * 1_000)}]}}'
    response = await api.staff.post(STOCK, content=body, headers=JSON)
    refused = problem(response, 409, "rows_refused")
    assert len(refused["rows"]) == 1_000
    assert {len(each["error"]["errors"]) for each in refused["rows"]} == {10}
    assert len(response.content) < 3 * BODY_MAX


@pytest.mark.parametrize("path", [PRODUCTS, STOCK])
async def test_only_staff_send_rows(api: Api, path: str) -> None:
    for body in (b'{"rows": []}', b"{"):
        response = await api.customer.post(path, content=body, headers=JSON)
        problem(response, 403, "staff_only")
        problem(await api.anonymous.post(path, content=body, headers=JSON), 401, "unauthenticated")


async def test_names_with_quotes_and_several_lines_come_as_they_are(api: Api) -> None:
    [row] = rows_of(await send(api, PRODUCTS, new("TEA", name='7" "pot"', description="a\nb\\")))
    shown = (await api.staff.get(f"/api/products/{row['product_id']}/")).json()
    assert (shown["name"], shown["description"]) == ('7" "pot"', "a\nb\\")


async def test_a_thousand_rows_come_back_in_their_order(api: Api) -> None:
    sent = [new(f"SKU-{n:04d}", stock={"delta": n + 1, "reason": "x"}) for n in range(1_000)]
    rows = rows_of(await send(api, PRODUCTS, *reversed(sent), policy="all"))
    assert [row["sku"] for row in rows] == [row["sku"] for row in reversed(sent)]
    assert [row["stock"] for row in rows] == list(range(1_000, 0, -1))
