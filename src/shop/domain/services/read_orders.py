"""Reading orders: customers see their own, staff see everybody's."""

from dataclasses import dataclass, replace
from uuid import UUID

from shop.domain.errors import OrderNotFound
from shop.domain.orders import HistoryEntry, HistoryQuery, Order, OrderQuery
from shop.domain.pages import Count, Page, Window, read_page
from shop.domain.ports import OrderLookUp, UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class ReadOrder:
    look_up: OrderLookUp

    async def __call__(self, *, caller: Caller, order_id: UUID) -> Order:
        """Raises `OrderNotFound`."""
        order = await self.look_up(order_id)
        if order is None:
            raise OrderNotFound(order_id)
        order.require_visible(caller)
        return order


@dataclass(frozen=True, kw_only=True)
class ReadHistory:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(
        self, *, caller: Caller, order_id: UUID, window: Window, count: Count | None = None
    ) -> Page[HistoryEntry]:
        """An order's changes, the oldest first. Raises `OrderNotFound`."""
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            (await uow.orders.get(order_id)).require_visible(caller)
            return await read_page(
                uow.history, HistoryQuery(order_id=order_id), window, count=count
            )


@dataclass(frozen=True, kw_only=True)
class ListOrders:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(
        self, *, caller: Caller, query: OrderQuery, window: Window, count: Count | None = None
    ) -> Page[Order]:
        if not caller.is_staff:
            query = replace(query, user_id=caller.user_id)
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            return await read_page(uow.orders, query, window, count=count)
