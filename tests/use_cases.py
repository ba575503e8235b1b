"""The use cases over a store: the shop's own container, with other leaves."""

from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any
from uuid import UUID

from dependency_injector import providers

from shop.domain.errors import ShopError
from shop.domain.events import Event
from shop.domain.orders import HistoryEntry, Placed
from shop.domain.pages import Window
from shop.domain.products import Product
from shop.domain.services.sign_in import SignedIn
from shop.domain.services.verify_stock import OrdersChecked, ProductsChecked
from shop.domain.stock import OrderAudit, StockAudit
from shop.domain.users import OPERATOR, Caller, Role
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.settings import Settings
from tests.builders import (
    PASSWORD,
    FakeClock,
    PlainHasher,
    money,
    numbered_codes,
    numbered_ids,
    numbered_secrets,
)
from tests.stores import OpenUnitOfWork

ADDRESS = "192.0.2.1"


def is_common(password: str) -> bool:
    return password == "password1"


class RecordedAudit:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: Event) -> None:
        who: dict[str, object] = {"user": event.by.actor_id} if event.by is not None else {}
        self.events.append((event.name, {**who, **event.about}))

    def listen(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.security:
                self(event)


_SETTINGS = Settings(
    database_url="memory://", secret_key="x" * 32, registration=True, refreshes_per_minute=0
)
# Those that a test is done with: making one takes longer than many a test.
_containers: list[Container] = []


class UseCases:
    """One process of the shop: its clock, its intake, and every use case by its name.

    Several of them may share a store if each has a `process` number of its own.
    """

    def __init__(self, unit_of_work: OpenUnitOfWork, *, process: int = 1) -> None:
        start = process * 1_000_000
        self.clock = FakeClock()
        self.hasher = PlainHasher()
        self.audit = RecordedAudit()
        self.container = _containers.pop() if _containers else build_container(_SETTINGS)
        for leaf, fake in {
            "clock": self.clock,
            "monotonic": self.clock.monotonic,
            "hasher": self.hasher,
            "audit": self.audit,
            "is_common_password": is_common,
            "new_id": numbered_ids(start),
            "new_order_code": numbered_codes(start),
            "new_refresh_token": numbered_secrets(start),
        }.items():
            self.container.providers[leaf].override(fake)
        listening = providers.Factory(unit_of_work, listeners=[self.audit.listen])
        self.container.unit_of_work.override(listening)
        self._numbers = count(start)

    async def close(self) -> None:
        """Nobody uses it any more: the next test may have its container."""
        await self.container.intake().close()
        self.container.reset_singletons()
        for provider in self.container.providers.values():
            provider.reset_override()
        self.container.settings.override(_SETTINGS)
        _containers.append(self.container)

    def __getattr__(self, name: str) -> Any:
        """The container's: a use case needs no line of its own here."""
        return self.container.providers[name]()

    async def sign_in(self, *, username: str, password: str, client: str = "") -> SignedIn:
        """From an address that does not matter."""
        return await self.container.sign_in()(
            username=username, password=password, address=ADDRESS, client=client
        )

    async def given_product(
        self, stock: int = 10, *, name: str = "Teapot", price: int = 1200, sku: str | None = None
    ) -> Product:
        return await self.container.create_product()(
            caller=OPERATOR,
            sku=sku or f"SKU-{next(self._numbers)}",
            name=name,
            price=money(price),
            stock=stock,
        )

    async def given_customer(self, username: str | None = None) -> Caller:
        return await self._given_user(username, Role.CUSTOMER)

    async def given_staff(self, username: str | None = None) -> Caller:
        return await self._given_user(username, Role.STAFF)

    async def _given_user(self, username: str | None, role: Role) -> Caller:
        username = username or f"user-{next(self._numbers)}"
        user = await self.container.create_user()(
            caller=OPERATOR, username=username, password=PASSWORD, role=role
        )
        return Caller(user_id=user.id, role=role)

    async def stock_of(self, product: Product) -> int:
        read_product = self.container.read_product()
        return (await read_product(caller=OPERATOR, product_id=product.id)).stock

    async def audits(self) -> list[StockAudit]:
        """The products whose stock, movements and last balance differ."""
        return [
            difference
            async for step in self._steps()
            if isinstance(step, ProductsChecked)
            for difference in step.differences
        ]

    async def order_audits(self) -> list[OrderAudit]:
        """The orders that differ from their movements."""
        return [
            difference
            async for step in self._steps()
            if isinstance(step, OrdersChecked)
            for difference in step.differences
        ]

    async def differences(self) -> list[StockAudit | OrderAudit]:
        return [difference async for step in self._steps() for difference in step.differences]

    def _steps(self) -> AsyncIterator[ProductsChecked | OrdersChecked]:
        return self.container.verify_stock()(caller=OPERATOR)

    async def history_of(self, order_id: UUID) -> list[HistoryEntry]:
        read_history = self.container.read_history()
        page = await read_history(caller=OPERATOR, order_id=order_id, window=Window(limit=1000))
        return list(page.items)


def placed(answer: Placed | ShopError) -> Placed:
    """The answer, which must not be a refusal."""
    if isinstance(answer, ShopError):
        raise answer
    return answer
