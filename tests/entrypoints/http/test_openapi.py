"""The document as somebody reads it who writes a client: everything is described, and works."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonschema_rs
import pytest

from shop.entrypoints.demo import DEMO_USERS, make_demo
from shop.entrypoints.http import openapi
from shop.entrypoints.http.app import build_app
from tests.cases import all_cases
from tests.entrypoints.api import client_of, container_for, settings_for

CURRENCIES = ["EUR", "JPY", "KWD"]

Json = dict[str, Any]
Operation = tuple[str, str, Json]


@asynccontextmanager
async def demo_shop(currency: str = "EUR") -> AsyncIterator[httpx.AsyncClient]:
    container = container_for(settings_for(currency=currency))
    await make_demo(container)
    async with client_of(container) as client:
        yield client


async def document_of(client: httpx.AsyncClient) -> Json:
    document: Json = (await client.get("/openapi.json")).json()
    return document


@pytest.fixture(scope="module")
def document() -> Json:
    edge: Any = build_app(container_for(settings_for()))
    made: Json = json.loads(openapi.document(edge._app, "EUR"))
    return made


def operations(document: Json) -> dict[str, Operation]:
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def fields(document: Json) -> Iterator[tuple[str, Json]]:
    for name, schema in document["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            yield f"{name}.{field}", about


def holds_objects(document: Json, schema: Json) -> bool:
    """Whether its examples are those of what is in it."""
    schema = schema.get("items", schema)
    if "$ref" not in schema:
        return False
    return "properties" in document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def test_every_field_has_a_description_and_an_example(document: Json) -> None:
    with all_cases() as cases:
        for name, about in fields(document):
            with cases.case(name):
                if "$ref" not in about:
                    assert about.get("description")
                if not holds_objects(document, about):
                    assert about.get("examples")


def test_every_parameter_has_a_description_and_an_example(document: Json) -> None:
    """One that may be left out has it where the page does not fill it in."""
    with all_cases() as cases:
        for name, (_, _, operation) in operations(document).items():
            for parameter in operation.get("parameters", []):
                with cases.case(name, parameter["name"]):
                    assert parameter.get("description")
                    assert parameter["schema"].get("examples")
                    assert ("examples" in parameter) is parameter["required"]
                    assert "example" not in parameter
                    assert "example" not in parameter["schema"]


@pytest.mark.parametrize("currency", CURRENCIES)
async def test_every_example_is_one(currency: str) -> None:
    async with demo_shop(currency) as client:
        document = await document_of(client)
    with all_cases() as cases:
        named = [
            *fields(document),
            *document["components"]["schemas"].items(),
            *(
                (f"{name} {parameter['name']}", parameter["schema"])
                for name, (_, _, operation) in operations(document).items()
                for parameter in operation.get("parameters", [])
            ),
        ]
        for name, schema in named:
            whole = {"allOf": [schema], "components": document["components"]}
            for example in schema.get("examples", []):
                with cases.case(name, example):
                    assert jsonschema_rs.is_valid(whole, example, validate_formats=True)
                    assert currency == "EUR" or example != "EUR"


def test_what_it_is_licensed_under_and_what_its_parts_are(document: Json) -> None:
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    tags = [tag["name"] for tag in document["tags"]]
    assert all(tag["description"] for tag in document["tags"])
    used = [operation["tags"] for _, _, operation in operations(document).values()]
    # Together, in the order of the tags.
    assert used == sorted(used, key=lambda names: tags.index(names[0]))
    assert {name for names in used for name in names} == set(tags)


def test_operations_stand_in_the_order_of_a_reader(document: Json) -> None:
    in_order = list(operations(document))
    for earlier, later in [
        ("signIn", "refreshToken"),
        ("listProducts", "readProduct"),
        ("createProduct", "readProduct"),
        ("changeProduct", "archiveProduct"),
        ("listOrders", "placeOrder"),
        ("placeOrder", "placeOrderWithId"),
        ("payOrder", "shipOrder"),
        ("shipOrder", "deliverOrder"),
        ("deliverOrder", "returnOrder"),
    ]:
        # A path comes with all its methods.
        assert in_order.index(earlier) < in_order.index(later), (earlier, later)


def test_a_change_of_stock_is_one_of_two_that_are_complete(document: Json) -> None:
    schemas = document["components"]["schemas"]
    variants = [each["$ref"].rpartition("/")[2] for each in schemas["StockChange"]["oneOf"]]
    assert variants == ["StockDifference", "StockCount"]
    for name, names in zip(
        variants, [["delta", "reason"], ["quantity", "expected", "reason"]], strict=True
    ):
        assert list(schemas[name]["properties"]) == schemas[name]["required"] == names
        assert schemas[name]["additionalProperties"] is False


def test_truth_values_are_truth_values(document: Json) -> None:
    def all_objects(value: Any) -> Iterator[Json]:
        if isinstance(value, dict):
            yield value
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                yield from all_objects(inner)

    for schema in all_objects(document):
        if isinstance(choices := schema.get("enum"), list):
            assert not {"true", "false"} & set(map(str, choices))


# --- the examples, as the docs page sends them ---


def sample(document: Json, schema: Json) -> Any:
    """What Swagger UI puts into the box of a body."""
    if "$ref" in schema:
        return sample(document, document["components"]["schemas"][schema["$ref"].split("/")[-1]])
    if "examples" in schema:
        return schema["examples"][0]
    if "oneOf" in schema:
        return sample(document, schema["oneOf"][0])
    if "items" in schema:
        return [sample(document, schema["items"])]
    return {name: sample(document, about) for name, about in schema["properties"].items()}


def filled_in(document: Json, operation: Operation) -> tuple[str, str, Any]:
    """The method, the address with its example, and the body's."""
    method, path, about = operation
    for parameter in about.get("parameters", []):
        for example in parameter.get("examples", {}).values():
            path = path.replace(f"{{{parameter['name']}}}", str(example["value"]))
    content = about.get("requestBody", {}).get("content", {})
    bodies = [sample(document, media["schema"]) for media in content.values()]
    return method, path, bodies[0] if bodies else None


