"""Changes over HTTP: in time, and once for their `Idempotency-Key`."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from dependency_injector import providers

from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.domain.products import Product
from tests.contracts.test_faults import LOSE_AFTER, LOSE_BEFORE, Faulty
from tests.entrypoints.api import Api, container_for, opened_api, order_of, settings_for


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that changes something, and another body for it."""

    method: str
    path: str
    body: Any = None
    other: Any = None
    by_staff: bool = True

    async def send(self, api: Api, key: str | None = "key-1", **changes: Any) -> httpx.Response:
        client = api.staff if self.by_staff else api.customer
        headers = {} if key is None else {"Idempotency-Key": key}
        body = changes.get("body", self.body)
        return await client.request(
            self.method, changes.get("path", self.path), json=body, headers=headers
        )


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Of a product, and of its orders, each where something can be done with it."""

    tea: Product
    product: str
    archived: str
    placed: str
    paid: str
    shipped: str


NOTE = {"note": "other"}
NEW = {"sku": "NEW", "name": "New", "price": "1.00"}

# By operation id.
CALLS: dict[str, Callable[[Paths], Call]] = {
    "cancelOrder": lambda at: Call(
        method="POST", path=f"{at.placed}cancel/", other=NOTE, by_staff=False
    ),
    "amendOrder": lambda at: Call(
        method="PATCH",
        path=at.placed,
        body=order_of((at.tea, 5)),
        other=order_of((at.tea, 6)),
        by_staff=False,
    ),
    "payOrder": lambda at: Call(method="POST", path=f"{at.placed}pay/", other=NOTE),
    "shipOrder": lambda at: Call(method="POST", path=f"{at.paid}ship/", other=NOTE),
    "deliverOrder": lambda at: Call(method="POST", path=f"{at.shipped}deliver/", other=NOTE),
    "returnOrder": lambda at: Call(
        method="POST", path=f"{at.shipped}return/", body=order_of((at.tea, 1)), other=NOTE
    ),
    "createProduct": lambda at: Call(
        method="POST", path="/api/products/", body=NEW, other=NEW | {"stock": 1}
    ),
    "changeProduct": lambda at: Call(
        method="PATCH", path=at.product, body={"name": "A"}, other={"name": "B"}
    ),
    "archiveProduct": lambda at: Call(method="DELETE", path=at.product),
    "restoreProduct": lambda at: Call(method="POST", path=f"{at.archived}restore/"),
    "changeStock": lambda at: Call(
        method="POST",
        path=f"{at.product}stock/",
        body={"delta": 5, "reason": "restock"},
        other={"delta": 6, "reason": "restock"},
    ),
    "saveProducts": lambda at: Call(
        method="POST",
        path="/api/products/bulk/",
        body={"rows": [NEW, {"sku": at.tea.sku, "price": "2.00"}]},
        other={"rows": [NEW]},
    ),
    "changeStocks": lambda at: Call(
        method="POST",
        path="/api/stock/changes/",
        body={"rows": [{"sku": at.tea.sku, "delta": 5, "reason": "restock"}]},
        other={"rows": [{"sku": at.tea.sku, "delta": 6, "reason": "restock"}]},
    ),
}

# These take no key: repeated, they do no harm or are refused. An order's id is its key.
WITHOUT_KEY = {
    *("signIn", "refreshToken", "revokeToken", "revokeAllTokens", "registerUser"),
    *("changePassword", "placeOrderWithId"),
}


async def calls(api: Api) -> dict[str, Call]:
    tea, gone = await api.given_product(stock=100), await api.given_product()
    await api.store.archive_product(gone.id)
    orders = [
        (await api.customer.post("/api/orders/", json=order_of((tea, 3)))).json()["id"]
        for _ in range(3)
    ]
    placed, paid, shipped = (f"/api/orders/{order}/" for order in orders)
    for path in (f"{paid}pay/", f"{shipped}pay/", f"{shipped}ship/"):
        assert (await api.staff.post(path)).status_code == 200
    product = f"/api/products/{tea.id}/"
    at = Paths(
        tea=tea,
        product=product,
        archived=f"/api/products/{gone.id}/",
        placed=placed,
        paid=paid,
        shipped=shipped,
    )
    return {name: call(at) for name, call in CALLS.items()}


async def test_every_route_that_changes_something_is_here(api: Api) -> None:
    document = (await api.anonymous.get("/openapi.json")).json()
    changing = {
        operation["operationId"]: {p["name"] for p in operation.get("parameters", ())}
        for operations in document["paths"].values()
        for method, operation in operations.items()
        if method not in ("get", "head")
    }
    takes_key = {name for name, parameters in changing.items() if "Idempotency-Key" in parameters}
    assert set(changing) - takes_key == WITHOUT_KEY, "routes that take no key"
    # Placing stores no answer: its key stands for the order's id, see test_orders.py.
    assert takes_key - {"placeOrder"} == set(CALLS), "routes without a call here"


@pytest.mark.parametrize("name", CALLS)
async def test_the_same_again_gets_the_same_answer(api: Api, name: str) -> None:
    call = (await calls(api))[name]
    first = await call.send(api)
    assert first.is_success, first.text
    assert "idempotency-replayed" not in first.headers
    for path in (call.path, call.path.rstrip("/")):
        again = await call.send(api, path=path)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        for header in ("etag", "location", "content-type"):
            assert again.headers.get(header) == first.headers.get(header)


@pytest.mark.parametrize("name", CALLS)
async def test_a_key_is_for_one_route_and_body(api: Api, name: str) -> None:
    all_calls = await calls(api)
    call = all_calls[name]
    assert (await call.send(api)).is_success
    others = [await all_calls[{"changeStock": "shipOrder"}.get(name, "changeStock")].send(api)]
    if not call.by_staff:
        # Another user's same key is another key.
        assert others[0].is_success
        others = []
    if call.other is not None:
        others.append(await call.send(api, body=call.other))
    for refused in others:
        assert refused.status_code == 422
        assert refused.json()["code"] == "idempotency_key_reused"


async def test_the_key_is_looked_at_before_if_match(api: Api) -> None:
    call = (await calls(api))["changeProduct"]
    headers = {"Idempotency-Key": "key-1", "If-Match": '"1"'}
    for replayed in (None, "true"):
        answer = await api.staff.patch(call.path, json=call.body, headers=headers)
        assert (answer.status_code, answer.headers.get("idempotency-replayed")) == (200, replayed)


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "\u00e9"])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    call = (await calls(api))["changeStock"]
    answer = await api.staff.post(
        call.path, json=call.body, headers={b"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


# --- when nobody knows what became of it ---


def losing(api: Api, *faults: str) -> None:
    """The next COMMITs meet these faults."""
    left = deque(faults)

    def unit_of_work(**options: Any) -> Faulty:
        return Faulty(MemoryUnitOfWork(database=api.container.memory(), **options), left)

    api.container.unit_of_work.override(providers.Callable(unit_of_work))


@pytest.mark.parametrize("fault", [LOSE_BEFORE, LOSE_AFTER])
@pytest.mark.parametrize("name", CALLS)
async def test_with_a_key_the_shop_finds_out_and_answers_as_the_first_time(
    fault: str, name: str
) -> None:
    async with opened_api(container_for(settings_for())) as api:
        call = (await calls(api))[name]
        losing(api, fault)
        first = await call.send(api)
        assert first.is_success, first.text
        assert "idempotency-replayed" not in first.headers
        again = await call.send(api)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotency-replayed"] == "true"


async def test_without_a_key_it_says_so_and_not_to_come_again() -> None:
    async with opened_api(container_for(settings_for())) as api:
        call = (await calls(api))["changeStock"]
        losing(api, LOSE_AFTER)
        answer = await call.send(api, key=None)
        assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
        assert "retry-after" not in answer.headers
        assert "Idempotency-Key" in answer.json()["detail"]


async def test_what_cannot_be_found_out_in_time_is_unknown() -> None:
    async with opened_api(container_for(settings_for(request_deadline=0.2))) as api:
        call = (await calls(api))["changeStock"]
        losing(api, *[LOSE_BEFORE] * 1_000)
        answer = await call.send(api)
        assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")


async def test_a_change_that_takes_too_long_before_its_commit_was_not_made() -> None:
    async with opened_api(container_for(settings_for(request_deadline=0.1))) as api:
        call = (await calls(api))["changeStock"]
        product = call.path.removesuffix("stock/")
        before = (await api.staff.get(product)).json()["stock"]
        async with api.container.memory().writing:
            answer = await call.send(api, key=None)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert "nothing was done" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        # Nor is it made later.
        assert (await call.send(api)).json()["stock"] == before + 5


async def test_one_that_is_under_way_is_waited_for(api: Api) -> None:
    call = (await calls(api))["changeStock"]
    answers = await asyncio.gather(*(call.send(api) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert sorted(map(str, replayed)) == ["None"] + ["true"] * 7
