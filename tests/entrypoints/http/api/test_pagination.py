"""Pages: `page` as Django REST has it, links that are followed blindly, and clear refusals."""

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shop.adapters.memory.products import MemoryProductRepository
from shop.adapters.sql.products import SqlProductRepository
from shop.domain.errors import SearchTooBroad
from shop.domain.pages import Count, Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery
from shop.domain.users import OPERATOR
from shop.entrypoints.http.api.pagination import CURSOR_LENGTH_MAX, OFFSET_MAX
from shop.entrypoints.samples import sample_products
from tests.entrypoints.api import (
    ADDRESS,
    Api,
    container_for,
    opened_api,
    placed,
    problem,
    settings_for,
    wrong_fields,
)


async def page(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    response = await client.get(url)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    assert body.keys() == {"count", "next", "previous", "results"}
    return body


async def walk(client: httpx.AsyncClient, url: str, direction: str) -> list[list[int]]:
    """The ids on each page from this one on, by following links and nothing else."""
    pages = []
    link: str | None = url
    while link is not None:
        body = await page(client, link)
        pages.append([item["id"] for item in body["results"]])
        link = body[direction]
    return pages


async def given_products(api: Api, quantity: int) -> list[int]:
    """Their ids in order of creation; prices and names repeat."""
    ids = []
    for number in range(quantity):
        product = await api.given_product(name=f"Cup {number % 3}", price=100 * (number % 4))
        ids.append(product.id)
    return ids


async def test_a_page_has_ten_results_unless_another_size_is_asked_for(api: Api) -> None:
    await given_products(api, 12)
    assert len((await page(api.customer, "/api/products/"))["results"]) == 10
    assert len((await page(api.customer, "/api/products/?page_size=3"))["results"]) == 3
    assert len((await page(api.customer, "/api/products/?page_size=100"))["results"]) == 12
    assert (await page(api.customer, "/api/products/?page_size=3"))["count"] == 12


async def test_pages_by_number_are_those_of_a_django_rest_client(api: Api) -> None:
    ids = await given_products(api, 25)
    second = await page(api.customer, "/api/products/?page=2")
    assert [item["id"] for item in second["results"]] == ids[10:20]
    assert second["next"]
    assert second["previous"]
    third = await page(api.customer, "/api/products/?page=3")
    assert [item["id"] for item in third["results"]] == ids[20:]
    assert third["next"] is None
    first = await page(api.customer, "/api/products/?page=1")
    assert first["previous"] is None


@pytest.mark.parametrize("ordering", ["created", "-created", "name", "-name", "price", "-price"])
async def test_following_next_shows_everything_once_and_in_order(api: Api, ordering: str) -> None:
    ids = await given_products(api, 11)
    url = f"/api/products/?ordering={ordering}&page_size=3"
    pages = await walk(api.customer, url, "next")
    assert [len(ids) for ids in pages] == [3, 3, 3, 2]
    whole = await page(api.customer, f"/api/products/?ordering={ordering}&page_size=100")
    assert [i for ids in pages for i in ids] == [item["id"] for item in whole["results"]]
    assert sorted(i for ids in pages for i in ids) == ids


@pytest.mark.parametrize("ordering", ["created", "-price", "name"])
async def test_following_previous_leads_back_the_same_way(api: Api, ordering: str) -> None:
    await given_products(api, 9)
    url = f"/api/products/?ordering={ordering}&page_size=3"
    forward = await walk(api.customer, url, "next")
    back = await walk(api.customer, f"{url}&page=3", "previous")
    assert back == forward[::-1]


async def test_orders_are_walked_the_newest_first(api: Api) -> None:
    product = await api.given_product()
    ids = []
    for _ in range(7):
        ids.append((await placed(api.customer, (product, 1)))["id"])
        api.clock.advance(timedelta(seconds=1))
    pages = await walk(api.customer, "/api/orders/?page_size=3", "next")
    assert pages == [ids[6:3:-1], ids[3:0:-1], ids[:1]]
    assert await walk(api.customer, "/api/orders/?page_size=3&page=3", "previous") == pages[::-1]


async def test_orders_of_one_moment_are_walked_without_loss(api: Api) -> None:
    product = await api.given_product()
    ids = {(await placed(api.customer, (product, 1)))["id"] for _ in range(7)}
    pages = await walk(api.customer, "/api/orders/?page_size=2", "next")
    assert len([i for page in pages for i in page]) == 7
    assert {i for page in pages for i in page} == ids


async def test_what_is_added_during_a_walk_neither_repeats_nor_hides_anything(api: Api) -> None:
    product = await api.given_product(stock=100)
    old = set()
    for _ in range(5):
        old.add((await placed(api.customer, (product, 1)))["id"])
        api.clock.advance(timedelta(seconds=1))
    first = await page(api.customer, "/api/orders/?page_size=2")
    await placed(api.customer, (product, 1))
    rest = await walk(api.customer, first["next"], "next")
    seen = [item["id"] for item in first["results"]] + [i for ids in rest for i in ids]
    assert len(seen) == 5
    assert set(seen) == old


async def test_links_are_absolute_and_keep_every_filter(api: Api) -> None:
    await given_products(api, 5)
    query = "search=cup+&ordering=-name&in_stock=true&price_max=9.00&page_size=2"
    link = (await page(api.customer, f"/api/products/?{query}"))["next"]
    assert link.startswith(f"{ADDRESS}/api/products/?")
    linked = parse_qs(urlsplit(link).query)
    assert linked.pop("cursor")
    assert linked == parse_qs(query)


async def test_parameters_that_the_shop_does_not_know_stay_in_the_links(api: Api) -> None:
    [first, second, _] = await given_products(api, 3)
    shown = await page(api.customer, "/api/products/?page_size=1&utm_source=mail&status=paid&_=1")
    assert [item["id"] for item in shown["results"]] == [first]
    assert "page_size=1&utm_source=mail&status=paid&_=1&cursor=" in shown["next"]
    following = await page(api.customer, shown["next"])
    assert [item["id"] for item in following["results"]] == [second]


async def test_of_a_parameter_that_is_given_twice_the_last_counts(api: Api) -> None:
    await given_products(api, 3)
    shown = await page(api.customer, "/api/products/?page_size=x&page_size=1&page_size=2")
    assert len(shown["results"]) == 2


async def test_links_of_a_numbered_page_forget_the_number(api: Api) -> None:
    await given_products(api, 5)
    body = await page(api.customer, "/api/products/?page=2&page_size=2")
    for link in (body["next"], body["previous"]):
        assert "page" not in parse_qs(urlsplit(link).query)


async def test_links_use_the_host_that_the_client_used(api: Api) -> None:
    await given_products(api, 3)
    url = "/api/products/?page_size=2"
    for host in ("shop.example", "shop.example:8443", "[::1]:8000", "127.0.0.1"):
        response = await api.customer.get(url, headers={"Host": host})
        assert response.json()["next"].startswith(f"http://{host}/api/products/?")


async def test_behind_a_proxy_links_use_the_public_address() -> None:
    settings = settings_for(public_url="https://shop.example/eu/")
    async with opened_api(container_for(settings)) as api:
        await given_products(api, 3)
        link = (await page(api.customer, "/api/products?page_size=2"))["next"]
        assert link.startswith("https://shop.example/eu/api/products/?")


async def test_a_page_past_the_end_is_not_there(api: Api) -> None:
    await given_products(api, 4)
    assert (await page(api.customer, "/api/products/?page=2&page_size=3"))["results"]
    for number in (3, 4, 500, 2**31 - 1):
        url = f"/api/products/?page={number}&page_size=3"
        problem(await api.customer.get(url), 404, "page_not_found")
    problem(await api.customer.get("/api/products/?page=2&page_size=4"), 404, "page_not_found")
    problem(await api.customer.get("/api/orders/?page=2"), 404, "page_not_found")


async def test_absurd_depth_is_refused_with_a_way_out() -> None:
    async with opened_api(container_for(settings_for())) as api:
        await api.container.add_products()(
            caller=OPERATOR,
            products=sample_products(
                seed=1, numbers=range(OFFSET_MAX + 20), currency="EUR", at=api.clock()
            ),
        )
        deepest = OFFSET_MAX // 10 + 1
        body = await page(api.customer, f"/api/products/?page={deepest}")
        assert len(body["results"]) == 10
        response = await api.customer.get(f"/api/products/?page={deepest + 1}")
        assert wrong_fields(response) == ["page"]
        assert "follow the `next` links" in response.json()["detail"]
        assert len((await page(api.customer, body["next"]))["results"]) == 10


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=x", "page"),
        ("page=1.5", "page"),
        ("page=", "page"),
        ("page=" + "9" * 30, "page"),
        ("page=2147483648", "page"),
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=-10", "page_size"),
        ("page_size=all", "page_size"),
    ],
)
async def test_a_page_that_cannot_be_is_refused_by_name(api: Api, query: str, field: str) -> None:
    for path in ("/api/products/", "/api/orders/"):
        assert wrong_fields(await api.customer.get(f"{path}?{query}")) == [field]


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NOON = "2026-03-01T12:00:00Z"
BAD_CURSORS = {
    "empty": "",
    "no base64": "!!!",
    "not ASCII": "ü",
    "a NUL": "%00",
    "base64 of nothing sensible": "bm9uc2Vuc2U",
    "cut short": cursor(False, 3, [NOON, 1])[:-5],
    "another list's": cursor(False, 3, ["Cup\x1fcup", 1]),
    "a number too many": cursor(False, 3, [NOON, 1, 1]),
    "a negative count": cursor(False, -1, [NOON, 1]),
    "a count beyond 64 bits": cursor(False, 2**63, [NOON, 1]),
    "an id beyond 64 bits": cursor(False, 3, [NOON, 2**64]),
    "an id beyond 63 bits": cursor(False, 3, [NOON, 2**63]),
    "a time without a zone": cursor(False, 3, ["2026-03-01T12:00:00", 1]),
    "no time": cursor(False, 3, ["yesterday", 1]),
    "an object": base64.urlsafe_b64encode(b"{}").decode(),
    "deep nesting": base64.urlsafe_b64encode(b"[" * 2000).decode(),
    "too long": "A" * (CURSOR_LENGTH_MAX + 1),
}


