"""The page of the routes: the OpenAPI document, and who may call each."""

from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from reference.markdown import MADE, code, table
from shop.entrypoints.container import build_container
from shop.entrypoints.http.access import Access
from shop.entrypoints.http.app import build_app
from shop.entrypoints.http.openapi import document
from shop.entrypoints.settings import load_settings

Json = dict[str, Any]


def page() -> str:
    app = _app()
    described: Json = msgspec.json.decode(document(app, load_settings({}).currency))
    access = _access(app)
    parts = [
        MADE,
        "# Routes\n\n",
        "What `/openapi.json` says, in short; a running shop shows all of it at `/docs/`. The "
        "[contract](../api.md) says what clients may rely on. Of orders, customers see and change "
        "their own alone.\n",
    ]
    for tag in described["tags"]:
        rows = [
            _row(method, path, operation, access[operation["operationId"]])
            for path, operations in described["paths"].items()
            for method, operation in operations.items()
            if tag["name"] in operation.get("tags", ())
        ]
        header = ("route", "who", "what", "parameters", "answers")
        parts.append(f"\n## {tag['name']}\n\n{tag['description']}\n\n{table(header, rows)}")
    return "".join(parts)


def _row(method: str, path: str, operation: Json, access: Access) -> tuple[str, ...]:
    parameters = [
        code(parameter["name"])
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "path"
    ]
    if "requestBody" in operation:
        parameters.append("a body")
    return (
        code(f"{method.upper()} {path}"),
        access.value,
        operation["summary"],
        ", ".join(parameters),
        ", ".join(sorted(operation["responses"])),
    )


def _app() -> Litestar:
    edge = build_app(build_container(load_settings({"SHOP_DATABASE_URL": "memory://"})))
    app: Any = edge
    while not isinstance(app, Litestar):
        app = app._app
    return app


def _access(app: Litestar) -> dict[str, Access]:
    """By the operation's id."""
    return {
        str(handler.operation_id): handler.opt.get("access", Access.SIGNED_IN)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
