"""The OpenAPI document and the page over it: complete, and at home without the internet."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urljoin

import pytest
import schemathesis

from shop.domain.errors import InvalidField
from shop.domain.money import PRICE_MAX, Money
from shop.entrypoints.demo import DEMO_USERS
from tests.entrypoints.api import Api, container_for, opened_api, settings_for, wrong_fields

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PUBLIC = {"signIn", "refreshToken", "revokeToken", "registerUser", "jwks"} | {
    "health",
    "live",
    "ready",
}
WITHOUT_STORE = {"jwks"}
BODY_OPTIONAL = {"cancelOrder", "payOrder", "shipOrder", "deliverOrder", "returnOrder"}


@pytest.fixture
def database_url() -> str:
    return "memory://"


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    response = await api.anonymous.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def objects(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    schema = resolved(document, schema)
    if "properties" in schema and schema.get("type") == "object":
        yield schema
        for below in schema["properties"].values():
            yield from objects(document, below)
    if "items" in schema:
        yield from objects(document, schema["items"])


async def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()


async def test_every_operation_has_a_name_a_summary_and_says_who_may_call_it(
    document: dict[str, Any],
) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert document["security"] == [{"bearer": []}]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert set(names) > PUBLIC
    assert sorted(set(names)) == sorted(names)
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert operation["tags"], path
        public = operation["operationId"] in PUBLIC
        assert operation.get("security", document["security"]) == (
            [{}] if public else [{"bearer": []}]
        ), path


async def test_names_say_nothing_of_where_the_code_stands(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Product", "ProductPage", "OrderPage", "MovementPage"} <= set(schemas)
    for name, schema in schemas.items():
        assert re.fullmatch("([A-Z][a-z]+)+", name), name
        assert schema["title"] == name
    assert "shop.entrypoints" not in str(document)


async def test_every_path_of_the_api_ends_in_a_slash(document: dict[str, Any]) -> None:
    paths = [path for path in document["paths"] if path.startswith("/api/")]
    assert "/api/orders/" in paths
    assert [path for path in paths if not path.endswith("/")] == []


async def test_bodies_refuse_what_they_do_not_name_and_say_so(document: dict[str, Any]) -> None:
    checked = 0
    for _, path, operation in operations(document):
        body = operation.get("requestBody")
        if body is None:
            continue
        assert set(body["content"]) == {"application/json"}, path
        assert body["required"] is (operation["operationId"] not in BODY_OPTIONAL), path
        for schema in objects(document, body["content"]["application/json"]["schema"]):
            assert schema["additionalProperties"] is False, path
            checked += 1
    assert checked >= 8


async def test_numbers_in_bodies_are_bounded(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    item = schemas["NewItem"]["properties"]
    assert (item["quantity"]["minimum"], item["quantity"]["maximum"]) == (1, 1_000_000)
    assert (item["product_id"]["minimum"], item["product_id"]["maximum"]) == (1, 2**53 - 1)
    items = schemas["NewOrder"]["properties"]["items"]
    assert (items["minItems"], items["maxItems"]) == (1, 100)
    assert schemas["NewProduct"]["properties"]["stock"]["minimum"] == 0
    assert schemas["StockCount"]["properties"]["quantity"]["minimum"] == 0


async def test_what_can_go_wrong_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        statuses = set(operation["responses"])
        assert "406" in statuses, path
        if operation["operationId"] not in PUBLIC:
            assert {"401", "503"} <= statuses, path
        if "requestBody" in operation:
            assert {"400", "408", "413", "415"} <= statuses, (method, path)
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                [(media_type, content)] = response["content"].items()
                assert media_type == "application/problem+json", (path, status)
                assert resolved(document, content["schema"])["title"] == "Problem"
                assert content["examples"], (path, status)


async def test_placing_says_that_a_repeat_is_answered_200(document: dict[str, Any]) -> None:
    for path in ("/api/orders/", "/api/orders/{order_id}/"):
        responses = document["paths"][path]["post"]["responses"]
        assert {"200", "201", "409"} <= set(responses)
        assert responses["200"]["content"] == responses["201"]["content"]
    assert "422" in document["paths"]["/api/orders/"]["post"]["responses"]


async def test_what_a_client_has_seen_goes_with_requests_and_answers(
    document: dict[str, Any],
) -> None:
    """Of products and orders, whatever becomes of the request; nothing else asks for it."""
    for _, path, operation in operations(document):
        taken = [each for each in operation.get("parameters", []) if each["name"] == "X-Shop-Seen"]
        given = {
            status
            for status, response in operation["responses"].items()
            if "X-Shop-Seen" in response.get("headers", {})
        }
        if set(operation["tags"]) & {"Products", "Bulk", "Orders"}:
            assert [(each["in"], each["required"]) for each in taken] == [("header", False)], path
            assert given == set(operation["responses"]), path
        else:
            assert (taken, given) == ([], set()), path


async def test_a_parameter_is_never_null(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            schema = resolved(document, parameter["schema"])
            assert isinstance(schema["type"], str), (path, parameter["name"])
            assert None not in schema.get("enum", [])


@pytest.mark.parametrize(
    ("currency", "digits", "highest"),
    [
        ("EUR", 2, "10000000000.00"),
        ("IDR", 2, "10000000000.00"),
        ("VND", 0, "1000000000000"),
        ("KRW", 0, "1000000000000"),
        ("KWD", 3, "1000000000.000"),
    ],
)
async def test_prices_have_the_digits_of_the_currency_and_go_up_to_the_highest(
    currency: str, digits: int, highest: str
) -> None:
    """The document, the API and the domain agree, so the command line does as well."""
    async with opened_api(container_for(settings_for(currency=currency))) as api:
        document = (await api.anonymous.get("/openapi.json")).json()
        pattern = document["components"]["schemas"]["NewProduct"]["properties"]["price"]["pattern"]
        cents = Decimal(1).scaleb(-digits)
        below, above = str(Decimal(highest) - cents), str(Decimal(highest) + cents)
        whole = highest.partition(".")[0]
        for number, price in enumerate(["0", "1", whole, highest, below]):
            body = {"sku": f"A-{number}", "name": "A", "price": price}
            assert re.search(pattern, price), price
            created = await api.staff.post("/api/products/", json=body)
            assert created.status_code == 201, created.text
            assert Decimal(created.json()["price"]) == Decimal(price)
            assert Money.parse(price, currency).amount <= PRICE_MAX
        for price in [above, f"{highest}0" if digits else "1.0", str(int(whole) + 1)]:
            assert not re.search(pattern, price), price
            refused = await api.staff.post(
                "/api/products/", json={"sku": "B", "name": "B", "price": price}
            )
            assert wrong_fields(refused) == ["price"], price
            with pytest.raises(InvalidField):
                Money.parse(price, currency)


# --- the page ---


async def test_the_docs_page_loads_nothing_from_elsewhere(api: Api) -> None:
    page = await api.anonymous.get("/docs/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*", policy)
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(links) >= 4
    assert not re.search(r"""["'(](https?:)?//""", page.text)
    types = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    for link in links:
        asset = await api.anonymous.get(urljoin("/docs/", link))
        assert asset.status_code == 200, link
        assert asset.content, link
        assert asset.headers["content-type"].partition(";")[0] == types[link.rpartition(".")[2]]


