"""The OpenAPI document: what Litestar makes of the routes, and what clients need beyond that."""

import re
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme, Tag
from litestar.routes import HTTPRoute

import shop
from shop.domain.money import currency_digits
from shop.domain.orders import describe_transitions
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.api.parameters import (
    MONEY,
    PRICE_PATTERN,
    TOTAL_PATTERN,
    price_pattern,
    total_pattern,
)

Json = dict[str, Any]

# In the order in which somebody reads who starts.
_TAGS = {
    "Tokens": "Signing in, staying so, and signing out. All else but health needs an access token.",
    "Products": "The catalogue and its stock. Everybody reads it, staff keep it.",
    "Bulk": "Many products, or the stock of many, by SKU in one request. For staff.",
    "Orders": "Placing orders, changing them, and moving them along.",
    "Users": "Who one is, one's password and sessions, and registration where it is open.",
    "Health": "For load balancers, and for whatever starts processes again.",
}


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Shop",
        version=shop.__version__,
        description=(
            "Takes orders and deducts stock, and never sells what is not there.\n\n"
            f"An order's status: {describe_transitions()}. Asking for the one it has answers 200 "
            "with the order as it is; one that is not allowed is 409, naming those that are.\n\n"
            "HEAD is answered wherever GET is. Examples are of the demo data (`make run`)."
        ),
        license=License(name="MIT", identifier="MIT"),
        tags=[Tag(name=name, description=about) for name, about in _TAGS.items()],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="The `access` token from `/api/token/`.",
                )
            }
        ),
        security=[{"bearer": []}],
        # Litestar also serves the document below an address of its own, and without a plugin in
        # pages that load scripts from the internet. These addresses are hidden.
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            before_request=_hide,
            opt=PUBLIC,
            include_in_schema=False,
        ),
    )


def _hide(_: Any) -> None:
    raise NotFoundException


@lru_cache(maxsize=1)
def document(app: Litestar, currency: str) -> bytes:
    """The document of this application, with prices in this currency."""
    completed = _completed(app.openapi_schema.to_schema(), _lines_of_code(app))
    for schema in _objects(completed):
        _in_currency(schema, currency)
    return msgspec.json.encode(completed)


def _lines_of_code(app: Litestar) -> dict[str, int]:
    """Where the operations stand in their files, which are written in the order of a reader."""
    handlers = (
        handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    )
    # Litestar wraps what is not `async`.
    return {
        str(handler.operation_id): getattr(handler.fn, "func", handler.fn).__code__.co_firstlineno
        for handler in handlers
    }


# The edge takes it with each request and gives it with each answer, so no handler names it. It is
# told of where it makes a difference.
_SEEN_TAGS = {"Products", "Bulk", "Orders"}
_SEEN = "X-Shop-Seen"
_SEEN_TAKEN = {
    "name": _SEEN,
    "in": "header",
    "description": "The last that an answer had. What is read is never older than what it stands "
    "for; one that is malformed or of another shop counts for nothing.",
    "required": False,
    # No request is refused for it, so it may be any text.
    "schema": {
        "type": "string",
        "examples": ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj"],
    },
}
_SEEN_GIVEN = {
    "description": "How far the shop had come when something was changed last, by this request or "
    "as the request said. To be sent with each request from now on. Where no answer has it, all "
    "that is read is as of now.",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
}


def _completed(document: Json, lines: dict[str, int]) -> Json:
    """The document with what Litestar leaves out.

    Paths end in the slash that clients use, bodies that refuse unknown fields say so, what may be
    left out, a parameter or a body, is never null, and the header is there that the edge serves.
    """
    for schema in _objects(document):
        _simplify(schema)
    operations = [
        operation for path in document["paths"].values() for operation in _operations(path).values()
    ]
    for operation in operations:
        if _SEEN_TAGS.intersection(operation["tags"]):
            operation.setdefault("parameters", []).append(deepcopy(_SEEN_TAKEN))
            for response in operation["responses"].values():
                response.setdefault("headers", {})[_SEEN] = deepcopy(_SEEN_GIVEN)
    bodies = [
        media["schema"]
        for operation in operations
        for media in operation.get("requestBody", {}).get("content", {}).values()
    ]
    for operation in operations:
        for parameter in operation.get("parameters", ()):
            _forget_null(parameter["schema"])
        for media in operation.get("requestBody", {}).get("content", {}).values():
            # A body that may be null is one that may be left out.
            operation["requestBody"]["required"] = "oneOf" not in media["schema"]
            _forget_null(media["schema"])
    schemas = document["components"]["schemas"]
    _close(bodies, schemas)
    for name, variants in _STOCK_CHANGES.items():
        _tell_apart(schemas, name, variants)
    for name, example in _EXAMPLES.items():
        schemas[name]["examples"] = [dict(example)]
    document["paths"] = _in_order(document["paths"], lines)
    return _renamed(document)


