"""Products over HTTP: browsing them, and staff keeping them."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from shop.domain.stock import Reason
from tests.builders import NOON
from tests.entrypoints.api import ADDRESS, Api, problem, wrong_fields

NEW = {"sku": "TEA-1", "name": "Green tea", "price": "12.50", "description": "Leaves", "stock": 7}


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [product["name"] for product in response.json()["results"]]


async def test_a_product_is_shown_as_the_contract_says(api: Api) -> None:
    product = await api.given_product(
        sku="TEA-1", name="Green tea", description="Leaves", price=1250, stock=7
    )
    response = await api.customer.get(f"/api/products/{product.id}/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "id": product.id,
        "sku": "TEA-1",
        "name": "Green tea",
        "description": "Leaves",
        "price": "12.50",
        "currency": "EUR",
        "stock": 7,
        "max_per_order": None,
        "archived": False,
        "created": "2026-03-01T12:00:00Z",
        "modified": "2026-03-01T12:00:00Z",
    }
    listed = await api.customer.get("/api/products/")
    assert listed.json() == {
        "count": 1,
        "next": None,
        "previous": None,
        "results": [response.json()],
    }


async def test_an_empty_catalogue_is_an_empty_first_page(api: Api) -> None:
    response = await api.customer.get("/api/products/")
    assert response.json() == {"count": 0, "next": None, "previous": None, "results": []}


async def test_the_slash_at_the_end_changes_nothing(api: Api) -> None:
    product = await api.given_product()
    for path in ("/api/products", f"/api/products/{product.id}"):
        plain, slashed = await api.customer.get(path), await api.customer.get(f"{path}/")
        assert plain.status_code == slashed.status_code == 200
        assert plain.json() == slashed.json()


async def test_an_unknown_product_is_not_there(api: Api) -> None:
    for product_id in (1, 2**53 - 1):
        problem(await api.customer.get(f"/api/products/{product_id}/"), 404, "product_not_found")


@pytest.mark.parametrize(
    "product_id", ["0", "-1", "x", "1.5", str(2**53), "9" * 400, "%00", "\N{SUPERSCRIPT TWO}"]
)
async def test_what_is_no_product_id_is_named(api: Api, product_id: str) -> None:
    response = await api.customer.get(f"/api/products/{product_id}/")
    assert wrong_fields(response) == ["product_id"]


# --- lists ---


async def given_catalogue(api: Api) -> None:
    for name, sku, price, stock in [
        ("Teapot", "POT-1", 3000, 0),
        ("apple tea", "TEA-2", 450, 5),
        ("Äpfel 100%", "FRU-3", 450, 9),
        ("Mug", "MUG_4", 1200, 1),
    ]:
        await api.given_product(name=name, sku=sku, price=price, stock=stock)


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("", ["Teapot", "apple tea", "Äpfel 100%", "Mug"]),
        ("?ordering=created", ["Teapot", "apple tea", "Äpfel 100%", "Mug"]),
        ("?ordering=-created", ["Mug", "Äpfel 100%", "apple tea", "Teapot"]),
        ("?ordering=name", ["Äpfel 100%", "apple tea", "Mug", "Teapot"]),
        ("?ordering=-name", ["Teapot", "Mug", "apple tea", "Äpfel 100%"]),
        ("?ordering=price", ["apple tea", "Äpfel 100%", "Mug", "Teapot"]),
        ("?ordering=-price", ["Teapot", "Mug", "Äpfel 100%", "apple tea"]),
    ],
)
async def test_lists_are_in_the_order_asked_for(
    api: Api, ordering: str, expected: list[str]
) -> None:
    await given_catalogue(api)
    assert names(await api.customer.get(f"/api/products/{ordering}")) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"search": "tea"}, ["Teapot", "apple tea"]),
        ({"search": "TEA"}, ["Teapot", "apple tea"]),
        ({"search": " tea "}, ["Teapot", "apple tea"]),
        ({"search": "äPFEL"}, ["Äpfel 100%"]),
        ({"search": "mug_4"}, ["Mug"]),
        ({"search": "%"}, ["Äpfel 100%"]),
        ({"search": "_"}, ["Mug"]),
        ({"search": "\\"}, []),
        ({"search": "' OR 1=1 --"}, []),
        ({"search": ""}, ["Teapot", "apple tea", "Äpfel 100%", "Mug"]),
        ({"in_stock": "true"}, ["apple tea", "Äpfel 100%", "Mug"]),
        ({"in_stock": "false"}, ["Teapot"]),
        ({"price_min": "12"}, ["Teapot", "Mug"]),
        ({"price_max": "12.00"}, ["apple tea", "Äpfel 100%", "Mug"]),
        ({"price_min": "4.5", "price_max": "4.50"}, ["apple tea", "Äpfel 100%"]),
        ({"price_min": "5", "price_max": "4"}, []),
        ({"search": "tea", "in_stock": "true", "price_max": "5"}, ["apple tea"]),
        ({"search": "tea ap"}, ["apple tea"]),
        ({"search": "apfel fru"}, ["Äpfel 100%"]),
        ({"search": "tea", "ordering": "relevance"}, ["Teapot", "apple tea"]),
        ({"search": "tea-2", "ordering": "relevance"}, ["apple tea"]),
        ({"ordering": "relevance"}, ["Äpfel 100%", "apple tea", "Mug", "Teapot"]),
        ({"sku": "mug_4"}, ["Mug"]),
        ({"sku": ["TEA-2", "Mug_4", "x", "null", "\0"]}, ["apple tea", "Mug"]),
        ({"sku": ["TEA-2", "Mug_4"], "price_min": "10"}, ["Mug"]),
        ({"created_after": "2026-03-01T11:59:59Z", "price_min": "12"}, ["Teapot", "Mug"]),
        ({"created_after": "2026-03-01T12:00:00Z"}, []),
        ({"modified_after": "2026-03-01T12:00:00+00:00"}, []),
    ],
)
async def test_lists_show_what_is_asked_for(
    api: Api, params: dict[str, str], expected: list[str]
) -> None:
    await given_catalogue(api)
    response = await api.customer.get("/api/products/", params=params)
    assert names(response) == expected
    assert response.json()["count"] == len(expected)


async def test_at_most_a_hundred_skus_are_asked_for_at_once(api: Api) -> None:
    for number, status in {100: 200, 101: 400}.items():
        params = {"sku": [f"S-{n}" for n in range(number)]}
        response = await api.customer.get("/api/products/", params=params)
        assert response.status_code == status


async def test_what_was_found_is_walked_by_links_in_the_order_of_relevance(api: Api) -> None:
    await given_catalogue(api)
    await api.given_product(name="Tea towel", sku="X")
    await api.given_product(name="Iced", sku="TEA")
    link = "/api/products/?search=tea&ordering=relevance&page_size=1"
    walked = []
    while link:
        page = await api.customer.get(link)
        walked += names(page)
        link = page.json()["next"]
    assert walked == ["Iced", "Tea towel", "Teapot", "apple tea"]
    assert names(await api.customer.get(page.json()["previous"])) == ["Teapot"]


async def test_who_mirrors_the_catalogue_walks_what_was_modified(api: Api) -> None:
    await given_catalogue(api)
    since = api.container.clock()().isoformat()
    for product_id in (3, 1):
        api.clock.advance(timedelta(seconds=1))
        await api.staff.patch(f"/api/products/{product_id}/", json={"price": "1"})
    await api.staff.post("/api/products/2/stock/", json={"delta": 1, "reason": "restock"})
    params = {"ordering": "modified", "modified_after": since}
    response = await api.customer.get("/api/products/", params=params)
    assert names(response) == ["Äpfel 100%", "Teapot"]


# --- ETag ---


async def test_a_product_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    product = await api.given_product()
    path = f"/api/products/{product.id}/"
    tag = (await api.customer.get(path)).headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        response = await api.customer.get(path, headers={"If-None-Match": known})
        assert response.status_code == 304, known
        assert response.content == b""
        assert response.headers["etag"] == tag


async def test_a_product_whose_stock_has_changed_is_sent_again(api: Api) -> None:
    product = await api.given_product(stock=10)
    path = f"/api/products/{product.id}/"
    tag = (await api.customer.get(path)).headers["etag"]
    await api.staff.post(f"{path}stock/", json={"delta": -1, "reason": "broken"})
    response = await api.customer.get(path, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.json()["stock"] == 9
    assert response.headers["etag"] != tag


@pytest.mark.parametrize("known", ['"other"', "nonsense", '""', "W/"])
async def test_another_tag_is_answered_in_full(api: Api, known: str) -> None:
    product = await api.given_product()
    response = await api.customer.get(
        f"/api/products/{product.id}/", headers={"If-None-Match": known}
    )
    assert response.status_code == 200


# --- staff ---


async def test_staff_create_a_product_and_learn_where_it_is(api: Api) -> None:
    response = await api.staff.post("/api/products/", json=NEW)
    assert response.status_code == 201, response.text
    created = response.json()
    assert created | NEW == created
    assert response.headers["location"] == f"/api/products/{created['id']}/"
    found = await api.customer.get(ADDRESS + response.headers["location"])
    assert found.json() == created
    assert found.headers["etag"] == response.headers["etag"]


async def test_description_and_stock_may_be_left_out(api: Api) -> None:
    response = await api.staff.post(
        "/api/products/", json={"sku": "TEA-1", "name": "  Green tea ", "price": "3"}
    )
    assert response.status_code == 201, response.text
    created = response.json()
    assert (created["description"], created["stock"]) == ("", 0)
    assert (created["name"], created["price"]) == ("Green tea", "3.00")


async def test_a_sku_is_taken_once_and_it_is_said_by_what(api: Api) -> None:
    tea = await api.given_product(sku="tea-1")
    refused = problem(await api.staff.post("/api/products/", json=NEW), 409, "sku_taken")
    assert (refused["product_id"], "archived" in refused) == (tea.id, False)
    assert (await api.customer.get("/api/products/")).json()["count"] == 1
    await api.staff.delete(f"/api/products/{tea.id}/")
    refused = problem(await api.staff.post("/api/products/", json=NEW), 409, "sku_taken")
    assert (refused["product_id"], refused["archived"]) == (tea.id, True)
    assert "restore it" in refused["detail"]


@pytest.mark.parametrize(
    "sku", ["A/B 7+#&(x)", "Größe 42", "茶壺", "..", "%2e%2e", "-1", "a,b", ""]
)
async def test_a_sku_is_as_people_have_it(api: Api, sku: str) -> None:
    response = await api.staff.post("/api/products/", json=NEW | {"sku": sku})
    if sku in ("..", "%2e%2e", "a,b", ""):
        assert wrong_fields(response) == ["sku"]
    else:
        assert response.status_code == 201
        assert response.json()["sku"] == sku
        found = await api.customer.get("/api/products/", params={"search": sku})
        assert names(found) == ["Green tea"]


# --- archived products ---


async def test_staff_see_and_restore_what_is_archived_and_customers_do_not(api: Api) -> None:
    gone, _ = await api.given_product(name="Gone"), await api.given_product(name="Here")
    path = f"/api/products/{gone.id}/"
    assert (await api.staff.delete(path)).status_code == 204
    assert names(await api.customer.get("/api/products/")) == ["Here"]
    assert names(await api.staff.get("/api/products/?archived=false")) == ["Here"]
    assert names(await api.staff.get("/api/products/?archived=true")) == ["Gone"]
    problem(await api.customer.get("/api/products/?archived=true"), 403, "staff_only")
    problem(await api.customer.get(path), 404, "product_not_found")
    seen = await api.staff.get(path)
    assert seen.json()["archived"] is True
    problem(await api.customer.post(f"{path}restore/"), 403, "staff_only")

    stale = await api.staff.post(f"{path}restore/", headers={"If-Match": '"1-10"'})
    problem(stale, 412, "product_changed")
    headers = {"If-Match": seen.headers["etag"]}
    restored = await api.staff.post(f"{path}restore/", headers=headers)
    assert restored.status_code == 200, restored.text
    assert restored.json()["archived"] is False
    again = await api.staff.post(f"{path}restore", headers=headers)
    assert again.json() == restored.json() == (await api.customer.get(path)).json()
    assert names(await api.customer.get("/api/products/")) == ["Gone", "Here"]
    problem(await api.staff.post("/api/products/404/restore/"), 404, "product_not_found")


# --- how many an order may have ---


async def test_an_order_may_have_so_many_and_is_told_the_number(api: Api) -> None:
    created = await api.staff.post("/api/products/", json=NEW | {"max_per_order": 3})
    tea = created.json()
    assert (created.status_code, tea["max_per_order"]) == (201, 3)
    body = {"items": [{"product_id": tea["id"], "quantity": 4}]}
    refused = problem(await api.customer.post("/api/orders/", json=body), 409, "over_max_per_order")
    assert f"at most 3 of product {tea['id']}" in refused["detail"]
    assert refused["lines"] == [
        {"product_id": tea["id"], "requested": 4, "available": 3, "max_per_order": 3}
    ]
    body["items"][0]["quantity"] = 3
    placed = await api.customer.post("/api/orders/", json=body)
    assert placed.status_code == 201
    body["items"][0]["quantity"] = 4
    order = f"/api/orders/{placed.json()['id']}/"
    problem(await api.customer.patch(order, json=body), 409, "over_max_per_order")
    path = f"/api/products/{tea['id']}/"
    kept = await api.staff.patch(path, json={"name": "Tea"})
    assert kept.json()["max_per_order"] == 3
    lifted = await api.staff.patch(path, json={"max_per_order": None})
    assert lifted.json()["max_per_order"] is None
    assert (await api.customer.patch(order, json=body)).status_code == 200


@pytest.mark.parametrize("most", [0, -1, 10**12 + 1, "3", 1.5, True])
async def test_a_limit_that_is_none_is_refused(api: Api, most: object) -> None:
    response = await api.staff.post("/api/products/", json=NEW | {"max_per_order": most})
    assert wrong_fields(response) == ["max_per_order"]


STOCK = {"delta": 1, "reason": "restock"}


@pytest.mark.parametrize(
    ("path", "body"), [("/api/products/", NEW), ("/api/products/1/stock/", STOCK)]
)
async def test_only_staff_keep_the_catalogue(api: Api, path: str, body: dict[str, Any]) -> None:
    product = await api.given_product(stock=10)
    problem(await api.anonymous.post(path, json=body), 401, "unauthenticated")
    problem(await api.customer.post(path, json=body), 403, "staff_only")
    assert await api.stock_of(product) == 10
    assert (await api.staff.get("/api/products/")).json()["count"] == 1


async def test_who_may_not_do_it_learns_nothing_about_the_body(api: Api) -> None:
    problem(await api.customer.post("/api/products/", content=b"{"), 403, "staff_only")


async def test_stock_is_changed_by_a_difference(api: Api) -> None:
    product = await api.given_product(stock=10)
    path = f"/api/products/{product.id}/stock/"
    response = await api.staff.post(path, json={"delta": 5, "reason": "restock"})
    assert response.status_code == 200, response.text
    assert response.json()["stock"] == 15
    response = await api.staff.post(path.rstrip("/"), json={"delta": -15, "reason": "stolen"})
    assert response.json()["stock"] == 0
    assert await api.stock_of(product) == 0


async def test_stock_never_goes_below_zero_by_hand_either(api: Api) -> None:
    product = await api.given_product(stock=10)
    response = await api.staff.post(
        f"/api/products/{product.id}/stock/", json={"delta": -11, "reason": "stolen"}
    )
    assert problem(response, 409, "out_of_stock")["lines"] == [
        {"product_id": product.id, "requested": 11, "available": 10}
    ]
    assert await api.stock_of(product) == 10


async def test_stock_is_set_when_it_is_what_staff_believe_it_to_be(api: Api) -> None:
    product = await api.given_product(stock=35)
    path = f"/api/products/{product.id}/stock/"
    count = {"quantity": 40, "expected": 35, "reason": "counted"}
    response = await api.staff.post(path, json=count)
    assert response.status_code == 200, response.text
    assert response.json()["stock"] == 40
    refused = problem(await api.staff.post(path, json=count), 409, "stock_changed")
    assert (refused["expected"], refused["actual"]) == (35, 40)
    assert await api.stock_of(product) == 40


async def test_setting_stock_to_what_it_is_changes_nothing(api: Api) -> None:
    product = await api.given_product(stock=35)
    response = await api.staff.post(
        f"/api/products/{product.id}/stock/",
        json={"quantity": 35, "expected": 35, "reason": "counted"},
    )
    assert response.status_code == 200
    assert response.json()["stock"] == 35


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x"}, "delta"),
        ({"reason": "x", "delta": 0}, "delta"),
        ({"reason": "x", "delta": None}, "delta"),
        ({"reason": "x", "delta": 1, "quantity": 1}, "delta"),
        ({"reason": "x", "delta": 1, "expected": 10}, "delta"),
        ({"reason": "x", "quantity": 1}, "delta"),
        ({"reason": "x", "expected": 10}, "delta"),
        ({"delta": 1}, "reason"),
        ({"delta": 1, "reason": ""}, "reason"),
        ({"delta": 1, "reason": " "}, "reason"),
        ({"delta": 1, "reason": "a\nb"}, "reason"),
        ({"delta": 10**12, "reason": "x"}, "quantity"),
    ],
)
async def test_a_stock_change_that_makes_no_sense_is_refused(
    api: Api, body: dict[str, Any], field: str
) -> None:
    product = await api.given_product(stock=10)
    response = await api.staff.post(f"/api/products/{product.id}/stock/", json=body)
    assert wrong_fields(response) == [field]
    assert await api.stock_of(product) == 10


async def test_staff_who_change_an_archived_product_are_told_how_to_restore_it(api: Api) -> None:
    product = await api.given_product()
    path = f"/api/products/{product.id}/"
    await api.staff.delete(path)
    refused = problem(await api.staff.patch(path, json={"name": "N"}), 404, "product_not_found")
    assert (refused["product_id"], refused["archived"]) == (product.id, True)
    assert "is archived; restore it first" in refused["detail"]
    assert f"POST {path}restore/" in refused["detail"]
    hidden = problem(await api.customer.get(path), 404, "product_not_found")
    assert "archived" not in str(hidden)
    await api.staff.post(f"{path}restore/")
    assert (await api.staff.patch(path, json={"name": "N"})).status_code == 200


async def test_the_stock_of_an_unknown_product_cannot_be_changed(api: Api) -> None:
    problem(await api.staff.post("/api/products/1/stock/", json=STOCK), 404, "product_not_found")


async def test_every_change_is_in_the_ledger_with_who_did_it(api: Api) -> None:
    created = await api.staff.post("/api/products/", json=NEW)
    path = f"/api/products/{created.json()['id']}/stock/"
    await api.staff.post(path, json={"delta": 5, "reason": "restock"})
    await api.staff.post(path, json={"delta": -2, "reason": "two were broken"})
    ledger = [(m.quantity, m.balance, m.reason, m.note, m.at) for m in await api.store.movements()]
    assert ledger == [
        (7, 7, Reason.INITIAL, "", NOON),
        (5, 12, Reason.RESTOCK, "", NOON),
        (-2, 10, Reason.CORRECTION, "two were broken", NOON),
    ]
    assert len({m.actor_id for m in await api.store.movements()} - {None}) == 1
