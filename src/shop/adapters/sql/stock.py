"""Stock and its ledger in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import driver_of, read_from
from shop.adapters.sql.marks import lock_rows
from shop.adapters.sql.pages import SqlList, parameter, read_counted_list, read_list
from shop.adapters.sql.products import product_from, select_products
from shop.adapters.sql.rows import ReadRow, read_rows, row_maker, written
from shop.domain.orders import GIVEN_BACK
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

_products, _stock, _movements = tables.products, tables.stock, tables.stock_movements
_orders, _lines = tables.orders, tables.order_lines
movement_row = row_maker(_movements)


_LEDGER = SqlList(
    source=_movements,
    order=[_movements.c.id],
    descending=True,
    where=[_movements.c.product_id == parameter("product_id", _movements.c.product_id)],
    details=lambda part: select(_movements).join_from(
        part, _movements, _movements.c.id == part.c.order_0
    ),
)


@lru_cache
def _next_movements_of_all(limit: int) -> Select[Any]:
    is_next = _movements.c.id > parameter("after", _movements.c.id)
    return select(_movements).where(is_next).order_by(_movements.c.id).limit(written(limit))


class SqlStockRepository(StockRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        # KEY SHARE: a lock that the foreign-key checks of other orders need not wait for. In id
        # order, so that two transactions that want the same products never wait for each other in
        # a circle. SQLite has one writer at a time anyway. The products are read when the locks are
        # held: a join could see some from before the wait.
        are_these = _stock.c.product_id.in_(product_ids)
        await lock_rows(self._connection, _stock.c.product_id, are_these)
        rows = await read_rows(
            self._connection, select_products().where(are_these).order_by(_stock.c.product_id)
        )
        return {row["id"]: product_from(row) for row in rows}

    async def record(self, movements: Sequence[StockMovement]) -> None:
        if not movements:
            return
        balances = last_balances(movements)
        await self._connection.execute(
            update(_stock)
            .where(_stock.c.product_id == bindparam("of_product"))
            .values(on_hand=bindparam("balance")),
            [{"of_product": product, "balance": balance} for product, balance in balances.items()],
        )
        await self._connection.execute(
            insert(_movements), [movement_row(movement) for movement in movements]
        )

    async def read_window(self, query: MovementQuery, window: Window) -> Sequence[StockMovement]:
        rows = await read_list(self._connection, _LEDGER, asdict(query), window)
        return [_movement_from(row) for row in rows]

    async def read_counted(
        self, query: MovementQuery, window: Window
    ) -> tuple[Sequence[StockMovement], Count]:
        rows, count = await read_counted_list(self._connection, _LEDGER, asdict(query), window)
        return [_movement_from(row) for row in rows], count

    async def list_all(self, *, after: int, limit: int) -> Sequence[StockMovement]:
        statement = _next_movements_of_all(limit)
        rows = await read_from(driver_of(self._connection), statement, {"after": after})
        return [_movement_from(row) for row in rows]

    async def audit(
        self, start: LedgerPosition, *, products: int, movements: int
    ) -> tuple[Sequence[StockAudit], LedgerPosition | None]:
        # One statement sees one moment, so a sale in between cannot look like a difference.
        rows = list(await self._connection.execute(_stock_audits(start, products, movements)))
        were_read = sum(row.number for row in rows)
        last_read = max((row.id for row in rows if row.number), default=start.product_id)
        audits: list[StockAudit] = []
        for row in rows:
            carried = start if row.id == start.product_id else LedgerPosition()
            position = LedgerPosition(
                product_id=row.id,
                movement_id=row.last_movement or carried.movement_id,
                movements_sum=carried.movements_sum + int(row.movements_sum),
                last_balance=carried.last_balance if row.balance is None else row.balance,
            )
            if were_read == movements and row.id == last_read:
                # It may have more, and those after it have not been looked at.
                return audits, position
            audits.append(
                StockAudit(
                    product_id=row.id,
                    sku=row.sku,
                    on_hand=row.on_hand,
                    movements_sum=position.movements_sum,
                    last_balance=position.last_balance,
                )
            )
        is_end = len(rows) < products
        return audits, None if is_end else LedgerPosition(product_id=rows[-1].id + 1)

    async def moved_last(self, *, products: int, movements: int) -> Sequence[int]:
        newest = (
            select(_movements.c.id, _movements.c.product_id)
            .order_by(_movements.c.id.desc())
            .limit(movements)
            .subquery()
        )
        moved = (
            select(newest.c.product_id)
            .group_by(newest.c.product_id)
            .order_by(func.max(newest.c.id).desc())
            .limit(products)
        )
        return list(await self._connection.scalars(moved))

    async def audit_order(self, *, order_id: UUID, product_id: int) -> OrderAudit:
        rows = await self._connection.execute(_order_audits([_orders.c.id == order_id]))
        audits = {row.product_id: _order_audit(row) for row in rows}
        nothing = OrderAudit(order_id=order_id, product_id=product_id, taken=0, moved=0)
        return audits.get(product_id, nothing)

    async def audit_orders(
        self, *, after: UUID | None, limit: int
    ) -> tuple[Sequence[OrderAudit], UUID | None]:
        beyond = [] if after is None else [_orders.c.id > after]
        ids = select(_orders.c.id).where(*beyond).order_by(_orders.c.id).limit(limit).subquery()
        last = await self._connection.scalar(select(ids.c.id).order_by(ids.c.id.desc()).limit(1))
        if last is None:
            return [], None
        audits = _order_audits([*beyond, _orders.c.id <= last])
        taken, moved = audits.selected_columns.taken, audits.selected_columns.moved
        rows = await self._connection.execute(audits.having(taken != moved))
        return [_order_audit(row) for row in rows], last

    async def count_levels(self, after: int, *, low: int, limit: int) -> StockLevels:
        # Of a product that is for sale the narrow table says so: see `tables.listings`.
        some = (
            select(_stock.c.product_id, _stock.c.on_hand, tables.listings.c.archived)
            .join_from(_stock, tables.listings, tables.listings.c.product_id == _stock.c.product_id)
            .where(_stock.c.product_id > after)
            .order_by(_stock.c.product_id)
            .limit(limit)
            .subquery()
        )
        for_sale = some.c.archived == False  # noqa: E712 - a column
        levels = {
            "out_of_stock": and_(for_sale, some.c.on_hand == 0),
            "low": and_(for_sale, some.c.on_hand.between(1, low)),
            "below_zero": some.c.on_hand < 0,
        }
        counts = [func.count().filter(which).label(name) for name, which in levels.items()]
        statement = select(*counts, func.max(some.c.product_id).label("last"))
        [row] = await read_rows(self._connection, statement)
        return StockLevels(**row)


def _movement_from(row: ReadRow) -> StockMovement:
    return StockMovement(**{column.name: row[column.name] for column in _movements.columns})


def last_balances(movements: Sequence[StockMovement]) -> dict[int, int]:
    """What the movements leave of each product."""
    return {movement.product_id: movement.balance for movement in movements}


def _stock_audits(start: LedgerPosition, products: int, movements: int) -> Select[Any]:
    """Of the next products: what is on hand, and what the next movements in the ledger come to."""
    some = (
        select(_products.c.id, _products.c.sku, _stock.c.on_hand)
        .join_from(_products, _stock)
        .where(_products.c.id >= start.product_id)
        .order_by(_products.c.id)
        .limit(products)
        .cte("some")
    )
    # Apart, so that SQLite finds where to go on by its index; of a comparison of both columns it
    # uses the first only, and would walk from the product's first movement in each step.
    rest = _next_movements(
        [_movements.c.product_id == start.product_id, _movements.c.id > start.movement_id],
        movements,
    )
    others = _next_movements(
        [
            _movements.c.product_id > start.product_id,
            _movements.c.product_id <= select(func.max(some.c.id)).scalar_subquery(),
        ],
        movements,
    )
    both = union_all(rest, others).subquery()
    part = select(both).order_by(both.c.product_id, both.c.id).limit(written(movements)).subquery()
    sums = (
        select(
            part.c.product_id,
            func.count().label("number"),
            func.sum(part.c.quantity).label("movements_sum"),
            func.max(part.c.id).label("last_movement"),
        )
        .group_by(part.c.product_id)
        .subquery("sums")
    )
    balance = select(_movements.c.balance).where(_movements.c.id == sums.c.last_movement)
    return (
        select(
            some.c.id,
            some.c.sku,
            some.c.on_hand,
            func.coalesce(sums.c.number, 0).label("number"),
            func.coalesce(sums.c.movements_sum, 0).label("movements_sum"),
            sums.c.last_movement,
            balance.scalar_subquery().label("balance"),
        )
        .join_from(some, sums, sums.c.product_id == some.c.id, isouter=True)
        .order_by(some.c.id)
    )


def _next_movements(which: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    some = (
        select(_movements.c.product_id, _movements.c.id, _movements.c.quantity)
        .where(*which)
        .order_by(_movements.c.product_id, _movements.c.id)
        .limit(written(limit))
    )
    return select(some.subquery())


def _order_audits(which: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Of each of these orders and its products: what is taken by its lines, and by the ledger."""
    some = select(_orders.c.id, _orders.c.status).where(*which).subquery()
    is_given_back = some.c.status.in_(GIVEN_BACK)
    by_lines = select(
        _lines.c.order_id,
        _lines.c.product_id,
        case((is_given_back, 0), else_=_lines.c.quantity - _lines.c.returned).label("taken"),
        literal(0).label("moved"),
    ).join_from(some, _lines, _lines.c.order_id == some.c.id)
    by_ledger = (
        select(
            _movements.c.order_id,
            _movements.c.product_id,
            literal(0).label("taken"),
            (-_movements.c.quantity).label("moved"),
        )
        .join_from(some, _movements, _movements.c.order_id == some.c.id)
        .where(_movements.c.reason.in_(TAKING_REASONS))
    )
    both = union_all(by_lines, by_ledger).subquery()
    return select(
        both.c.order_id,
        both.c.product_id,
        func.sum(both.c.taken).label("taken"),
        func.sum(both.c.moved).label("moved"),
    ).group_by(both.c.order_id, both.c.product_id)


def _order_audit(row: Row[Any]) -> OrderAudit:
    return OrderAudit(
        order_id=row.order_id,
        product_id=row.product_id,
        taken=int(row.taken),
        moved=int(row.moved),
    )
