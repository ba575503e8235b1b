"""The history of orders in SQL."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import count_rows, read_window
from shop.adapters.sql.rows import row_maker
from shop.domain.orders import HistoryEntry, HistoryQuery
from shop.domain.pages import Window
from shop.domain.ports import HistoryRepository

_events = tables.order_events
_event_row = row_maker(_events)


class SqlHistoryRepository(HistoryRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read_window(self, query: HistoryQuery, window: Window) -> Sequence[HistoryEntry]:
        statement = select(_events).where(_of_order(query))
        rows = await read_window(
            self._connection, statement, window, [_events.c.id], descending=False
        )
        return [HistoryEntry(**row) for row in rows]

    async def count(self, query: HistoryQuery) -> int:
        return await count_rows(self._connection, _events, [_of_order(query)])

    async def add(self, event: HistoryEntry) -> None:
        await self._connection.execute(insert(_events).values(_event_row(event)))


def _of_order(query: HistoryQuery) -> ColumnElement[bool]:
    return _events.c.order_id == query.order_id
