"""The application as an attacker reaches it: nothing of it is replaced but what a test says."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import msgspec
from litestar.types import ASGIApp

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

    def __init__(self, container: Container, app: ASGIApp | None = None) -> None:
        self.container = container
        # httpx calls the same protocol otherwise.
        self._app = cast("Any", app or build_app(container))
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


# By their settings but for the database: applications that a test is done with, and what to open
# them with. Building one takes longer than most tests do.
_built: dict[Settings, list[tuple[Container, ASGIApp]]] = defaultdict(list)


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
    chosen = Settings(database_url=database_url, secret_key=secret_key, **settings)
    free = _built[msgspec.structs.replace(chosen, database_url="memory://")]
    container, app = free.pop() if free else (build_container(chosen), None)
    clock = clock or FakeClock()
    with (
        container.settings.override(chosen),
        container.hasher.override(hasher or PlainHasher()),
        container.clock.override(clock),
        container.monotonic.override(clock.monotonic),
    ):
        app = app or _build(container)
        door = Door(container, app)
        try:
            yield door
        finally:
            await door.close()
    # One that checks users remembers them, and files may have other keys in them by now.
    if not (chosen.check_users or chosen.signing_key_file or chosen.verification_keys_file):
        container.reset_singletons()
        free.append((container, app))


def _build(container: Container) -> ASGIApp:
    app = build_app(container)
    # The application has these two: they stay the container's, too.
    container.access_tokens.override(container.access_tokens())
    container.metrics.override(container.metrics())
    return app


def code_of(response: httpx.Response) -> str:
    """The code of a problem, which shows nothing of the inside."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert not {"traceback", "exception", "stack", "sql"} & set(body)
    return str(body["code"])
