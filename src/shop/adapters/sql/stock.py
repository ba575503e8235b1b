"""Stock and its ledger in SQL."""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.products import product_from, select_products
from shop.domain.ports import StockRepository
from shop.domain.products import Product
from shop.domain.stock import StockAudit, StockMovement

_products, _stock, _movements = tables.products, tables.stock, tables.stock_movements


class SqlStockRepository(StockRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        # SQLite ignores FOR UPDATE: its transaction holds the only write lock from the start.
        # NO KEY: a lock that the foreign-key checks of other orders need not wait for.
        statement = (
            select_products()
            .where(_stock.c.product_id.in_(product_ids))
            .order_by(_stock.c.product_id)
            .with_for_update(key_share=True, of=_stock)
        )
        rows = await self._connection.execute(statement)
        return {row.id: product_from(row) for row in rows}

    async def record(self, movements: Sequence[StockMovement]) -> None:
        if not movements:
            return
        balances = {movement.product_id: movement.balance for movement in movements}
        await self._connection.execute(
            update(_stock)
            .where(_stock.c.product_id == bindparam("product"))
            .values(on_hand=bindparam("balance")),
            [{"product": product, "balance": balance} for product, balance in balances.items()],
        )
        await self._connection.execute(
            insert(_movements),
            [
                {
                    "product_id": movement.product_id,
                    "quantity": movement.quantity,
                    "balance": movement.balance,
                    "reason": movement.reason.value,
                    "order_id": movement.order_id,
                    "actor_id": movement.actor_id,
                    "note": movement.note,
                    "at": movement.at,
                }
                for movement in movements
            ],
        )

    async def audit(self, *, after: int, limit: int) -> Sequence[StockAudit]:
        # One statement sees one moment, so a sale in between cannot look like a difference.
        some = (
            select(_products.c.id, _products.c.sku, _stock.c.on_hand)
            .join_from(_products, _stock)
            .where(_products.c.id > after)
            .order_by(_products.c.id)
            .limit(limit)
            .subquery()
        )
        of_product = _movements.c.product_id == some.c.id
        movements_sum = select(func.coalesce(func.sum(_movements.c.quantity), 0)).where(of_product)
        last_balance = (
            select(_movements.c.balance).where(of_product).order_by(_movements.c.id.desc()).limit(1)
        )
        rows = await self._connection.execute(
            select(
                some.c.id,
                some.c.sku,
                some.c.on_hand,
                movements_sum.scalar_subquery().label("movements_sum"),
                func.coalesce(last_balance.scalar_subquery(), 0).label("last_balance"),
            ).order_by(some.c.id)
        )
        return [
            StockAudit(
                product_id=row.id,
                sku=row.sku,
                on_hand=row.on_hand,
                movements_sum=int(row.movements_sum),
                last_balance=row.last_balance,
            )
            for row in rows
        ]
