"""Stock and its ledger in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from shop.adapters.memory.database import Tables
from shop.domain.ports import StockRepository
from shop.domain.products import Product
from shop.domain.stock import StockAudit, StockMovement


class MemoryStockRepository(StockRepository):
    def __init__(self, tables: Tables) -> None:
        self._products = tables.products
        self._movements = tables.movements

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        return {
            product_id: self._products[product_id]
            for product_id in sorted(product_ids)
            if product_id in self._products
        }

    async def record(self, movements: Sequence[StockMovement]) -> None:
        for movement in movements:
            product = self._products[movement.product_id]
            self._products[product.id] = replace(product, stock=movement.balance)
            self._movements[len(self._movements) + 1] = movement

    async def audit(self, *, after: int, limit: int) -> Sequence[StockAudit]:
        audits = []
        for product_id in sorted(id_ for id_ in self._products if id_ > after)[:limit]:
            product = self._products[product_id]
            ledger = [
                self._movements[position]
                for position in sorted(self._movements)
                if self._movements[position].product_id == product_id
            ]
            audits.append(
                StockAudit(
                    product_id=product_id,
                    sku=product.sku,
                    on_hand=product.stock,
                    movements_sum=sum(movement.quantity for movement in ledger),
                    last_balance=ledger[-1].balance if ledger else 0,
                )
            )
        return audits