@pytest.mark.parametrize("bad", BAD_CURSORS.values(), ids=BAD_CURSORS)
async def test_a_cursor_that_no_link_has_is_refused_by_name(api: Api, bad: str) -> None:
    for path in ("/api/products/", "/api/orders/"):
        assert wrong_fields(await api.customer.get(f"{path}?cursor={bad}")) == ["cursor"]


@pytest.mark.parametrize(
    ("query", "others"),
    [
        # `created` and `modified` have keys of the same shape.
        ("ordering=name", ["ordering=price", "ordering=-name", "ordering=relevance&search=cup"]),
        ("ordering=created", ["ordering=modified", "ordering=-created", "in_stock=true"]),
        ("search=cup", ["search=cups", "search=cup&price_min=1.00", "search=cup&in_stock=true"]),
        ("price_min=1.00", ["price_min=1.01", "price_max=1.00", ""]),
        ("sku=a&sku=b", ["sku=a"]),
    ],
)
async def test_a_cursor_of_one_list_is_refused_by_another(
    api: Api, query: str, others: list[str]
) -> None:
    for letter in "abc":
        await api.given_product(name=f"Cup {letter}", sku=letter)
    link = (await page(api.customer, f"/api/products/?page_size=1&{query}"))["next"]
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    for other in others:
        response = await api.customer.get(f"/api/products/?page_size=1&{other}&cursor={cursor}")
        assert wrong_fields(response) == ["cursor"], other
    # What says the same in other words, and how much is on a page, is the same list.
    parts = "&".join(reversed(query.split("&")))
    for same in (f"{parts}&page_size=2", f"page_size=1&{parts}&archived=false&utm=1"):
        assert (await page(api.customer, f"/api/products?{same}&cursor={cursor}"))["results"], same


