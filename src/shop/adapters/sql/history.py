"""The history of orders in SQL."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import SqlList, parameter, read_counted_list, read_list
from shop.adapters.sql.rows import ReadRow, row_maker
from shop.domain.orders import HistoryEntry, HistoryQuery
from shop.domain.pages import Count, Window
from shop.domain.ports import HistoryRepository

_events = tables.order_events
event_row = row_maker(_events)


_HISTORY = SqlList(
    source=_events,
    order=[_events.c.id],
    descending=False,
    where=[_events.c.order_id == parameter("order_id", _events.c.order_id)],
    details=lambda part: select(_events).join_from(part, _events, _events.c.id == part.c.order_0),
)


class SqlHistoryRepository(HistoryRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read_window(self, query: HistoryQuery, window: Window) -> Sequence[HistoryEntry]:
        rows = await read_list(self._connection, _HISTORY, asdict(query), window)
        return [_entry_from(row) for row in rows]

    async def read_counted(
        self, query: HistoryQuery, window: Window
    ) -> tuple[Sequence[HistoryEntry], Count]:
        rows, count = await read_counted_list(self._connection, _HISTORY, asdict(query), window)
        return [_entry_from(row) for row in rows], count

    async def add(self, event: HistoryEntry) -> None:
        await self._connection.execute(insert(_events).values(event_row(event)))

    async def add_all(self, events: Sequence[HistoryEntry]) -> None:
        await self._connection.execute(insert(_events), list(map(event_row, events)))


def _entry_from(row: ReadRow) -> HistoryEntry:
    return HistoryEntry(**{column.name: row[column.name] for column in _events.columns})
