"""Reading orders: customers see their own, staff see everybody's."""

from dataclasses import replace
from uuid import UUID

from shop.domain.errors import OrderNotFound
from shop.domain.orders import EventQuery, Order, OrderEvent, OrderQuery
from shop.domain.pages import Page, Part, read_page
from shop.domain.ports import UnitOfWorkFactory
from shop.domain.users import Caller


def check_visible(order: Order, caller: Caller) -> None:
    """Raises `OrderNotFound` unless the caller may see the order."""
    if order.user_id != caller.user_id and not caller.is_staff:
        raise OrderNotFound(order.id)


class ReadOrder:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self, *, caller: Caller, order_id: UUID) -> Order:
        """Raises `OrderNotFound`."""
        async with self._unit_of_work(read_only=True) as uow:
            order = await uow.orders.get(order_id)
        check_visible(order, caller)
        return order


class ReadHistory:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(
        self, *, caller: Caller, order_id: UUID, part: Part, count: int | None = None
    ) -> Page[OrderEvent]:
        """An order's moves, amendments and returns, the oldest first. Raises `OrderNotFound`."""
        async with self._unit_of_work(read_only=True) as uow:
            check_visible(await uow.orders.get(order_id), caller)
            return await read_page(uow.history, EventQuery(order_id=order_id), part, count=count)


class ListOrders:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(
        self, *, caller: Caller, query: OrderQuery, part: Part, count: int | None = None
    ) -> Page[Order]:
        if not caller.is_staff:
            query = replace(query, user_id=caller.user_id)
        async with self._unit_of_work(read_only=True) as uow:
            return await read_page(uow.orders, query, part, count=count)
