"""Batches of orders and products in memory."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.adapters.memory.history import MemoryHistoryRepository
from shop.adapters.memory.keys import MemoryKeyRepository
from shop.adapters.memory.stock import MemoryStockRepository
from shop.domain.errors import SkuTaken, WriteConflict
from shop.domain.keys import KeyedRequest, Place
from shop.domain.orders import Order, products_on
from shop.domain.ports import Batch, BatchRepository, Changes
from shop.domain.products import Offer, Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded


class MemoryBatchRepository(BatchRepository):
    def __init__(self, tables: Tables) -> None:
        self._orders = tables.orders
        self._users = tables.users
        self._products = tables.products
        self._product_ids = tables.ids["products"]
        self._stock = MemoryStockRepository(tables)
        self._history = MemoryHistoryRepository(tables)
        self._keys = MemoryKeyRepository(tables)

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        user_ids: Collection[int],
        changing: Collection[UUID] | None = None,
        keys: Collection[KeyedRequest] = (),
        wait_for: Collection[int | UUID | Place] | None = None,
    ) -> Batch:
        """There is nothing to wait for: one transaction is open at a time."""
        users = [self._users[id_] for id_ in user_ids if id_ in self._users]
        ids = {*order_ids, *(changing or ())}
        orders = {id_: self._orders[id_] for id_ in ids if id_ in self._orders}
        given_back = products_on(orders[id_] for id_ in changing or () if id_ in orders)
        answers = await self._keys.claim(keys)
        return Batch(
            orders=orders,
            claimed={key.place for key in keys} - answers.keys(),
            answers=answers,
            products=await self._stock.lock({*product_ids, *given_back}),
            disabled=[user.id for user in users if user.disabled],
            roles={user.id: user.role for user in users},
        )

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Offer],
        changes: Changes | None = None,
    ) -> None:
        """Products cannot have changed: one transaction is open at a time."""
        codes = {order.code for order in self._orders.values()}
        for order in orders:
            if order.id in self._orders or order.code in codes:
                raise WriteConflict("Another request was faster; try again.")
            codes.add(order.code)
            self._orders[order.id] = order
        if changes is not None:
            self._orders.update({order.id: order for order in changes.orders})
            for entry in changes.history:
                await self._history.add(entry)
            for answer in changes.answers:
                await self._keys.store(answer)
        await self._stock.record(movements)

    async def new_product_ids(self, count: int) -> Sequence[int]:
        return [next(self._product_ids) for _ in range(count)]

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        taken = {folded(product.sku) for product in self._products.values()}
        for product in products:
            if folded(product.sku) in taken:
                raise SkuTaken(None)
            taken.add(folded(product.sku))
            self._products[product.id] = product
        await self._stock.record(movements)

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        keys = {folded(sku) for sku in skus}
        found = defaultdict(list)
        for product in self._products.values():
            if (key := folded(product.sku)) in keys:
                found[key].append(product)
        return found

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        for product in products:
            stock = self._products[product.id].stock
            self._products[product.id] = replace(product, stock=stock)
        await self._stock.record(movements)
