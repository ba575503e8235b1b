"""Orders in SQL."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.pages import count_rows, select_window
from shop.adapters.sql.rows import ReadRow, Row, lock_row, read_rows
from shop.domain.errors import OrderNotFound, PaymentReferenceTaken
from shop.domain.money import Money
from shop.domain.orders import Order, OrderLine, OrderQuery
from shop.domain.pages import Window
from shop.domain.ports import OrderRepository

_orders, _lines = tables.orders, tables.order_lines
LINE_COLUMNS = [column for column in _lines.columns if column.name not in ("order_id", "position")]


class SqlOrderRepository(OrderRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, order_id: UUID) -> Order:
        orders = await self._read(select(_orders).where(_orders.c.id == order_id))
        if not orders:
            raise OrderNotFound(order_id)
        return orders[0]

    async def lock(self, order_id: UUID) -> Order:
        # The row first, its lines once it is locked: a join could see lines from before the wait.
        if not await lock_row(self._connection, _orders.c.id, order_id):
            raise OrderNotFound(order_id)
        return await self.get(order_id)

    async def find(self, order_ids: Collection[UUID]) -> dict[UUID, Order]:
        orders = await self._read(select(_orders).where(_orders.c.id.in_(order_ids)))
        return {order.id: order for order in orders}

    async def read_window(self, query: OrderQuery, window: Window) -> Sequence[Order]:
        statement = select_window(
            select(_orders).where(*_conditions(query)),
            window,
            [_orders.c.created_at, _orders.c.id],
            descending=True,
        )
        return await self._read(statement)

    async def count(self, query: OrderQuery) -> int:
        return await count_rows(self._connection, _orders, _conditions(query))

    async def save(self, order: Order) -> None:
        with refusing(PaymentReferenceTaken(str(order.payment_reference))):
            await self._connection.execute(
                update(_orders).where(_orders.c.id == order.id).values(order_row(order))
            )

    async def save_lines(self, order: Order) -> None:
        await self._connection.execute(delete(_lines).where(_lines.c.order_id == order.id))
        await self._connection.execute(insert(_lines), list(line_rows(order)))

    async def _read(self, chosen: Select[Any]) -> list[Order]:
        """Orders with their lines, newest first, in one statement: both are of one moment."""
        some = chosen.subquery("some")
        rows = await read_rows(
            self._connection,
            select(some, *LINE_COLUMNS)
            .join_from(some, _lines, some.c.id == _lines.c.order_id)
            .order_by(some.c.created_at.desc(), some.c.id.desc(), _lines.c.position),
        )
        return [order_from(list(group)) for _, group in groupby(rows, key=itemgetter("id"))]


def order_from(rows: Sequence[ReadRow]) -> Order:
    """The order of rows that all have its columns, and each those of a line."""
    row = rows[0]
    return Order(
        id=row["id"],
        code=row["code"],
        user_id=row["user_id"],
        status=row["status"],
        lines=tuple(map(_line_from, rows)),
        currency=row["currency"],
        digest=row["digest"],
        version=row["version"],
        created_at=row["created_at"],
        modified_at=row["modified_at"],
        payment_reference=row["payment_reference"],
    )


def order_row(order: Order) -> Row:
    return {
        "id": order.id,
        "code": order.code,
        "user_id": order.user_id,
        "status": order.status,
        "currency": order.currency,
        "digest": order.digest,
        "version": order.version,
        "created_at": order.created_at,
        "modified_at": order.modified_at,
        "payment_reference": order.payment_reference,
    }


def _line_from(row: ReadRow) -> OrderLine:
    return OrderLine(
        product_id=row["product_id"],
        name=row["name"],
        price=Money(amount=row["price"], currency=row["currency"]),
        quantity=row["quantity"],
        returned=row["returned"],
    )


def line_rows(order: Order) -> Iterator[Row]:
    for position, line in enumerate(order.lines):
        yield {
            "order_id": order.id,
            "position": position,
            "product_id": line.product_id,
            "name": line.name,
            "price": line.price.amount,
            "quantity": line.quantity,
            "returned": line.returned,
        }


def _conditions(query: OrderQuery) -> Iterable[ColumnElement[bool]]:
    if query.user_id is not None:
        yield _orders.c.user_id == query.user_id
    if query.status is not None:
        yield _orders.c.status == query.status
    if query.created_after is not None:
        yield _orders.c.created_at > query.created_after
    if query.created_before is not None:
        yield _orders.c.created_at < query.created_before
    if query.code is not None:
        yield _orders.c.code == query.code
