"""What every address does with every request: methods, spelling, and words in queries."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar.types import Receive, Send

from shop.entrypoints.http.app import build_app
from tests.entrypoints.api import (
    Api,
    container_for,
    opened_api,
    problem,
    settings_for,
    wrong_fields,
)

ORDER = "/api/orders/00000000-0000-4000-8000-000000000000"

# Every address with the methods it takes.
METHODS = {
    "/api/token": {"POST"},
    "/api/token/refresh": {"POST"},
    "/api/token/revoke": {"POST"},
    "/api/products": {"GET", "POST"},
    "/api/products/1": {"GET", "PATCH", "DELETE"},
    "/api/products/1/restore": {"POST"},
    "/api/products/1/stock": {"POST"},
    "/api/products/1/movements": {"GET"},
    "/api/orders": {"GET", "POST"},
    ORDER: {"GET", "POST", "PATCH"},
    f"{ORDER}/cancel": {"POST"},
    f"{ORDER}/pay": {"POST"},
    f"{ORDER}/ship": {"POST"},
    f"{ORDER}/deliver": {"POST"},
    f"{ORDER}/return": {"POST"},
    f"{ORDER}/history": {"GET"},
    "/api/users": {"POST"},
    "/api/users/me": {"GET"},
    "/api/users/me/password": {"POST"},
    "/api/users/me/sessions": {"GET"},
    "/api/token/revoke-all": {"POST"},
    "/.well-known/jwks.json": {"GET"},
    "/metrics": {"GET"},
    "/api/health": {"GET"},
    "/health/live": {"GET"},
    "/health/ready": {"GET"},
    "/docs": {"GET"},
    "/openapi.json": {"GET"},
}


@pytest.fixture
def database_url() -> str:
    return "memory://"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("path", "methods"), METHODS.items())
async def test_another_method_is_refused_with_those_that_are_taken(
    api: Api, path: str, methods: set[str], slash: str
) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
        response = await api.staff.request(method, path + slash)
        problem(response, 405, "method_not_allowed")
        allowed = {name.strip() for name in response.headers["allow"].split(",")}
        assert allowed - {"OPTIONS"} == methods, path


@pytest.mark.parametrize(("path", "methods"), METHODS.items())
async def test_options_lists_the_methods_that_are_taken(
    api: Api, path: str, methods: set[str]
) -> None:
    response = await api.staff.request("OPTIONS", path)
    assert response.status_code == 204
    allowed = {name.strip() for name in response.headers["allow"].split(",")}
    assert allowed == methods | {"OPTIONS"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/nothing/",
        "/api/products/1/nothing/",
        "/admin",
        "/%00",
        "/..%2f..%2fetc",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_address_is_a_problem_too(api: Api, method: str, path: str) -> None:
    for client in (api.anonymous, api.customer):
        problem(await client.request(method, path), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "//api/products/",
        "/api//products/",
        "/api/products//",
        "/api/products/1%2F",
        "/metrics%2f",
        "//metrics",
        "/metrics//",
    ],
)
async def test_an_address_has_one_spelling(api: Api, path: str) -> None:
    for client in (api.anonymous, api.customer):
        problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/api/products/", "/api/orders/", "/docs/", "/api/health/"])
async def test_null_is_no_value_of_a_parameter(api: Api, path: str) -> None:
    response = await api.customer.get(path, params={"page_size": "null"})
    assert wrong_fields(response) == ["page_size"]


@pytest.fixture
async def raw() -> AsyncIterator[Api]:
    """An API whose clients send the bytes of the header `X-Query` as the query: httpx cannot."""
    container = container_for(settings_for())
    app = build_app(container)

    async def with_query(scope: Any, receive: Receive, send: Send) -> None:
        query = dict(scope["headers"]).get(b"x-query")
        await app(scope if query is None else scope | {"query_string": query}, receive, send)

    async with opened_api(container, with_query) as api:
        yield api


async def search(api: Api, query: bytes) -> httpx.Response:
    return await api.customer.get("/api/products/", headers={b"X-Query": query})


@pytest.mark.parametrize("word", ["café", "caf%C3%A9", "CAFÉ", "café+cr%C3%A8me", "crème"])
async def test_what_is_typed_in_a_query_is_utf_8_percent_encoded_or_not(
    raw: Api, word: str
) -> None:
    for name in ("Café crème", "Caf\u00c3\u00a9", "Tea"):
        await raw.given_product(name=name)
    found = (await search(raw, f"search={word}&page_size=1".encode())).json()
    assert [product["name"] for product in found["results"]] == ["Café crème"]
    assert found["count"] == 1


async def test_links_go_on_with_what_was_typed(raw: Api) -> None:
    for name in ("Café", "Café", "Café", "Tea"):
        await raw.given_product(name=name)
    first = (await search(raw, "search=café&page_size=2".encode())).json()
    second = (await raw.customer.get(first["next"])).json()
    assert (first["count"], len(second["results"]), second["next"]) == (3, 1, None)


@pytest.mark.parametrize("query", [b"search=caf\xe9", b"search=\xc3", b"\xff=1", b"a=%C3\xa9\xff"])
async def test_a_query_that_is_not_utf_8_is_refused(raw: Api, query: bytes) -> None:
    assert wrong_fields(await search(raw, query)) == ["query"]


async def test_null_is_a_word_where_a_route_says_so(api: Api) -> None:
    await api.given_product(name="The Null Cup")
    for word, count in (("null", 1), ("nullable", 0)):
        response = await api.customer.get("/api/products/", params={"search": word})
        assert response.json()["count"] == count
    refused = await api.customer.get("/api/orders/", params={"search": "null"})
    assert wrong_fields(refused) == ["search"]
