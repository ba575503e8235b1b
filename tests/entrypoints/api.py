"""The web application as its clients see it, in this process, over an empty store."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any, ClassVar, cast
from uuid import UUID

import httpx
import schemathesis
from litestar.types import ASGIApp
from schemathesis.specs.openapi.schemas import OpenApiSchema
from sqlalchemy import update

from shop.adapters.sql import tables
from shop.domain.money import Money
from shop.domain.orders import OrderQuery
from shop.domain.pages import Window
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Caller, Role
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.http.app import build_app
from shop.entrypoints.settings import Settings
from tests.builders import PASSWORD, FakeClock, PlainHasher, staff
from tests.stores import Store

ADDRESS = "http://shop.test"
SECRET_KEY = "a key for tests, long enough to be one"

_numbers = count(1)


def settings_for(database_url: str = "memory://", **changes: Any) -> Settings:
    return Settings(database_url=database_url, secret_key=SECRET_KEY, **changes)


def container_for(settings: Settings) -> Container:
    """The real one, but for hashes that cost nothing and a clock that stands still."""
    container = build_container(settings)
    container.hasher.override(PlainHasher())
    clock = FakeClock()
    container.clock.override(clock)
    container.monotonic.override(clock.monotonic)
    return container


def store_of(container: Container) -> Store:
    in_memory = container.settings().store == "memory"
    return Store(
        name=container.settings().store,
        unit_of_work=container.unit_of_work,
        memory=container.memory() if in_memory else None,
        engines=None if in_memory else container.engines(),
    )


@dataclass(frozen=True, kw_only=True)
class Api:
    container: Container
    clock: FakeClock
    anonymous: httpx.AsyncClient
    customer: httpx.AsyncClient
    """Signed in as `customer`."""
    customer_id: int
    other: httpx.AsyncClient
    """Another customer."""
    staff: httpx.AsyncClient

    async def given_product(
        self,
        *,
        sku: str | None = None,
        name: str = "Teapot",
        description: str = "",
        price: int = 1200,
        stock: int = 10,
    ) -> Product:
        return await self.container.create_product()(
            caller=OPERATOR,
            sku=sku or f"SKU-{next(_numbers)}",
            name=name,
            description=description,
            price=Money(amount=price, currency=self.container.settings().currency),
            stock=stock,
        )

    async def stock_of(self, product: Product) -> int:
        return (await self.container.read_product()(caller=OPERATOR, product_id=product.id)).stock

    async def reprice(self, product: Product, *, name: str, price: int) -> None:
        """Change the catalogue, as no endpoint does yet."""
        if (memory := self.store.memory) is not None:
            stored = memory.tables.products[product.id]
            changed = replace(stored, name=name, price=replace(stored.price, amount=price))
            memory.tables.products[product.id] = changed
        else:
            async with self.store.sql.write.begin() as connection:
                change = update(tables.products).where(tables.products.c.id == product.id)
                await connection.execute(change.values(name=name, price=price))

    @property
    def store(self) -> Store:
        """What lies behind."""
        return store_of(self.container)

    async def count_orders(self) -> int:
        list_orders = self.container.list_orders()
        page = await list_orders(caller=staff(), query=OrderQuery(), window=Window(limit=1))
        return page.count.number


class Documented(httpx.AsyncBaseTransport):
    """Holds every answer against the OpenAPI document, whatever a test asks for."""

    _schema: ClassVar[OpenApiSchema | None] = None

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        await response.aread()
        # Without the body, which may have been a stream.
        response.request = httpx.Request(request.method, request.url, headers=request.headers)
        response.elapsed = timedelta()
        operation = await self._operation(request)
        if operation is not None:
            documented = {str(status) for status in operation.definition.raw["responses"]}
            assert str(response.status_code) in documented, f"{request.url}: {response.text}"
            operation.validate_response(response)
        return response

    async def _operation(self, request: httpx.Request) -> Any:
        if Documented._schema is None:
            whole = await self._transport.handle_async_request(
                httpx.Request("GET", f"{ADDRESS}/openapi.json")
            )
            Documented._schema = schemathesis.openapi.from_dict(json.loads(await whole.aread()))
        path = request.url.path.rstrip("/")
        for template, methods in Documented._schema.raw_schema["paths"].items():
            known = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template.rstrip("/")))
            if re.fullmatch(known, path) and request.method.lower() in methods:
                return Documented._schema[template][request.method]
        return None


@asynccontextmanager
async def client_of(container: Container) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is not signed in; the store is used as it is."""
    async with _client(build_app(container)) as client:
        yield client
    await _close(container)


def _client(app: ASGIApp, **headers: str) -> httpx.AsyncClient:
    # httpx describes the same protocol in other types.
    transport = Documented(httpx.ASGITransport(cast("Any", app)))
    return httpx.AsyncClient(
        transport=transport, base_url=ADDRESS, headers=headers, trust_env=False
    )


async def _close(container: Container) -> None:
    await container.intake().close()
    if container.settings().store != "memory":
        await container.replicas().dispose()
        await container.engines().dispose()


@asynccontextmanager
async def opened_api(container: Container, app: ASGIApp | None = None) -> AsyncIterator[Api]:
    """Clients of the application that is built from the container; its lifespan is not run."""
    app = app or build_app(container)
    async with AsyncExitStack() as stack:

        async def client(caller: Caller | None = None) -> httpx.AsyncClient:
            if caller is None:
                return await stack.enter_async_context(_client(app))
            token = container.access_tokens().issue(caller)
            return await stack.enter_async_context(_client(app, Authorization=f"Bearer {token}"))

        async def user(username: str, role: Role = Role.CUSTOMER) -> Caller:
            created = await container.create_user()(
                caller=OPERATOR, username=username, password=PASSWORD, role=role
            )
            return Caller(user_id=created.id, role=role)

        customer = await user("customer")
        clock = container.clock()
        assert isinstance(clock, FakeClock)
        try:
            yield Api(
                container=container,
                clock=clock,
                anonymous=await client(),
                customer=await client(customer),
                customer_id=customer.user_id,
                other=await client(await user("other")),
                staff=await client(await user("staff", Role.STAFF)),
            )
        finally:
            await _close(container)


def order_of(*wanted: tuple[Product | int, int]) -> dict[str, Any]:
    """The body that orders these quantities."""
    return {
        "items": [
            {
                "product_id": product.id if isinstance(product, Product) else product,
                "quantity": quantity,
            }
            for product, quantity in wanted
        ]
    }


async def placed(client: httpx.AsyncClient, *wanted: tuple[Product | int, int]) -> dict[str, Any]:
    """An order, as the answer shows it."""
    response = await client.post("/api/orders/", json=order_of(*wanted))
    assert response.status_code == 201, response.text
    order: dict[str, Any] = response.json()
    return order


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of an answer, which must be this problem in the shape of all."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["type"] == f"urn:shop:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def wrong_fields(response: httpx.Response) -> list[str]:
    """The fields that a 400 names."""
    return [error["field"] for error in problem(response, 400, "invalid_fields")["errors"]]


def new_uuid(number: int) -> UUID:
    """UUIDs as clients make them, of version 4."""
    return UUID(int=number << 80 | 0x4 << 76 | 0b10 << 62)
