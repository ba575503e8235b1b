"""The history of orders in SQL."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import count_rows, read_part
from shop.adapters.sql.rows import row_maker
from shop.domain.orders import EventQuery, OrderEvent
from shop.domain.pages import Part
from shop.domain.ports import HistoryRepository

_events = tables.order_events
_event_row = row_maker(_events)


class SqlHistoryRepository(HistoryRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read_part(self, query: EventQuery, part: Part) -> Sequence[OrderEvent]:
        statement = select(_events).where(_of_order(query))
        rows = await read_part(self._connection, statement, part, [_events.c.id], descending=False)
        return [OrderEvent(**row) for row in rows]

    async def count(self, query: EventQuery) -> int:
        return await count_rows(self._connection, _events, [_of_order(query)])

    async def add(self, event: OrderEvent) -> None:
        await self._connection.execute(insert(_events).values(_event_row(event)))


def _of_order(query: EventQuery) -> ColumnElement[bool]:
    return _events.c.order_id == query.order_id
