"""The walk: every route, as whoever may come, against one table of what each must get."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, product
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
from litestar import Litestar

from shop.domain.orders import OrderItem, OrderStatus
from shop.domain.pages import Window
from shop.domain.services.check_user import BELIEVED_SECONDS
from shop.domain.users import OPERATOR, Caller, Role
from shop.entrypoints.http.access import Access
from shop.entrypoints.http.app import build_app
from shop.entrypoints.http.edge import Edge
from tests.builders import PASSWORD
from tests.security.doors import Door, code_of, opened

# `customer` owns {order}; `other` is another customer; `disabled` is staff who was disabled and has
# an access token from before. A route without a line here fails.
TABLE = """
                                       nobody  customer  other  staff  disabled
POST   /api/token/                        200       200    200    200       200
POST   /api/token/refresh/                200       200    200    200       200
POST   /api/token/revoke/                 204       204    204    204       204
POST   /api/token/revoke-all/             401       204    204    204       401
GET    /.well-known/jwks.json             200       200    200    200       200

POST   /api/users/                        403       403    403    403       403
GET    /api/users/me/                     401       200    200    200       200
POST   /api/users/me/password/            401       204    204    204       401
GET    /api/users/me/sessions/            401       200    200    200       200

GET    /api/products/                     401       200    200    200       200
POST   /api/products/                     401       403    403    201       401
GET    /api/products/{product}/           401       200    200    200       200
PATCH  /api/products/{product}/           401       403    403    200       401
DELETE /api/products/{product}/           401       403    403    204       401
POST   /api/products/{product}/restore/   401       403    403    200       401
POST   /api/products/{product}/stock/     401       403    403    200       401
GET    /api/products/{product}/movements/ 401       403    403    200       200
POST   /api/products/bulk/                401       403    403    200       401
POST   /api/stock/changes/                401       403    403    200       401

GET    /api/orders/                       401       200    200    200       200
POST   /api/orders/                       401       201    201    201       401
GET    /api/orders/{order}/               401       200    404    200       200
POST   /api/orders/{order}/               401       200    409    409       409
PATCH  /api/orders/{order}/               401       200    404    200       401
POST   /api/orders/{order}/cancel/        401       200    404    200       401
POST   /api/orders/{order}/pay/           401       403    403    200       401
POST   /api/orders/{order}/ship/          401       403    403    200       401
POST   /api/orders/{order}/deliver/       401       403    403    200       401
POST   /api/orders/{order}/return/        401       403    403    200       401
GET    /api/orders/{order}/history/       401       200    404    200       200

