"""Orders in memory."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.adapters.windows import cut_window
from shop.domain.errors import OrderNotFound, PaymentReferenceTaken
from shop.domain.orders import Order, OrderQuery
from shop.domain.pages import Count, Window
from shop.domain.ports import OrderRepository


class MemoryOrderRepository(OrderRepository):
    def __init__(self, tables: Tables) -> None:
        self._orders = tables.orders

    async def get(self, order_id: UUID) -> Order:
        try:
            return self._orders[order_id]
        except KeyError:
            raise OrderNotFound(order_id) from None

    async def lock(self, order_id: UUID) -> Order:
        return await self.get(order_id)

    async def read_window(self, query: OrderQuery, window: Window) -> Sequence[Order]:
        return cut_window(self._matching(query), window, lambda order: order.key, descending=True)

    async def read_counted(
        self, query: OrderQuery, window: Window
    ) -> tuple[Sequence[Order], Count]:
        return await self.read_window(query, window), Count(len(self._matching(query)))

    async def list_all(self, *, after: UUID | None, limit: int) -> Sequence[Order]:
        ids = sorted(id_ for id_ in self._orders if after is None or id_ > after)
        return [self._orders[id_] for id_ in ids[:limit]]

    async def save(self, order: Order) -> None:
        reference = order.payment_reference
        if reference is not None and any(
            other.payment_reference == reference and other.id != order.id
            for other in self._orders.values()
        ):
            raise PaymentReferenceTaken(reference)
        self._orders[order.id] = replace(order, lines=self._orders[order.id].lines)

    def _matching(self, query: OrderQuery) -> Sequence[Order]:
        return [
            order
            for order in self._orders.values()
            if (query.user_id is None or order.user_id == query.user_id)
            and (query.status is None or order.status is query.status)
            and (query.created_after is None or order.created_at > query.created_after)
            and (query.created_before is None or order.created_at < query.created_before)
            and (query.code is None or order.code == query.code)
        ]