async def test_a_cursor_of_one_products_ledger_is_refused_by_another(api: Api) -> None:
    first, second = [await api.given_product(stock=1) for _ in range(2)]
    for product in (first, second):
        url = f"/api/products/{product.id}/stock/"
        assert (await api.staff.post(url, json={"delta": 1, "reason": "restock"})).is_success
    link = (await page(api.staff, f"/api/products/{second.id}/movements/?page_size=1"))["next"]
    foreign = link.replace(f"/{second.id}/", f"/{first.id}/")
    assert wrong_fields(await api.staff.get(foreign)) == ["cursor"]


@pytest.mark.parametrize(
    ("ordering", "key"),
    [
        ("name", ["\x00", 1]),
        ("name", ["\ud800", 1]),
        ("price", [2**63, 1]),
        ("price", [-(2**63) - 1, 1]),
        ("price", [1, 2**63]),
        ("created", ["0001-01-01T00:00:00+14:00", 1]),
        ("created", ["9999-12-31T23:59:59-14:00", 1]),
    ],
)
async def test_a_forged_cursor_that_no_database_takes_is_refused(
    api: Api, ordering: str, key: list[Any]
) -> None:
    url = f"/api/products/?ordering={ordering}&cursor={cursor(False, 1, key)}"
    assert wrong_fields(await api.customer.get(url)) == ["cursor"]