GET    /api/health/                       200       200    200    200       200
GET    /health/live                       200       200    200    200       200
GET    /health/ready                      200       200    200    200       200
GET    /metrics                           200       200    200    200       200
GET    /openapi.json                      200       200    200    200       200
GET    /                                  200       200    200    200       200
GET    /docs/                             200       200    200    200       200
GET    /docs/page.js                      200       200    200    200       200
GET    /docs/page.css                     200       200    200    200       200
GET    /docs/assets/{name}                200       200    200    200       200
"""

UNDOCUMENTED = {
    "/",
    "/metrics",
    "/openapi.json",
    "/docs/",
    "/docs/page.js",
    "/docs/page.css",
    "/docs/assets/{name}",
}

HIDDEN = "/schema"
"""What the framework insists on; see the test of it."""

# Where an order must be for the route to have something to do.
PAID, SHIPPED = OrderStatus.PAID, OrderStatus.SHIPPED
MOVED_TO = {"ship": (PAID,), "deliver": (PAID, SHIPPED), "return": (PAID, SHIPPED)}

_numbers = count(1)

Route = tuple[str, str]


def rows() -> dict[Route, dict[str, int]]:
    """What each must get, by method and path."""
    head, *lines = [line.split() for line in TABLE.splitlines() if line]
    return {
        (method, path): dict(zip(head, map(int, statuses), strict=True))
        for method, path, *statuses in lines
    }


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A shop with an order that waits for the next route."""

    door: Door
    callers: dict[str, Caller]

    answers: dict[tuple[Route, str], httpx.Response] = field(default_factory=dict)

    async def call(self, route: Route, who: str) -> tuple[int, bool, str]:
        """The status, whether the order, its history or the product changed, and why not."""
        method, path = route
        container = self.door.container
        product = await self.door.given_product(f"SKU-{next(_numbers)}")
        items = {"items": [{"product_id": product.id, "quantity": 2}]}
        placed = await container.place_order()(
            caller=self.callers["customer"],
            items=(OrderItem(product_id=product.id, quantity=2),),
        )
        order_id = placed.order.id
        for status in MOVED_TO.get(path.split("/")[-2], ()):
            await container.advance_order()(
                caller=self.callers["staff"], order_id=order_id, to=status
            )
        before = await self._looks(order_id, product.sku)
        refresh = (await self.door.sign_in("somebody")).json()["refresh"]
        bodies: dict[Route, Any] = {
            ("POST", "/api/token/"): credentials("somebody"),
            ("POST", "/api/token/refresh/"): {"refresh": refresh},
            ("POST", "/api/token/revoke/"): {"refresh": refresh},
            ("POST", "/api/users/"): credentials("newcomer"),
            ("POST", "/api/users/me/password/"): {"current": PASSWORD, "new": PASSWORD},
            ("POST", "/api/products/"): {"sku": f"NEW-{product.id}", "name": "N", "price": "1.00"},
            ("PATCH", "/api/products/{product}/"): {"name": "Another"},
            ("POST", "/api/products/{product}/stock/"): {"delta": 1, "reason": "restock"},
            ("POST", "/api/products/bulk/"): {"rows": [{"sku": product.sku, "name": "Another"}]},
            ("POST", "/api/stock/changes/"): {
                "rows": [{"sku": product.sku, "delta": 1, "reason": "restock"}]
            },
            ("POST", "/api/orders/"): items,
            ("POST", "/api/orders/{order}/"): items,
            ("PATCH", "/api/orders/{order}/"): {
                "items": [{"product_id": product.id, "quantity": 3}]
            },
        }
        headers = self.door.signed_in(self.callers[who]) if who in self.callers else {}
        response = await self.door.at().request(
            method,
            path.format(product=product.id, order=order_id, name="swagger-ui.css"),
            headers=headers,
            json=bodies.get(route),
        )
        self.answers[route, who] = response
        why = ""
        if response.status_code >= 400:
            why = f"{code_of(response)}: {response.json()['detail']}"
        return response.status_code, await self._looks(order_id, product.sku) != before, why

    async def _looks(self, order_id: UUID, sku: str) -> list[Any]:
        container, staff = self.door.container, self.callers["staff"]
        window = Window(limit=10)
        return [
            await container.read_order()(caller=staff, order_id=order_id),
            await container.read_history()(caller=staff, order_id=order_id, window=window),
            await container.find_product()(caller=OPERATOR, sku=sku),
        ]


def credentials(name: str) -> dict[str, str]:
    return {"username": name, "password": PASSWORD}


@asynccontextmanager
async def opened_shop(database_url: str, **settings: Any) -> AsyncIterator[Shop]:
    async with opened(database_url, refreshes_per_minute=0, **settings) as door:
        await door.create("somebody")
        callers = {
            "customer": await door.create("customer"),
            "other": await door.create("other"),
            "staff": await door.create("staff", Role.STAFF),
        }
        yield Shop(door=door, callers=callers)


async def walk(shop: Shop, who: str, expected: Callable[[dict[str, int]], int]) -> None:
    """Every route that answers otherwise than it must, or changes what it refused to change."""
    wrong = {}
    for route, row in rows().items():
        status, changed, why = await shop.call(route, who)
        if status != expected(row) or (status >= 400 and changed):
            got = f"{status} ({why})" if why else status
            wrong[route] = f"got {got}, must be {expected(row)}, changed something: {changed}"
    assert not wrong


@pytest.mark.parametrize("who", ["nobody", "customer", "other", "staff"])
async def test_each_gets_from_every_route_what_the_table_says(who: str, database_url: str) -> None:
    async with opened_shop(database_url) as shop:
        await walk(shop, who, lambda row: row[who])
        for (route, _), response in shop.answers.items():
            check_caching(route, response)


# Whoever asks gets the same.
MAY_BE_KEPT = {"/.well-known/jwks.json", "/api/health/", "/health/live", "/health/ready"}


# Neither a product, an order, nor a page of them.
_WITHOUT_TAG = ("movements/", "history/", "/bulk/")


