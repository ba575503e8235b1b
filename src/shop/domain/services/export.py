"""All there is, step by step: for files, which may be longer than any list that is shown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from shop.domain.orders import Order
from shop.domain.ports import UnitOfWorkFactory
from shop.domain.products import Product
from shop.domain.services.retrying import retrying
from shop.domain.stock import StockMovement
from shop.domain.users import OPERATOR, Caller

PER_STEP = 2_000
ORDERS_PER_STEP = 500
"""Each may have a hundred lines."""

T = TypeVar("T")
K = TypeVar("K")

# Each step sees its own moment: one transaction for all would keep the database from removing what
# is outdated, for as long as the file takes.


@dataclass(frozen=True, kw_only=True)
class ExportProducts:
    """Products by id, the archived ones too."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> AsyncIterator[Sequence[Product]]:
        """Step by step. Raises `OperatorOnly`."""
        caller.require_operator()
        async for step in _steps(self._read, 0, lambda product: product.id):
            yield step

    @retrying
    async def _read(self, after: int) -> Sequence[Product]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.products.list_all(after=after, limit=PER_STEP)


@dataclass(frozen=True, kw_only=True)
class ExportOrders:
    """Orders by id, with their lines."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> AsyncIterator[Sequence[Order]]:
        """Step by step. Raises `OperatorOnly`."""
        caller.require_operator()
        async for step in _steps(self._read, None, lambda order: order.id):
            yield step

    @retrying
    async def _read(self, after: UUID | None) -> Sequence[Order]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.orders.list_all(after=after, limit=ORDERS_PER_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Movements in the ledger's order, and the SKUs of their products by id."""

    movements: Sequence[StockMovement]
    skus: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class ExportLedger:
    """The stock's ledger, the oldest movement first."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> AsyncIterator[Moved]:
        """Step by step. Raises `OperatorOnly`."""
        caller.require_operator()
        async for step in _steps(self._read, 0, lambda movement: movement.id):
            yield Moved(movements=step, skus=await self._skus({each.product_id for each in step}))

    @retrying
    async def _read(self, after: int) -> Sequence[StockMovement]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.stock.list_all(after=after, limit=PER_STEP)

    @retrying
    async def _skus(self, product_ids: set[int]) -> Mapping[int, str]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            products = await uow.details.products(product_ids)
        return {product_id: product.sku for product_id, product in products.items()}


async def _steps(
    read: Callable[[K], Awaitable[Sequence[T]]], start: K, key: Callable[[T], K]
) -> AsyncIterator[Sequence[T]]:
    after = start
    while step := await read(after):
        yield step
        after = key(step[-1])