def _objects(value: Any) -> Iterator[Json]:
    """Every object in the document, the inner ones first."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _objects(inner)
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _operations(path: Json) -> Json:
    return {method: each for method, each in path.items() if isinstance(each, dict)}


def _simplify(schema: Json) -> None:
    """Limits without a point, and plain types without a `oneOf` around them."""
    for limit in ("minimum", "maximum"):
        if isinstance(number := schema.get(limit), float):
            schema[limit] = int(number)
    variants = schema.get("oneOf")
    if isinstance(variants, list) and len(variants) == 1:
        schema |= schema.pop("oneOf")[0]
    elif isinstance(variants, list) and all(isinstance(each.get("type"), str) for each in variants):
        if any(set(each) - {"type", "format", "items"} for each in variants):
            return
        types = [each["type"] for each in variants]
        if len(types) - ("null" in types) > 1:
            return
        del schema["oneOf"]
        for each in variants:
            schema |= each
        schema["type"] = types if len(types) > 1 else types[0]


def _in_currency(schema: Json, currency: str) -> None:
    """Prices and their examples with the digits that the shop's currency has."""
    if schema.get("pattern") == PRICE_PATTERN:
        schema["pattern"] = price_pattern(currency)
    if schema.get("pattern") == TOTAL_PATTERN:
        schema["pattern"] = total_pattern(currency)
    digits = Decimal(1).scaleb(-currency_digits(currency))
    for example in schema.get("examples", ()) if schema.get("type") == "object" else ():
        if "price" in example:
            example["price"] = str(Decimal(example["price"]).quantize(digits))
    if schema.get("format") == MONEY and "examples" in schema:
        schema["examples"] = [str(Decimal(each).quantize(digits)) for each in schema["examples"]]
    if schema.get("examples") == ["EUR"]:
        schema["examples"] = [currency]


def _forget_null(schema: Json) -> None:
    for variant in schema.pop("oneOf", ()):
        if variant != {"type": "null"}:
            schema.update(variant)
    if isinstance(schema.get("type"), list):
        [schema["type"]] = [kind for kind in schema["type"] if kind != "null"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]


def _close(bodies: list[Json], schemas: Json) -> None:
    """Objects in bodies have no other fields than those they name."""
    pending = list(bodies)
    while pending:
        schema = pending.pop()
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if "properties" in schema:
            if "additionalProperties" in schema:
                continue
            schema["additionalProperties"] = False
            pending.extend(schema["properties"].values())
        if "items" in schema:
            pending.append(schema["items"])


# One or the other; see `StockChange`. Each has the fields that it needs, so that clients which are
# generated from the document can send either.
_DIFFERENCE = "A number that came or left."
_COUNT = "What was counted, and what it replaces."
_ABSOLUTE = "What was counted, whatever is there now. It overwrites what was sold meanwhile."
_STOCK_CHANGES = {
    "StockChange": {
        "StockDifference": (_DIFFERENCE, ["delta", "reason"]),
        "StockCount": (_COUNT, ["quantity", "expected", "reason"]),
    },
    "RowStock": {
        "StockDifference": (_DIFFERENCE, ["delta", "reason"]),
        "StockCount": (_COUNT, ["quantity", "expected", "reason"]),
        "StockAbsolute": (_ABSOLUTE, ["quantity", "absolute", "reason"]),
    },
    "StockRow": {
        "StockRowDifference": (_DIFFERENCE, ["sku", "delta", "reason"]),
        "StockRowCount": (_COUNT, ["sku", "quantity", "expected", "reason"]),
        "StockRowAbsolute": (_ABSOLUTE, ["sku", "quantity", "absolute", "reason"]),
    },
}

# What the examples of all fields would make together is no good example.
_EXAMPLES = {"ProductChange": {"price": "21.90"}}


def _tell_apart(schemas: Json, name: str, variants: dict[str, tuple[str, list[str]]]) -> None:
    """A body that takes one or the other becomes several schemas, each complete."""
    properties = schemas[name]["properties"]
    for field in properties.values():
        _forget_null(field)
        field.pop("default", None)
    for variant, (about, fields) in variants.items():
        schemas[variant] = {
            "title": variant,
            "description": about,
            "type": "object",
            "properties": {field: properties[field] for field in fields},
            "required": fields,
            "additionalProperties": False,
        }
    schemas[name] = {
        "title": name,
        "oneOf": [{"$ref": f"#/components/schemas/{variant}"} for variant in variants],
    }


def _in_order(paths: Json, lines: dict[str, int]) -> Json:
    """Paths and methods as a reader wants them: by tag, and then as they stand in the code."""
    tags = list(_TAGS)

    def place(operation: Json) -> tuple[int, int]:
        return tags.index(operation["tags"][0]), lines[operation["operationId"]]

    by_place = {
        path: dict(sorted(_operations(operations).items(), key=lambda item: place(item[1])))
        for path, operations in paths.items()
    }
    return {
        f"{path}/" if path.startswith("/api/") else path: operations
        for path, operations in sorted(
            by_place.items(), key=lambda item: min(map(place, item[1].values()))
        )
    }


_PAGE = re.compile(r"PageOut_(?:[\w.]+\.)?(\w+?)(?:Out)?_")


def _renamed(document: Json) -> Json:
    """Components by names for clients: `ProductPage`, not `PageOut_ProductOut_`."""
    schemas = document["components"]["schemas"]
    names = {old: _PAGE.sub(r"\1Page", old).removesuffix("Out") for old in schemas}
    assert len(set(names.values())) == len(names)
    for each in _objects(document):
        if isinstance(reference := each.get("$ref"), str):
            folder, _, old = reference.rpartition("/")
            each["$ref"] = f"{folder}/{names[old]}"
    for old, schema in schemas.items():
        schema["title"] = names[old]
    document["components"]["schemas"] = {names[old]: schemas[old] for old in sorted(schemas)}
    return document
