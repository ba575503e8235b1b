"""Orders over HTTP: placing them exactly once, reading one's own, cancelling."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from shop.domain.money import PRICE_MAX
from shop.domain.orders import LINES_MAX, QUANTITY_MAX, OrderStatus, keyed_order_id
from tests.builders import staff as staff_caller
from tests.entrypoints.api import (
    ADDRESS,
    Api,
    container_for,
    new_uuid,
    opened_api,
    order_of,
    placed,
    problem,
    settings_for,
    wrong_fields,
)


async def ids(client: httpx.AsyncClient, query: str = "") -> list[str]:
    response = await client.get(f"/api/orders/{query}")
    assert response.status_code == 200, response.text
    return [order["id"] for order in response.json()["results"]]


async def move(api: Api, order: dict[str, Any], *statuses: OrderStatus) -> None:
    """To where no endpoint leads yet."""
    stored = await api.container.read_order()(caller=staff_caller(), order_id=UUID(order["id"]))
    for status in statuses:
        stored = stored.advanced(status, at=api.clock())
    await api.store.save_status(stored)


# --- placing ---


async def test_an_order_is_answered_as_the_contract_says_and_its_stock_is_taken(api: Api) -> None:
    tea = await api.given_product(name="Green tea", price=1200, stock=10)
    mug = await api.given_product(name="Mug", price=850, stock=3)
    response = await api.customer.post("/api/orders/", json=order_of((tea, 2), (mug, 1)))
    assert response.status_code == 201, response.text
    order = response.json()
    assert UUID(order["id"]).version == 7
    assert len(order["code"]) == 12
    assert order == {
        "id": order["id"],
        "code": order["code"],
        "user": api.customer_id,
        "status": "placed",
        "items": [
            {
                "product": {"id": tea.id, "name": "Green tea", "price": "12.00"},
                "quantity": 2,
                "total": "24.00",
            },
            {
                "product": {"id": mug.id, "name": "Mug", "price": "8.50"},
                "quantity": 1,
                "total": "8.50",
            },
        ],
        "total": "32.50",
        "currency": "EUR",
        "created": "2026-03-01T12:00:00Z",
        "modified": "2026-03-01T12:00:00Z",
    }
    assert response.headers["location"] == f"/api/orders/{order['id']}/"
    found = await api.customer.get(ADDRESS + response.headers["location"])
    assert found.json() == order
    assert found.headers["etag"] == response.headers["etag"]
    assert await api.stock_of(tea) == 8
    assert await api.stock_of(mug) == 2


async def test_the_slash_at_the_end_changes_nothing(api: Api) -> None:
    product = await api.given_product()
    response = await api.customer.post("/api/orders", json=order_of((product, 1)))
    assert response.status_code == 201
    path = f"/api/orders/{response.json()['id']}"
    for plain in (path, "/api/orders"):
        one, other = await api.customer.get(plain), await api.customer.get(f"{plain}/")
        assert one.status_code == other.status_code == 200
        assert one.json() == other.json()
    cancelled = await api.customer.post(f"{path}/cancel")
    assert cancelled.status_code == 200
    assert (await api.customer.post(f"{path}/cancel/")).json() == cancelled.json()
    made = await api.customer.post(f"/api/orders/{new_uuid(1)}", json=order_of((product, 1)))
    assert made.status_code == 201


async def test_lines_for_the_same_product_are_added_up(api: Api) -> None:
    tea, mug = await api.given_product(stock=5), await api.given_product(stock=5)
    order = await placed(api.customer, (tea, 1), (mug, 2), (tea, 3))
    assert [(i["product"]["id"], i["quantity"]) for i in order["items"]] == [
        (tea.id, 4),
        (mug.id, 2),
    ]
    assert await api.stock_of(tea) == 1


async def test_lines_that_together_are_too_many_are_refused_together(api: Api) -> None:
    tea = await api.given_product(stock=5)
    response = await api.customer.post("/api/orders/", json=order_of((tea, 3), (tea, 3)))
    assert problem(response, 409, "out_of_stock")["lines"] == [
        {"product_id": tea.id, "requested": 6, "available": 5}
    ]


async def test_the_last_piece_is_sold_and_not_one_more(api: Api) -> None:
    tea = await api.given_product(stock=3)
    await placed(api.customer, (tea, 3))
    assert await api.stock_of(tea) == 0
    response = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
    problem(response, 409, "out_of_stock")


async def test_out_of_stock_names_every_failing_line_and_takes_nothing(api: Api) -> None:
    plenty = await api.given_product(stock=10)
    few = await api.given_product(stock=1)
    none = await api.given_product(stock=0)
    response = await api.customer.post(
        "/api/orders/", json=order_of((plenty, 10), (few, 2), (none, 5))
    )
    assert problem(response, 409, "out_of_stock")["lines"] == [
        {"product_id": few.id, "requested": 2, "available": 1},
        {"product_id": none.id, "requested": 5, "available": 0},
    ]
    assert [await api.stock_of(p) for p in (plenty, few, none)] == [10, 1, 0]
    assert await ids(api.customer) == []


async def test_an_unknown_product_is_named_by_its_line(api: Api) -> None:
    tea = await api.given_product()
    response = await api.customer.post(
        "/api/orders/", json=order_of((999, 1), (tea, 1), (2**53 - 1, 1), (999, 2))
    )
    assert wrong_fields(response) == [
        "items.0.product_id",
        "items.2.product_id",
        "items.3.product_id",
    ]
    assert await api.stock_of(tea) == 10


async def test_an_archived_product_is_as_good_as_unknown(api: Api) -> None:
    tea = await api.given_product()
    await api.store.archive_product(tea.id)
    response = await api.customer.post("/api/orders/", json=order_of((tea, 1)))
    assert wrong_fields(response) == ["items.0.product_id"]


async def test_the_largest_order_is_placed(api: Api) -> None:
    products = [
        await api.given_product(price=PRICE_MAX, stock=QUANTITY_MAX) for _ in range(LINES_MAX)
    ]
    order = await placed(api.customer, *((product, QUANTITY_MAX) for product in products))
    assert len(order["items"]) == LINES_MAX
    assert order["total"] == f"{PRICE_MAX // 100 * QUANTITY_MAX * LINES_MAX}.00"
    assert await api.stock_of(products[0]) == 0
    found = await api.customer.get(f"/api/orders/{order['id']}/")
    assert found.json() == order


async def test_an_order_for_nothing_costs_nothing(api: Api) -> None:
    free = await api.given_product(price=0)
    assert (await placed(api.customer, (free, 2)))["total"] == "0.00"


async def test_currencies_have_their_own_digits() -> None:
    settings = settings_for(currency="JPY")
    async with opened_api(container_for(settings)) as api:
        tea = await api.given_product(price=1200)
        order = await placed(api.customer, (tea, 2))
        assert (order["total"], order["currency"]) == ("2400", "JPY")
        response = await api.staff.post(
            "/api/products/", json={"sku": "X", "name": "X", "price": "1.5"}
        )
        assert wrong_fields(response) == ["price"]


async def test_prices_and_names_are_those_of_the_moment_it_was_placed(api: Api) -> None:
    tea = await api.given_product(name="Green tea", price=1200)
    order = await placed(api.customer, (tea, 2))
    await api.reprice(tea, name="Old tea", price=9900)
    assert (await api.customer.get(f"/api/products/{tea.id}/")).json()["price"] == "99.00"
    assert (await api.customer.get(f"/api/orders/{order['id']}/")).json() == order
    assert (await placed(api.customer, (tea, 2)))["total"] == "198.00"


async def test_many_buyers_at_once_never_buy_more_than_there_is(api: Api) -> None:
    tea = await api.given_product(stock=10)
    responses = await asyncio.gather(
        *(api.customer.post("/api/orders/", json=order_of((tea, 3))) for _ in range(20))
    )
    assert sorted(r.status_code for r in responses) == [201] * 3 + [409] * 17
    assert await api.stock_of(tea) == 1


# --- exactly once ---

KEY = {"Idempotency-Key": "first order"}


async def test_a_repeat_under_an_idempotency_key_is_answered_with_the_first_order(api: Api) -> None:
    tea, mug = await api.given_product(stock=10), await api.given_product(stock=10)
    body = order_of((tea, 2), (mug, 1))
    first = await api.customer.post("/api/orders/", json=body, headers=KEY)
    assert first.status_code == 201
    api.clock.advance(timedelta(hours=1))
    for repeated in (body, order_of((mug, 1), (tea, 1), (tea, 1))):
        again = await api.customer.post("/api/orders/", json=repeated, headers=KEY)
        assert again.status_code == 200
        assert again.json() == first.json()
        assert again.headers["location"] == first.headers["location"]
    assert await api.stock_of(tea) == 8
    assert await ids(api.customer) == [first.json()["id"]]


async def test_another_body_under_an_idempotency_key_is_refused(api: Api) -> None:
    tea = await api.given_product(stock=10)
    await api.customer.post("/api/orders/", json=order_of((tea, 2)), headers=KEY)
    other = await api.customer.post("/api/orders/", json=order_of((tea, 3)), headers=KEY)
    problem(other, 422, "idempotency_key_reused")
    assert await api.stock_of(tea) == 8


async def test_users_do_not_share_idempotency_keys(api: Api) -> None:
    tea = await api.given_product(stock=10)
    body = order_of((tea, 2))
    one = await api.customer.post("/api/orders/", json=body, headers=KEY)
    two = await api.other.post("/api/orders/", json=body, headers=KEY)
    assert one.status_code == two.status_code == 201
    assert one.json()["id"] != two.json()["id"]


async def test_without_a_key_every_request_is_an_order(api: Api) -> None:
    tea = await api.given_product(stock=10)
    assert (await placed(api.customer, (tea, 1)))["id"] != (await placed(api.customer, (tea, 1)))[
        "id"
    ]
    assert await api.stock_of(tea) == 8


async def test_a_refused_order_is_judged_afresh_under_the_same_key(api: Api) -> None:
    tea = await api.given_product(stock=1)
    body = order_of((tea, 2))
    refused = await api.customer.post("/api/orders/", json=body, headers=KEY)
    problem(refused, 409, "out_of_stock")
    await api.staff.post(f"/api/products/{tea.id}/stock/", json={"delta": 1, "reason": "restock"})
    assert (await api.customer.post("/api/orders/", json=body, headers=KEY)).status_code == 201


async def test_repeats_at_the_same_time_are_one_order(api: Api) -> None:
    tea = await api.given_product(stock=10)
    body = order_of((tea, 1))
    responses = await asyncio.gather(
        *(api.customer.post("/api/orders/", json=body, headers=KEY) for _ in range(10))
    )
    assert sorted(r.status_code for r in responses) == [200] * 9 + [201]
    assert len({r.json()["id"] for r in responses}) == 1
    assert await api.stock_of(tea) == 9


async def test_an_order_under_an_id_of_the_clients_own_is_placed_once(api: Api) -> None:
    tea = await api.given_product(stock=10)
    path = f"/api/orders/{new_uuid(1)}/"
    first = await api.customer.post(path, json=order_of((tea, 2)))
    assert first.status_code == 201, first.text
    assert first.json()["id"] == str(new_uuid(1))
    assert first.headers["location"] == path
    again = await api.customer.post(path, json=order_of((tea, 1), (tea, 1)))
    assert again.status_code == 200
    assert again.json() == first.json()
    assert await api.stock_of(tea) == 8


async def test_an_id_that_is_taken_by_anything_else_is_refused(api: Api) -> None:
    tea = await api.given_product(stock=10)
    path = f"/api/orders/{new_uuid(1)}/"
    await api.customer.post(path, json=order_of((tea, 2)))
    problem(await api.customer.post(path, json=order_of((tea, 3))), 409, "order_id_taken")
    problem(await api.other.post(path, json=order_of((tea, 2))), 409, "order_id_taken")
    problem(await api.staff.post(path, json=order_of((tea, 2))), 409, "order_id_taken")
    assert await api.stock_of(tea) == 8


async def test_nobody_can_occupy_the_id_behind_a_key(api: Api) -> None:
    tea = await api.given_product(stock=10)
    behind = keyed_order_id(api.customer_id, KEY["Idempotency-Key"])
    response = await api.other.post(f"/api/orders/{behind}/", json=order_of((tea, 2)))
    problem(response, 409, "order_id_taken")
    response = await api.customer.post("/api/orders/", json=order_of((tea, 2)), headers=KEY)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "order_id",
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "C232AB00-9414-4EC1-B3C8-9F6BDECED846",
    ],
)
async def test_any_other_uuid_will_do(api: Api, order_id: str) -> None:
    tea = await api.given_product(stock=10)
    response = await api.customer.post(f"/api/orders/{order_id}/", json=order_of((tea, 2)))
    assert response.status_code == 201
    found = await api.customer.get(f"/api/orders/{order_id}/")
    assert found.json()["id"] == order_id.lower()


# --- reading ---


async def test_an_order_of_somebody_else_looks_exactly_like_none(api: Api) -> None:
    tea = await api.given_product()
    order_id = (await placed(api.customer, (tea, 1)))["id"]
    unknown = str(uuid4())
    for method, suffix in [("GET", ""), ("POST", "cancel/")]:
        theirs = await api.other.request(method, f"/api/orders/{order_id}/{suffix}")
        none = await api.other.request(method, f"/api/orders/{unknown}/{suffix}")
        problem(theirs, 404, "order_not_found")
        problem(none, 404, "order_not_found")
        assert theirs.text.replace(order_id, unknown) == none.text
    assert await api.stock_of(tea) == 9


async def test_customers_see_their_own_orders_and_staff_see_all(api: Api) -> None:
    tea = await api.given_product()
    mine = (await placed(api.customer, (tea, 1)))["id"]
    api.clock.advance(timedelta(seconds=1))
    theirs = (await placed(api.other, (tea, 1)))["id"]
    assert await ids(api.customer) == [mine]
    assert await ids(api.other) == [theirs]
    assert await ids(api.staff) == [theirs, mine]
    assert await ids(api.staff, f"?user={api.customer_id}") == [mine]
    assert await ids(api.staff, "?user=999") == []
    assert (await api.staff.get(f"/api/orders/{mine}/")).json()["user"] == api.customer_id


async def test_a_customer_who_names_another_user_still_sees_their_own(api: Api) -> None:
    tea = await api.given_product()
    await placed(api.customer, (tea, 1))
    assert await ids(api.other, f"?user={api.customer_id}") == []


async def test_a_listed_order_is_the_whole_order(api: Api) -> None:
    tea = await api.given_product()
    order = await placed(api.customer, (tea, 2))
    assert (await api.customer.get("/api/orders/")).json() == {
        "count": 1,
        "next": None,
        "previous": None,
        "results": [order],
    }


@pytest.fixture
async def three_orders(api: Api) -> list[dict[str, Any]]:
    """At 12:00, 13:00 (cancelled) and 14:00."""
    tea = await api.given_product()
    orders = []
    for _ in range(3):
        orders.append(await placed(api.customer, (tea, 1)))
        api.clock.advance(timedelta(hours=1))
    await api.customer.post(f"/api/orders/{orders[1]['id']}/cancel/")
    return orders


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=placed", [2, 0]),
        ("status=cancelled", [1]),
        ("status=shipped", []),
        ("created_after=2026-03-01T12:00:00Z", [2, 1]),
        ("created_after=2026-03-01T11:59:59.999999Z", [2, 1, 0]),
        ("created_before=2026-03-01T13:00:00Z", [0]),
        ("created_after=2026-03-01T13:00:00%2B01:00", [2, 1]),
        ("created_after=2026-03-01T13:00:00+01:00", [2, 1]),
        ("created_after=2026-03-01T12:30:00Z&created_before=2026-03-01T13:30:00Z", [1]),
        ("created_after=2026-03-01T12:30:00Z&status=placed", [2]),
        ("created_before=0001-01-01T00:00:00Z", []),
        ("created_after=9999-12-31T23:59:59Z", []),
    ],
)
async def test_lists_show_what_is_asked_for(
    api: Api, three_orders: list[dict[str, Any]], query: str, expected: list[int]
) -> None:
    response = await api.customer.get(f"/api/orders/?{query}")
    assert response.status_code == 200, response.text
    found = [order["id"] for order in response.json()["results"]]
    assert found == [three_orders[i]["id"] for i in expected]
    assert response.json()["count"] == len(expected)


async def test_an_order_is_found_by_its_code(api: Api, three_orders: list[dict[str, Any]]) -> None:
    wanted = three_orders[1]
    for code in (wanted["code"], wanted["code"].lower()):
        assert await ids(api.staff, f"?code={code}") == [wanted["id"]]
    assert await ids(api.other, f"?code={wanted['code']}") == []


# --- cancelling ---


async def test_cancelling_gives_the_stock_back_once(api: Api) -> None:
    tea = await api.given_product(stock=10)
    order = await placed(api.customer, (tea, 4))
    api.clock.advance(timedelta(minutes=1))
    path = f"/api/orders/{order['id']}/cancel/"
    response = await api.customer.post(path)
    assert response.status_code == 200
    assert response.json() == order | {"status": "cancelled", "modified": "2026-03-01T12:01:00Z"}
    again = await api.customer.post(path)
    assert again.status_code == 200
    assert again.json() == response.json()
    assert again.headers["etag"] == response.headers["etag"]
    assert await api.stock_of(tea) == 10


async def test_cancelling_at_the_same_time_gives_the_stock_back_once(api: Api) -> None:
    tea = await api.given_product(stock=10)
    path = f"/api/orders/{(await placed(api.customer, (tea, 4)))['id']}/cancel/"
    responses = await asyncio.gather(*(api.customer.post(path) for _ in range(8)))
    assert {r.status_code for r in responses} == {200}
    assert await api.stock_of(tea) == 10


async def test_a_repeat_of_a_cancelled_order_is_answered_with_it_and_takes_nothing(
    api: Api,
) -> None:
    tea = await api.given_product(stock=10)
    path = f"/api/orders/{new_uuid(1)}/"
    await api.customer.post(path, json=order_of((tea, 4)))
    await api.customer.post(f"{path}cancel/")
    again = await api.customer.post(path, json=order_of((tea, 4)))
    assert again.status_code == 200
    assert again.json()["status"] == "cancelled"
    assert await api.stock_of(tea) == 10


async def test_staff_cancel_until_it_is_shipped_the_owner_only_while_it_is_placed(
    api: Api,
) -> None:
    tea = await api.given_product(stock=10)
    order = await placed(api.customer, (tea, 4))
    path = f"/api/orders/{order['id']}/cancel/"
    await move(api, order, OrderStatus.PAID)
    refused = problem(await api.customer.post(path), 409, "move_not_allowed")
    assert (refused["order_status"], refused["allowed"]) == ("paid", [])
    assert await api.stock_of(tea) == 6
    assert (await api.staff.post(path)).json()["status"] == "cancelled"
    assert await api.stock_of(tea) == 10


async def test_a_shipped_order_is_not_cancelled_by_anybody(api: Api) -> None:
    tea = await api.given_product(stock=10)
    order = await placed(api.customer, (tea, 4))
    await move(api, order, OrderStatus.PAID, OrderStatus.SHIPPED)
    for client in (api.customer, api.staff):
        problem(await client.post(f"/api/orders/{order['id']}/cancel/"), 409, "move_not_allowed")
    assert await api.stock_of(tea) == 6
