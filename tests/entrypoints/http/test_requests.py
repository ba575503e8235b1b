"""What every address does with every request: methods, spelling, and words in queries."""

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from litestar.types import ASGIApp, Receive, Send

from shop.entrypoints.container import Container
from shop.entrypoints.http.app import build_app
from tests.entrypoints.api import (
    ADDRESS,
    Api,
    container_for,
    opened_api,
    order_of,
    placed,
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
    "/": {"GET"},
    "/docs": {"GET"},
    "/openapi.json": {"GET"},
}


def with_slash(path: str, slash: str) -> str:
    return path if path == "/" else path + slash


def taken(methods: set[str]) -> set[str]:
    """HEAD is, wherever GET is."""
    return methods | {"HEAD"} if "GET" in methods else methods


@pytest.fixture
def database_url() -> str:
    return "memory://"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("path", "methods"), METHODS.items())
async def test_another_method_is_refused_with_those_that_are_taken(
    api: Api, path: str, methods: set[str], slash: str
) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - methods:
        response = await api.staff.request(method, with_slash(path, slash))
        problem(response, 405, "method_not_allowed")
        allowed = {name.strip() for name in response.headers["allow"].split(",")}
        assert allowed - {"OPTIONS"} == taken(methods), path


@pytest.mark.parametrize(("path", "methods"), METHODS.items())
async def test_options_lists_the_methods_that_are_taken(
    api: Api, path: str, methods: set[str]
) -> None:
    response = await api.staff.request("OPTIONS", path)
    assert response.status_code == 204
    allowed = {name.strip() for name in response.headers["allow"].split(",")}
    assert allowed == taken(methods) | {"OPTIONS"}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", [path for path, methods in METHODS.items() if "GET" in methods])
async def test_head_is_answered_as_get_is_without_the_body(api: Api, path: str, slash: str) -> None:
    await api.given_product()
    await api.staff.post(f"{ORDER}/", json=order_of((1, 1)))
    asked = {"X-Request-ID": "same"}
    told = await api.staff.head(with_slash(path, slash), headers=asked)
    shown = await api.staff.get(with_slash(path, slash), headers=asked)
    assert told.status_code == shown.status_code
    assert told.content == b""
    # Of these each says how it is just then.
    if path not in ("/metrics", "/health/ready"):
        assert int(told.headers["content-length"]) == len(shown.content) > 0
        assert told.headers == shown.headers


async def test_head_is_refused_as_get_is(api: Api) -> None:
    for client, path, status in (
        (api.anonymous, "/api/orders/", 401),
        (api.customer, "/api/products/404/", 404),
        (api.customer, "/nowhere", 404),
        (api.customer, "/api/products/?page=x", 400),
        (api.customer, "/api/token/", 405),
    ):
        response = await client.head(path)
        assert (response.status_code, response.content) == (status, b""), path


async def test_head_and_an_etag_make_304(api: Api) -> None:
    await api.given_product()
    tag = (await api.customer.head("/api/products/1/")).headers["etag"]
    response = await api.customer.head("/api/products/1/", headers={"If-None-Match": tag})
    assert (response.status_code, response.headers["etag"]) == (304, tag)


@pytest.mark.parametrize(
    "path",
    [
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
        "/%6detrics",
        "/metric%73",
        "/api/%70roducts/",
        "/api/products/%31/",
        "/api/products/1e0/",
        "/api/products/1.0/",
        "/api/products/10E-1/movements/",
        "/api/products/-0/",
        "/api/orders/%30000000-0000-4000-8000-000000000000/",
        "/docs/assets/swagger-ui%2ecss",
        "/docs/assets/swagger%2Dui.css",
        "/%7eanybody",
    ],
)
async def test_an_address_has_one_spelling(api: Api, path: str) -> None:
    await api.given_product()
    # Whole, or `//metrics` would be taken for a host.
    problem(await api.staff.get(ADDRESS + path), 404, "not_found")
    assert (await api.staff.head(ADDRESS + path)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [f"/api/products/{one_of}/" for one_of in ("x", "0", "-1", "1.5", "01", "%00", "9" * 20)],
)
async def test_what_is_no_id_is_said_so(api: Api, path: str) -> None:
    assert wrong_fields(await api.customer.get(path)) == ["product_id"]