# The life of an order, and what must be done before the rest.
FIRST = [
    *["signIn", "createProduct", "changeProduct", "changeStock", "placeOrder", "placeOrderWithId"],
    *["readOrder", "amendOrder", "payOrder", "shipOrder", "deliverOrder", "returnOrder"],
]
# Nobody has the example's token, registration is closed, and what came back is not cancelled.
REFUSED = {"refreshToken": 401, "registerUser": 403, "cancelOrder": 409}
# By the user whose password the example has.
AS_DEMO = {"signIn", "changePassword"}


async def headers_of(client: httpx.AsyncClient, username: str, password: str) -> dict[str, str]:
    body = {"username": username, "password": password}
    tokens = (await client.post("/api/token/", json=body)).json()
    return {"Authorization": f"Bearer {tokens['access']}"}


@pytest.mark.parametrize("currency", CURRENCIES)
async def test_the_examples_work_with_the_demo_data(currency: str) -> None:
    async with demo_shop(currency) as client:
        document = await document_of(client)
        known = operations(document)
        demo, admin = [
            await headers_of(client, user.username, user.password) for user in DEMO_USERS
        ]
        with all_cases() as cases:
            for name in [*FIRST, *(other for other in known if other not in FIRST)]:
                method, path, body = filled_in(document, known[name])
                headers = demo if name in AS_DEMO else admin
                with cases.case(name, body):
                    response = await client.request(method, path, json=body, headers=headers)
                    expected = REFUSED.get(name, 200)
                    assert response.status_code // 100 == expected // 100, response.text
                    if name in REFUSED:
                        assert response.status_code == expected, response.text
        # What was tried out did no harm to who tries it again.
        assert await headers_of(client, "demo", "demo-password")


async def test_the_example_of_a_cancellation_works_on_an_order_that_was_placed() -> None:
    async with demo_shop() as client:
        document = await document_of(client)
        headers = await headers_of(client, "demo", "demo-password")
        for name in ("placeOrderWithId", "cancelOrder"):
            method, path, body = filled_in(document, operations(document)[name])
            response = await client.request(method, path, json=body, headers=headers)
            assert response.is_success, response.text
