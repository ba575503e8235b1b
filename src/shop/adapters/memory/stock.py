"""Stock and its ledger in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.adapters.windows import cut_window
from shop.domain.pages import Count, Window
from shop.domain.ports import StockRepository
from shop.domain.products import Product
from shop.domain.stock import (
    TAKING_REASONS,
    LedgerPosition,
    MovementQuery,
    OrderAudit,
    StockAudit,
    StockLevels,
    StockMovement,
)


class MemoryStockRepository(StockRepository):
    def __init__(self, tables: Tables) -> None:
        self._products = tables.products
        self._movements = tables.movements
        self._orders = tables.orders
        self._ids = tables.ids["movements"]

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
            stored = replace(movement, id=next(self._ids))
            self._movements[stored.id] = stored

    async def read_window(self, query: MovementQuery, window: Window) -> Sequence[StockMovement]:
        ledger = self._ledger(query.product_id)
        return cut_window(ledger, window, lambda movement: (movement.id,), descending=True)

    async def read_counted(
        self, query: MovementQuery, window: Window
    ) -> tuple[Sequence[StockMovement], Count]:
        return await self.read_window(query, window), Count(len(self._ledger(query.product_id)))

    async def list_all(self, *, after: int, limit: int) -> Sequence[StockMovement]:
        ids = sorted(id_ for id_ in self._movements if id_ > after)
        return [self._movements[id_] for id_ in ids[:limit]]

    async def audit(
        self, start: LedgerPosition, *, products: int, movements: int
    ) -> tuple[Sequence[StockAudit], LedgerPosition | None]:
        audits: list[StockAudit] = []
        position = start
        for product_id in sorted(id_ for id_ in self._products if id_ >= start.product_id):
            if product_id != position.product_id:
                position = LedgerPosition(product_id=product_id)
            if len(audits) == products:
                return audits, position
            rest = [m for m in self._ledger(product_id) if m.id > position.movement_id]
            part = rest[:movements]
            position = LedgerPosition(
                product_id=product_id,
                movement_id=part[-1].id if part else position.movement_id,
                movements_sum=position.movements_sum + sum(m.quantity for m in part),
                last_balance=part[-1].balance if part else position.last_balance,
            )
            if len(part) == movements:
                # There may be more.
                return audits, position
            movements -= len(part)
            product = self._products[product_id]
            audits.append(
                StockAudit(
                    product_id=product_id,
                    sku=product.sku,
                    on_hand=product.stock,
                    movements_sum=position.movements_sum,
                    last_balance=position.last_balance,
                )
            )
        return audits, None

    async def moved_last(self, *, products: int, movements: int) -> Sequence[int]:
        newest = sorted(self._movements, reverse=True)[:movements]
        # A dictionary keeps the order in which its keys came.
        moved = dict.fromkeys(self._movements[movement_id].product_id for movement_id in newest)
        return list(moved)[:products]

    async def audit_order(self, *, order_id: UUID, product_id: int) -> OrderAudit:
        taken = self._orders[order_id].out
        return OrderAudit(
            order_id=order_id,
            product_id=product_id,
            taken=taken.get(product_id, 0),
            moved=-sum(
                movement.quantity
                for movement in self._ledger(product_id)
                if movement.order_id == order_id and movement.reason in TAKING_REASONS
            ),
        )

    async def audit_orders(
        self, *, after: UUID | None, limit: int
    ) -> tuple[Sequence[OrderAudit], UUID | None]:
        ids = sorted(id_ for id_ in self._orders if after is None or id_ > after)[:limit]
        audits = [
            await self.audit_order(order_id=order_id, product_id=product_id)
            for order_id in ids
            for product_id in sorted(
                {line.product_id for line in self._orders[order_id].lines}
                | {m.product_id for m in self._movements.values() if m.order_id == order_id}
            )
        ]
        return [a for a in audits if a.taken != a.moved], ids[-1] if ids else None

    async def count_levels(self, after: int, *, low: int, limit: int) -> StockLevels:
        ids = sorted(id_ for id_ in self._products if id_ > after)[:limit]
        some = [self._products[id_] for id_ in ids]
        stocks = [product.stock for product in some if not product.archived]
        return StockLevels(
            out_of_stock=stocks.count(0),
            low=sum(1 <= stock <= low for stock in stocks),
            below_zero=sum(product.stock < 0 for product in some),
            last=ids[-1] if ids else None,
        )

    def _ledger(self, product_id: int) -> list[StockMovement]:
        """A product's movements, the oldest first."""
        movements = [m for m in self._movements.values() if m.product_id == product_id]
        return sorted(movements, key=lambda movement: movement.id)