async def test_the_page_signs_in_by_name_and_password(api: Api) -> None:
    """And says who can; a browser that runs no script sends the password nowhere."""
    page = await api.anonymous.get("/docs/")
    for name in ("username", "password"):
        assert f'name="{name}"' in page.text
    for user in DEMO_USERS:
        assert user.username in page.text
        assert user.password in page.text
    assert "form-action 'none'" in page.headers["content-security-policy"]
    script = (await api.anonymous.get("/docs/page.js")).text
    for path in ("/api/token/", "/api/token/refresh/", "/api/token/revoke/"):
        assert f'"{path}"' in script


@pytest.mark.parametrize(
    ("accepted", "media_type"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
    ],
)
async def test_the_root_says_what_this_is_and_where_to_go(
    api: Api, accepted: str, media_type: str
) -> None:
    response = await api.anonymous.get("/", headers={"Accept": accepted})
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    assert "never sells what is not there" in response.text
    assert response.headers["vary"] == "Accept"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    for path in ("/docs/", "/openapi.json", "/api/health/"):
        assert f'"{path}"' in response.text
        assert (await api.anonymous.get(path)).status_code == 200


async def test_the_page_shows_this_document(api: Api) -> None:
    script = await api.anonymous.get("/docs/page.js")
    assert '"/openapi.json"' in script.text
    assert not re.search(r"https?://", script.text)


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2f..%2fpyproject.toml", "%2e%2e", "__init__.py", "%00", "%FF"]
)
async def test_no_other_file_is_handed_out(api: Api, name: str) -> None:
    response = await api.anonymous.get(f"/docs/assets/{name}")
    assert response.status_code in (400, 404)
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("accepted", ["text/html", "*/*", "image/png"])
async def test_a_browser_gets_the_page_and_its_assets(api: Api, accepted: str) -> None:
    for path in ("/docs/", "/docs", "/docs/page.js", "/docs/assets/swagger-ui.css"):
        response = await api.anonymous.get(path, headers={"Accept": accepted})
        assert response.status_code == 200