def check_caching(route: Route, response: httpx.Response) -> None:
    """What docs/api.md says of `ETag`, `Cache-Control` and `Vary`, of refusals too."""
    _, path = route
    if path in UNDOCUMENTED | MAY_BE_KEPT:
        assert "etag" not in response.headers, route
        return
    is_shown = response.is_success and path.startswith(("/api/products/", "/api/orders/"))
    has_tag = is_shown and response.content != b"" and not path.endswith(_WITHOUT_TAG)
    assert ("etag" in response.headers) == has_tag, route
    kept = "private, no-cache" if has_tag else "no-store"
    assert response.headers.get_list("cache-control") == [kept], route
    varies = has_tag and path.startswith("/api/orders/")
    assert (response.headers.get("vary") == "authorization") == varies, route


async def test_a_disabled_user_is_nobody_where_users_are_checked(database_url: str) -> None:
    async with opened_shop(database_url, check_users=True) as shop:
        shop.callers["disabled"] = await shop.door.create("disabled", Role.STAFF)
        await shop.door.container.disable_user()(caller=OPERATOR, username="disabled")
        await walk(shop, "disabled", lambda row: row["nobody"])


async def test_a_disabled_user_reads_until_the_token_ends_and_changes_nothing(
    database_url: str,
) -> None:
    async with opened_shop(database_url) as shop:
        shop.callers["disabled"] = await shop.door.create("disabled", Role.STAFF)
        await shop.door.container.disable_user()(caller=OPERATOR, username="disabled")
        await walk(shop, "disabled", lambda row: row["disabled"])


async def test_a_disabled_user_has_only_the_minutes_of_the_access_token(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as door:
        await door.create("customer")
        tokens = (await door.sign_in("customer")).json()
        await door.container.disable_user()(caller=OPERATOR, username="customer")
        bearer = {"Authorization": f"Bearer {tokens['access']}"}
        assert (await door.at().get("/api/orders/", headers=bearer)).status_code == 200
        refused = await door.at().post("/api/token/refresh/", json={"refresh": tokens["refresh"]})
        assert (refused.status_code, code_of(refused)) == (401, "invalid_token")
        issuer = door.container.access_tokens()
        settings = door.container.settings()
        lifetime, then = settings.access_token_lifetime + settings.token_leeway, issuer._now()
        monkeypatch.setattr(issuer, "_now", lambda: then + lifetime)
        refused = await door.at().get("/api/orders/", headers=bearer)
        assert (refused.status_code, code_of(refused)) == (401, "invalid_token")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/users/me/"), ("POST", "/api/users/me/password/")]
)
async def test_a_good_token_of_another_database_signs_nobody_in(
    database_url: str, method: str, path: str
) -> None:
    """A database was made anew, and its keys were kept."""
    body = {"current": PASSWORD, "new": "another password"} if method == "POST" else None
    async with opened(database_url) as door:
        header = door.signed_in(Caller(user_id=404, role=Role.CUSTOMER))
        refused = await door.at().request(method, path, json=body, headers=header)
        assert (refused.status_code, code_of(refused)) == (401, "invalid_token")


async def test_where_users_are_checked_a_disabled_one_is_out_within_seconds(
    database_url: str,
) -> None:
    async with opened(database_url, check_users=True) as door:
        header = door.signed_in(await door.create("customer"))
        assert (await door.at().get("/api/orders/", headers=header)).status_code == 200
        await door.container.disable_user()(caller=OPERATOR, username="customer")
        door.clock.advance(timedelta(seconds=BELIEVED_SECONDS, microseconds=1))
        assert (await door.at().get("/api/orders/", headers=header)).status_code == 401
        await door.container.enable_user()(caller=OPERATOR, username="customer")
        assert (await door.at().get("/api/orders/", headers=header)).status_code == 200


async def test_who_is_staff_by_the_token_only_changes_nothing(database_url: str) -> None:
    """And where users are checked, they are told what they are now."""
    body = {"sku": "TEA", "name": "Tea", "price": "1.00"}
    for check_users, status in ((False, 401), (True, 403)):
        async with opened(database_url, check_users=check_users) as door:
            customer = await door.create(f"customer{status}")
            header = door.signed_in(Caller(user_id=customer.user_id, role=Role.STAFF))
            response = await door.at().post("/api/products/", json=body, headers=header)
            assert response.status_code == status


