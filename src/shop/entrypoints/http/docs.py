"""The OpenAPI document, and an interactive page that shows it without the internet."""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import FromPath

import shop
from shop.domain.orders import describe_transitions
from shop.entrypoints.http.access import PUBLIC
from shop.entrypoints.http.api.parameters import PRICE_PATTERN, price_pattern
from shop.entrypoints.settings import Settings

_PAGE = Path(__file__).parent / "docs_page"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# Swagger UI needs inline styles and icons in data URLs; nothing else is allowed.
_POLICY = {
    "policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
}
_CACHED = {"Cache-Control": "public, max-age=86400"}


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Shop",
        version=shop.__version__,
        description=(
            "Takes orders and deducts stock, and never sells what is not there.\n\n"
            f"An order's status: {describe_transitions()}. Asking for the one it has answers 200 "
            "with the order as it is; one that is not allowed is 409, naming those that are."
        ),
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


def _hide(_: Request[Any, Any, Any]) -> None:
    raise NotFoundException


@get("/openapi.json", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def openapi_json(
    request: Request[Any, Any, Any], settings: NamedDependency[Settings]
) -> Response[bytes]:
    return Response(_document(request.app, settings.currency), media_type="application/json")


# Litestar names a generic Struct by the modules of its parts. These may move, the names may not.
_MODULES = re.compile(rb"shop\.entrypoints\.[a-z_.]+\.")


@lru_cache(maxsize=1)
def _document(app: Any, currency: str) -> bytes:
    document = msgspec.json.encode(_completed(app.openapi_schema.to_schema()))
    document = _MODULES.sub(b"", document)
    any_price, its_price = map(msgspec.json.encode, (PRICE_PATTERN, price_pattern(currency)))
    return document.replace(any_price, its_price)


@get("/docs", opt=PUBLIC | _POLICY, include_in_schema=False, sync_to_thread=False)
def docs_page() -> Response[bytes]:
    return Response(_file(_PAGE / "index.html"), media_type="text/html")


@get("/docs/page.js", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def docs_script() -> Response[bytes]:
    return Response(_file(_PAGE / "page.js"), media_type="text/javascript")


@get("/docs/assets/{name:str}", opt=PUBLIC, include_in_schema=False, sync_to_thread=False)
def docs_asset(name: FromPath[str]) -> Response[bytes]:
    if name not in _ASSETS:
        raise NotFoundException
    return Response(_file(_swagger_ui() / name), media_type=_ASSETS[name], headers=_CACHED)


@lru_cache(maxsize=8)
def _file(path: Path) -> bytes:
    """Read once, and the same bytes for whoever asks: some are large, and many may ask at once."""
    return path.read_bytes()


@lru_cache(maxsize=1)
def _swagger_ui() -> Path:
    """The folder of the package's files; nothing else of the package is used."""
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "static"


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what Litestar leaves out.

    Paths end in the slash that clients use, bodies that refuse unknown fields say so, and what may
    be left out, a parameter or a body, is never null.
    """
    document["paths"] = {
        f"{path}/" if path.startswith("/api/") else path: operations
        for path, operations in document["paths"].items()
    }
    operations = [
        operation
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
    ]
    for operation in operations:
        for parameter in operation.get("parameters", ()):
            _forget_null(parameter["schema"])
        for media in operation.get("requestBody", {}).get("content", {}).values():
            # A body that may be null is one that may be left out.
            operation["requestBody"]["required"] = "oneOf" not in media["schema"]
            _forget_null(media["schema"])
    schemas = document["components"]["schemas"]
    schemas["StockChange"]["oneOf"] = _STOCK_CHANGES
    pending = [
        media["schema"]
        for operation in operations
        for media in operation.get("requestBody", {}).get("content", {}).values()
    ]
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
    return document


# One or the other; see `StockChange`.
_NULL, _INTEGER = {"type": "null"}, {"type": "integer"}
_STOCK_CHANGES = [
    {
        "required": ["delta"],
        "properties": {
            "delta": _INTEGER | {"not": {"const": 0}},
            "quantity": _NULL,
            "expected": _NULL,
        },
    },
    {
        "required": ["quantity", "expected"],
        "properties": {"delta": _NULL, "quantity": _INTEGER, "expected": _INTEGER},
    },
]


def _forget_null(schema: dict[str, Any]) -> None:
    for variant in schema.pop("oneOf", ()):
        if variant != {"type": "null"}:
            schema.update(variant)
    if isinstance(schema.get("type"), list):
        [schema["type"]] = [kind for kind in schema["type"] if kind != "null"]
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
