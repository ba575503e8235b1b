"""What many ask for at once by ids, in memory."""

from collections.abc import Collection
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.domain.orders import Order
from shop.domain.ports import DetailRepository
from shop.domain.products import Product


class MemoryDetailRepository(DetailRepository):
    def __init__(self, tables: Tables) -> None:
        self._products, self._orders = tables.products, tables.orders

    async def products(self, ids: Collection[int]) -> dict[int, Product]:
        return {each: self._products[each] for each in ids if each in self._products}

    async def orders(self, ids: Collection[UUID]) -> dict[UUID, Order]:
        return {each: self._orders[each] for each in ids if each in self._orders}
