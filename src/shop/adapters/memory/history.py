"""The history of orders, in memory."""

from collections.abc import Sequence
from dataclasses import replace

from shop.adapters.memory.database import Tables
from shop.adapters.windows import cut_window
from shop.domain.orders import HistoryEntry, HistoryQuery
from shop.domain.pages import Count, Window
from shop.domain.ports import HistoryRepository


class MemoryHistoryRepository(HistoryRepository):
    def __init__(self, tables: Tables) -> None:
        self._events = tables.events
        self._ids = tables.ids["events"]

    async def read_window(self, query: HistoryQuery, window: Window) -> Sequence[HistoryEntry]:
        return cut_window(
            self._matching(query), window, lambda event: (event.id,), descending=False
        )

    async def read_counted(
        self, query: HistoryQuery, window: Window
    ) -> tuple[Sequence[HistoryEntry], Count]:
        return await self.read_window(query, window), Count(len(self._matching(query)))

    async def add(self, event: HistoryEntry) -> None:
        stored = replace(event, id=next(self._ids))
        self._events[stored.id] = stored

    async def add_all(self, events: Sequence[HistoryEntry]) -> None:
        for event in events:
            await self.add(event)

    def _matching(self, query: HistoryQuery) -> Sequence[HistoryEntry]:
        return [event for event in self._events.values() if event.order_id == query.order_id]