async def test_an_order_id_in_capitals_or_without_hyphens_is_answered_the_same(api: Api) -> None:
    product = await api.given_product()
    order = await placed(api.customer, (product, 1))
    plain = UUID(order["id"])
    read = await api.customer.get(f"/api/orders/{plain}/")
    for spelling in (str(plain).upper(), plain.hex, plain.hex.upper()):
        path = f"/api/orders/{spelling}/"
        other = await api.customer.get(path)
        assert (other.content, other.headers["etag"]) == (read.content, read.headers["etag"])
        not_changed = await api.customer.get(path, headers={"If-None-Match": read.headers["etag"]})
        assert not_changed.status_code == 304
    own = UUID("6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50")
    for spelling, status in ((str(own).upper(), 201), (own.hex, 200), (str(own), 200)):
        repeated = await api.customer.post(f"/api/orders/{spelling}/", json=order_of((product, 2)))
        assert (repeated.status_code, repeated.json()["id"]) == (status, str(own))
        assert repeated.headers["location"] == f"/api/orders/{own}/"


@pytest.mark.parametrize("path", ["/api/products/", "/api/orders/", "/docs/", "/api/health/"])
async def test_null_is_no_value_of_a_parameter(api: Api, path: str) -> None:
    for null in ("null", "%6eull", "nul%6C"):
        for name in ("page_size", "page%5fsize"):
            response = await api.customer.get(f"{path}?{name}={null}")
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


# --- hosts ---


@pytest.mark.parametrize("path", ["/api/products/", "/api/health/", "/metrics", "/docs/"])
async def test_two_hosts_are_refused(api: Api, path: str) -> None:
    hosts = httpx.Headers([("Host", "shop.test"), ("Host", "evil.example")])
    for method in ("GET", "OPTIONS"):
        assert wrong_fields(await api.customer.request(method, path, headers=hosts)) == ["Host"]


@pytest.mark.parametrize("headers", [[], [(b"host", b"")]])
@pytest.mark.parametrize(("version", "status"), [("1", 200), ("1.0", 200), ("1.1", 400)])
async def test_http_1_1_names_a_host_and_older_load_balancers_need_not(
    built: tuple[Container, ASGIApp], version: str, status: int, headers: list[Any]
) -> None:
    _, app = built
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "http_version": version,
        "path": "/api/health/",
        "raw_path": b"/api/health/",
        "query_string": b"",
        "headers": headers,
        "scheme": "http",
    }
    await app(cast("Any", scope), receive, send)
    assert messages[0]["status"] == status


# --- what may be kept, and by whom ---


async def test_what_a_token_opens_is_kept_by_nobody_unless_it_has_an_etag(api: Api) -> None:
    await api.given_product()
    for path in ("/api/users/me/", "/api/products/404/"):
        response = await api.customer.get(path)
        assert response.headers.get_list("cache-control") == ["no-store"], path
    for path in ("/api/products/", "/api/products/1/"):
        response = await api.customer.get(path)
        assert response.headers.get_list("cache-control") == ["private, no-cache"], path
    assert (await api.anonymous.get("/api/products/1/")).headers["cache-control"] == "no-store"
    for path in ("/api/health/", "/openapi.json", "/docs/"):
        assert "cache-control" not in (await api.anonymous.get(path)).headers, path


ORIGIN = "https://shop.example"


async def test_where_pages_of_other_origins_may_ask_every_answer_says_that_it_differs() -> None:
    settings = settings_for(cors_origins=ORIGIN)
    async with opened_api(container_for(settings)) as api:
        for path in ("/api/products/", "/api/health/", "/nowhere", "/docs/"):
            for origin in (None, ORIGIN, "https://other.example"):
                headers = {} if origin is None else {"Origin": origin}
                response = await api.customer.get(path, headers=headers)
                assert response.headers.get_list("vary") == ["Origin"], (path, origin)
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        preflight = await api.anonymous.options("/api/products/", headers=asked)
        assert "Origin" in preflight.headers["vary"]


async def test_where_none_may_no_answer_differs(api: Api) -> None:
    assert "vary" not in (await api.customer.get("/api/products/")).headers