async def test_a_token_of_somebody_who_was_never_there_is_no_token_where_users_are_checked(
    database_url: str,
) -> None:
    async with opened(database_url, check_users=True) as door:
        header = door.signed_in(Caller(user_id=4711, role=Role.STAFF))
        assert (await door.at().get("/api/orders/", headers=header)).status_code == 401


# --- the table itself ---


async def test_every_route_of_the_openapi_document_has_a_row() -> None:
    async with opened() as door:
        document = (await door.at().get("/openapi.json")).json()
    documented = {
        (method.upper(), shorter(path))
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert documented == {(m, p) for m, p in rows() if p not in UNDOCUMENTED}


async def test_every_route_of_the_application_has_a_row() -> None:
    async with opened() as door:
        edge = build_app(door.container)
    assert isinstance(edge, Edge)
    app = edge._app
    assert isinstance(app, Litestar)
    served = {
        (method, shorter(route.path_format).rstrip("/"))
        for route in app.routes
        for method in getattr(route, "methods", {"(not HTTP)"})
        if method != "OPTIONS" and not route.path_format.startswith(HIDDEN)
    }
    assert served == {(method, path.rstrip("/")) for method, path in rows()}


async def test_whatever_is_not_public_is_behind_a_check_of_who_calls() -> None:
    """Each audience has its own; a route outside of them is open, so it has to say `PUBLIC`."""
    async with opened() as door:
        app = cast("Any", build_app(door.container))._app
    for route in app.routes:
        for handler in route.route_handlers:
            if handler.opt.get("access") is Access.PUBLIC or "OPTIONS" in handler.http_methods:
                continue
            checks = {middleware.__name__ for middleware in handler.resolve_middleware()}
            assert "check_client" in checks, handler


async def test_the_pages_that_the_framework_would_serve_are_not_there() -> None:
    paths = ("", "/", "/swagger", "/redoc", "/openapi.json", "/openapi.yaml", "/x")
    async with opened_shop("memory://") as shop:
        staff = shop.door.signed_in(shop.callers["staff"])
        for path, headers in product(paths, ({}, staff)):
            response = await shop.door.at().get(HIDDEN + path, headers=headers)
            unknown = await shop.door.at().get("/nowhere/", headers=headers)
            assert (response.status_code, response.content) == (404, unknown.content)


def shorter(path: str) -> str:
    return path.replace("_id}", "}")


@pytest.mark.parametrize("who", ["nobody", "customer", "other", "staff"])
async def test_head_tells_each_what_get_does(who: str) -> None:
    async with opened_shop("memory://") as shop:
        await shop.call(("POST", "/api/orders/"), "customer")
        headers = shop.door.signed_in(shop.callers[who]) if who in shop.callers else {}
        for method, path in rows():
            if method == "GET":
                where = path.format(product=1, order=UUID(int=1), name="swagger-ui.css")
                head = await shop.door.at().head(where, headers=headers)
                get = await shop.door.at().get(where, headers=headers)
                assert (head.status_code, head.content) == (get.status_code, b""), path


async def test_a_method_that_no_route_takes_tells_nobody_anything() -> None:
    async with opened_shop("memory://") as shop:
        methods = ("PUT", "TRACE", "CONNECT", "PROPFIND")
        for method, (_, path) in product(methods, rows()):
            for who in ("nobody", "staff"):
                where = path.format(product=1, order="0" * 32, name="swagger-ui.css")
                headers = shop.door.signed_in(shop.callers[who]) if who != "nobody" else {}
                response = await shop.door.at().request(method, where, headers=headers)
                assert response.status_code == 405, (method, path)


async def test_what_is_allowed_is_no_secret_and_does_nothing() -> None:
    async with opened_shop("memory://") as shop:
        for _, path in rows():
            where = path.format(product=1, order="0" * 32, name="swagger-ui.css")
            response = await shop.door.at().options(where)
            assert (response.status_code, response.content) == (204, b"")
            methods = {method for method, other in rows() if other == path}
            heads = {"HEAD"} if "GET" in methods else set()
            assert set(response.headers["allow"].split(", ")) - {"OPTIONS"} == methods | heads
