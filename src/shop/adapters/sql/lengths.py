"""How long the longest lists are, in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.rows import insert_into, read_rows
from shop.adapters.system import utc_now
from shop.domain.pages import COUNTED_MAX, CountedList, ListLength
from shop.domain.ports import LengthRepository

PRODUCTS, IN_STOCK, SOLD_OUT = "products", "products in stock", "products sold out"
ORDERS = "orders"

_lengths, _listings, _orders = tables.list_lengths, tables.listings, tables.orders

_by_stock = (
    select(_listings.c.in_stock, func.count().label("length"))
    .where(_listings.c.archived == False)  # noqa: E712 - by an index that begins with it
    .group_by(_listings.c.in_stock)
    .cte("by_stock")
)
_by_user = (
    select(_orders.c.user_id, func.count().label("length"))
    .group_by(_orders.c.user_id)
    .cte("by_user")
)


def _length(
    name: str, user_id: ColumnElement[int], length: ColumnElement[int]
) -> Select[str, int, int]:
    return select(literal(name).label("list"), user_id.label("user_id"), length.label("length"))


def _sum(lengths: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(lengths), 0)


_of_products = [
    _length(PRODUCTS, literal(0), _sum(_by_stock.c.length)),
    _length(IN_STOCK, literal(0), _sum(_by_stock.c.length)).where(_by_stock.c.in_stock),
    _length(SOLD_OUT, literal(0), _sum(_by_stock.c.length)).where(~_by_stock.c.in_stock),
]
_of_orders = [
    _length(ORDERS, literal(0), _sum(_by_user.c.length)),
    # Shorter lists are counted when they are read.
    _length(ORDERS, _by_user.c.user_id, _by_user.c.length).where(_by_user.c.length > COUNTED_MAX),
]
# Two, since each has the time of one statement.
_COUNTS = union_all(*_of_products), union_all(*_of_orders)


class SqlLengthRepository(LengthRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def count(self) -> Sequence[ListLength]:
        return [
            ListLength(list=row["list"], user_id=row["user_id"], length=int(row["length"]))
            for statement in _COUNTS
            for row in await read_rows(self._connection, statement)
        ]

    async def store(self, lengths: Sequence[ListLength]) -> None:
        new = insert_into(self._connection, _lengths)
        statement = new.on_conflict_do_update(
            index_elements=[_lengths.c.list, _lengths.c.user_id],
            set_={"length": new.excluded.length, "counted_at": new.excluded.counted_at},
        )
        now = utc_now()
        rows = [{**asdict(length), "counted_at": now} for length in lengths]
        await self._connection.execute(statement, rows)

    async def known(self, names: Collection[str]) -> Sequence[CountedList]:
        statement = select(_lengths.c.list, _lengths.c.length, _lengths.c.counted_at).where(
            _lengths.c.list.in_(names), _lengths.c.user_id == 0
        )
        return [CountedList(**row) for row in await read_rows(self._connection, statement)]
