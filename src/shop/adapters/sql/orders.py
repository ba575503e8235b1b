"""Orders in SQL."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import driver_of, read_from
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.lengths import ORDERS
from shop.adapters.sql.marks import lock_row
from shop.adapters.sql.pages import (
    Bound,
    SqlList,
    length_kept_as,
    parameter,
    read_counted_list,
    read_list,
)
from shop.adapters.sql.rows import ReadRow, Row, read_rows, written
from shop.domain.errors import OrderNotFound, PaymentReferenceTaken
from shop.domain.money import Money
from shop.domain.orders import Order, OrderLine, OrderQuery
from shop.domain.pages import Count, Window
from shop.domain.ports import OrderRepository

_orders, _lines = tables.orders, tables.order_lines
LINE_COLUMNS = [column for column in _lines.columns if column.name != "order_id"]


_BEFORE_ALL = UUID(int=0)


@lru_cache
def _next_orders(limit: int) -> Select[Any]:
    is_next = _orders.c.id > parameter("after", _orders.c.id)
    ids = select(_orders.c.id).where(is_next).order_by(_orders.c.id).limit(written(limit))
    part = ids.subquery("part")
    return (
        select(*_orders.columns, *LINE_COLUMNS)
        .join_from(part, _orders, _orders.c.id == part.c.id)
        .join(_lines, _lines.c.order_id == part.c.id)
        .order_by(_orders.c.id)
    )


class SqlOrderRepository(OrderRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, order_id: UUID) -> Order:
        orders = await self._read(_orders.c.id == order_id)
        if not orders:
            raise OrderNotFound(order_id)
        return orders[0]

    async def lock(self, order_id: UUID) -> Order:
        # The row first, its lines once it is locked: a join could see lines from before the wait.
        if not await lock_row(self._connection, _orders.c.id, order_id):
            raise OrderNotFound(order_id)
        return await self.get(order_id)

    async def find(self, order_ids: Collection[UUID]) -> dict[UUID, Order]:
        orders = await self._read(_orders.c.id.in_(order_ids))
        return {order.id: order for order in orders}

    async def read_window(self, query: OrderQuery, window: Window) -> Sequence[Order]:
        return orders_from(await read_list(self._connection, *_listed(query), window))

    async def read_counted(
        self, query: OrderQuery, window: Window
    ) -> tuple[Sequence[Order], Count]:
        rows, count = await read_counted_list(self._connection, *_listed(query), window)
        return orders_from(rows), count

    async def list_all(self, *, after: UUID | None, limit: int) -> Sequence[Order]:
        values = {"after": after or _BEFORE_ALL}
        rows = await read_from(driver_of(self._connection), _next_orders(limit), values)
        return orders_from(rows)

    async def save(self, order: Order) -> None:
        with refusing(PaymentReferenceTaken(str(order.payment_reference))):
            await self._connection.execute(
                update(_orders).where(_orders.c.id == order.id).values(order_row(order))
            )

    async def _read(self, *conditions: ColumnElement[bool]) -> list[Order]:
        """Orders with their lines in one statement: both are of one moment."""
        statement = (
            select(*_orders.columns, *LINE_COLUMNS)
            .join_from(_orders, _lines)
            .where(*conditions)
            .order_by(_orders.c.id)
        )
        return orders_from(await read_rows(self._connection, statement))


def orders_from(rows: Iterable[ReadRow]) -> list[Order]:
    """Rows have the columns of an order and those of a line; an order's are next to each other."""
    return [_order_from(list(group)) for _, group in groupby(rows, key=itemgetter("id"))]


def _order_from(rows: Sequence[ReadRow]) -> Order:
    """The order of rows that all have its columns, and each those of a line."""
    row = rows[0]
    return Order(
        id=row["id"],
        code=row["code"],
        user_id=row["user_id"],
        status=row["status"],
        lines=tuple(map(_line_from, sorted(rows, key=itemgetter("position")))),
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


def _listed(query: OrderQuery) -> tuple[SqlList, Row]:
    """The list that a query asks for, and the values of its parameters."""
    values: Row = {
        "user_id": query.user_id,
        "status": query.status,
        "created_after": query.created_after,
        "created_before": query.created_before,
        "code": query.code,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return _list_of(frozenset(given)), given | length_kept_as(ORDERS, query.user_id or 0)


@lru_cache
def _list_of(filters: frozenset[str]) -> SqlList:
    source: FromClause = _orders
    if "code" in filters:
        # One at most. Limited, so that it is looked for by nothing else.
        by_code = select(_orders).where(_orders.c.code == parameter("code", _orders.c.code))
        source = by_code.limit(written(1)).subquery("by_code")
    equal = sorted(filters & {"user_id", "status"})
    return SqlList(
        source=source,
        order=[source.c.created_at, source.c.id],
        descending=True,
        where=[source.c[name] == parameter(name, source.c[name]) for name in equal],
        lowest=Bound("created_after", is_included=False) if "created_after" in filters else None,
        highest=Bound("created_before", is_included=False) if "created_before" in filters else None,
        details=_details,
        is_length_kept=filters <= {"user_id"},
    )


def _details(part: Subquery) -> Select[Any]:
    return (
        select(*_orders.columns, *LINE_COLUMNS)
        .join_from(part, _orders, _orders.c.id == part.c.order_1)
        .join(_lines, _lines.c.order_id == part.c.order_1)
    )