REPOSITORIES = (MemoryProductRepository, SqlProductRepository)


async def test_a_count_that_is_not_exact_says_so_on_every_page_of_a_walk(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await given_products(api, 5)

    async def read_about(
        self: ProductRepository, query: ProductQuery, window: Window
    ) -> tuple[Sequence[Product], Count]:
        return await self.read_window(query, window), Count(1_234, is_exact=False)

    for repository in REPOSITORIES:
        monkeypatch.setattr(repository, "read_counted", read_about)
    seen: list[int] = []
    link: str | None = "/api/products/?page_size=2"
    while link is not None:
        body = (await api.customer.get(link)).json()
        assert (body["count"], body["count_exact"]) == (1_234, False)
        seen += [item["id"] for item in body["results"]]
        link = body["next"]
    # It ends where the list ends, whatever its length was said to be.
    assert seen == ids
    problem(await api.customer.get("/api/products/?page=4&page_size=2"), 404, "page_not_found")


async def test_links_of_the_release_before_still_lead_on(api: Api) -> None:
    await given_products(api, 3)
    link = (await page(api.customer, "/api/products/?page_size=1"))["next"]
    [encoded] = parse_qs(urlsplit(link).query)["cursor"]
    old = json.loads(base64.urlsafe_b64decode(encoded + "=="))
    # What they had: backwards, the count, the key; and whether the count is exact, if it is not.
    for parts in (old[:3], [*old[:3], False]):
        url = f"/api/products/?page_size=1&cursor={cursor(*parts)}"
        assert (await api.customer.get(url)).json()["next"]


async def test_a_walk_goes_on_after_the_product_it_stands_at_was_archived(api: Api) -> None:
    ids = await given_products(api, 4)
    first = await page(api.customer, "/api/products/?page_size=2")
    assert (await api.staff.delete(f"/api/products/{ids[1]}/")).status_code == 204
    second = await page(api.customer, first["next"])
    assert [item["id"] for item in second["results"]] == ids[2:]
    assert await walk(api.customer, second["previous"], "previous") == [ids[:1]]


@pytest.mark.parametrize(
    "url",
    [
        "/api/products/?price_min=2.00&price_max=1.00",
        "/api/products/?price_min=2.00&price_max=1.00&ordering=price",
        "/api/products/?search=cup&in_stock=false&price_min=999.00&ordering=-name",
        "/api/orders/?created_after=2026-03-02T00:00:00Z&created_before=2026-03-01T00:00:00Z",
        "/api/orders/?code=ABCDEFGHJKMN&status=shipped",
    ],
)
async def test_filters_that_exclude_each_other_find_nothing(api: Api, url: str) -> None:
    await given_products(api, 2)
    nothing: dict[str, Any] = {"count": 0, "next": None, "previous": None, "results": []}
    assert await page(api.customer, url) == nothing


async def test_a_list_that_would_take_too_long_is_refused_with_a_way_out(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_counted(*_: object) -> None:
        raise SearchTooBroad(30_000)

    for repository in REPOSITORIES:
        monkeypatch.setattr(repository, "read_counted", read_counted)
    response = await api.customer.get("/api/products/?price_min=1.00")
    problem(response, 400, "search_too_broad")
    assert "Narrow it down" in response.json()["detail"]
