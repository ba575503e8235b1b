"""Orders in SQL."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import violates
from shop.adapters.sql.pages import select_part
from shop.domain.errors import OrderNotFound, PaymentReferenceTaken
from shop.domain.money import Money
from shop.domain.orders import Order, OrderLine, OrderQuery, OrderStatus
from shop.domain.pages import Part
from shop.domain.ports import OrderRepository

_orders, _lines = tables.orders, tables.order_lines


class SqlOrderRepository(OrderRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, order_id: UUID) -> Order:
        return await self._one(select(_orders).where(_orders.c.id == order_id), order_id)

    async def lock(self, order_id: UUID) -> Order:
        # The row first, its lines once it is locked: a join could see lines from before the wait.
        locked = await self._connection.scalar(
            select(_orders.c.id).where(_orders.c.id == order_id).with_for_update(key_share=True)
        )
        if locked is None:
            raise OrderNotFound(order_id)
        return await self.get(order_id)

    async def find(self, order_ids: Collection[UUID]) -> dict[UUID, Order]:
        orders = await self._read(select(_orders).where(_orders.c.id.in_(order_ids)))
        return {order.id: order for order in orders}

    async def read_part(self, query: OrderQuery, part: Part) -> Sequence[Order]:
        statement = select_part(
            select(_orders).where(*_conditions(query)),
            part,
            [_orders.c.created_at, _orders.c.id],
            descending=True,
        )
        return await self._read(statement)

    async def count(self, query: OrderQuery) -> int:
        statement = select(func.count()).select_from(_orders).where(*_conditions(query))
        return await self._connection.scalar(statement) or 0

    async def save(self, order: Order) -> None:
        statement = (
            update(_orders)
            .where(_orders.c.id == order.id)
            .values(
                status=order.status.value,
                version=order.version,
                modified_at=order.modified_at,
                payment_reference=order.payment_reference,
            )
        )
        try:
            await self._connection.execute(statement)
        except IntegrityError as error:
            if violates(
                error,
                constraint="orders_payment_reference_key",
                sqlite_columns="orders.payment_reference",
            ):
                raise PaymentReferenceTaken(str(order.payment_reference)) from error
            raise

    async def save_lines(self, order: Order) -> None:
        await self._connection.execute(delete(_lines).where(_lines.c.order_id == order.id))
        await self._connection.execute(insert(_lines), list(line_rows(order)))

    async def _one(self, chosen: Select[Any], order_id: UUID) -> Order:
        orders = await self._read(chosen)
        if not orders:
            raise OrderNotFound(order_id)
        return orders[0]

    async def _read(self, chosen: Select[Any]) -> list[Order]:
        """Orders with their lines, newest first, in one statement: both are of one moment."""
        some = chosen.subquery("some")
        rows = await self._connection.execute(
            select(
                some,
                _lines.c.product_id,
                _lines.c.name,
                _lines.c.price,
                _lines.c.quantity,
                _lines.c.returned,
            )
            .join_from(some, _lines, some.c.id == _lines.c.order_id)
            .order_by(some.c.created_at.desc(), some.c.id.desc(), _lines.c.position)
        )
        return [_order_from(list(group)) for _, group in groupby(rows, key=lambda row: row.id)]


def _order_from(rows: list[Row[Any]]) -> Order:
    first = rows[0]
    return Order(
        id=first.id,
        code=first.code,
        user_id=first.user_id,
        status=OrderStatus(first.status),
        lines=tuple(
            OrderLine(
                product_id=row.product_id,
                name=row.name,
                price=Money(amount=row.price, currency=first.currency),
                quantity=row.quantity,
                returned=row.returned,
            )
            for row in rows
        ),
        currency=first.currency,
        digest=first.digest,
        version=first.version,
        created_at=first.created_at,
        modified_at=first.modified_at,
        payment_reference=first.payment_reference,
    )


def line_rows(order: Order) -> Iterator[dict[str, object]]:
    """What is stored of an order's lines, by column."""
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
        yield _orders.c.status == query.status.value
    if query.created_after is not None:
        yield _orders.c.created_at > query.created_after
    if query.created_before is not None:
        yield _orders.c.created_at < query.created_before
    if query.code is not None:
        yield _orders.c.code == query.code
