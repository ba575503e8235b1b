"""The application as an attacker reaches it: nothing of it is replaced but what a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

from shop.domain.money import Money
from shop.domain.ports import PasswordHasher
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Caller, Role
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.http.app import build_app
from shop.entrypoints.settings import Settings
from tests.builders import PASSWORD, FakeClock, PlainHasher

HOST = "http://shop.test"
SECRET_KEY = "a key for tests: long enough to be one"
HERE = "192.0.2.1"


class Door:
    """One application process: its container, and clients at whatever address."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._app = cast("Any", build_app(container))  # httpx calls the same protocol otherwise
        self._clients: dict[str, httpx.AsyncClient] = {}

    def at(self, address: str = HERE) -> httpx.AsyncClient:
        """A client at this address that is not signed in and shows what it is told to."""
        if address not in self._clients:
            transport = httpx.ASGITransport(
                self._app, client=(address, 40_000), raise_app_exceptions=False
            )
            self._clients[address] = httpx.AsyncClient(
                transport=transport, base_url=HOST, trust_env=False, headers={"User-Agent": "test"}
            )
        return self._clients[address]

    @property
    def clock(self) -> FakeClock:
        clock = self.container.clock()
        assert isinstance(clock, FakeClock)
        return clock

    async def create(self, name: str, role: Role = Role.CUSTOMER) -> Caller:
        user = await self.container.create_user()(
            caller=OPERATOR, username=name, password=PASSWORD, role=role
        )
        return Caller(user_id=user.id, role=role)

    def signed_in(self, caller: Caller) -> dict[str, str]:
        """The header of a request of theirs."""
        return {"Authorization": f"Bearer {self.container.access_tokens().issue(caller)}"}

    async def sign_in(
        self, name: str, password: str = PASSWORD, *, address: str = HERE, **headers: str
    ) -> httpx.Response:
        return await self.at(address).post(
            "/api/token/", json={"username": name, "password": password}, headers=headers
        )

    async def given_product(self, sku: str = "TEA-1", *, stock: int = 10) -> Product:
        return await self.container.create_product()(
            caller=OPERATOR,
            sku=sku,
            name="Teapot",
            description="",
            price=Money(amount=1200, currency="EUR"),
            stock=stock,
        )

    async def stock_of(self, product: Product) -> int:
        return (await self.container.read_product()(caller=OPERATOR, product_id=product.id)).stock

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        await self.container.intake().close()
        if self.container.settings().store != "memory":
            await self.container.engines().dispose()


@asynccontextmanager
async def opened(
    database_url: str = "memory://",
    *,
    hasher: PasswordHasher | None = None,
    clock: FakeClock | None = None,
    secret_key: str = SECRET_KEY,
    **settings: Any,
) -> AsyncIterator[Door]:
    """An application over this store; hashes cost nothing and time stands still."""
    container = build_container(
        Settings(database_url=database_url, secret_key=secret_key, **settings)
    )
    container.hasher.override(hasher or PlainHasher())
    clock = clock or FakeClock()
    container.clock.override(clock)
    container.monotonic.override(clock.monotonic)
    door = Door(container)
    try:
        yield door
    finally:
        await door.close()


def code_of(response: httpx.Response) -> str:
    """The code of a problem, which shows nothing of the inside."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert not {"traceback", "exception", "stack", "sql"} & set(body)
    return str(body["code"])
