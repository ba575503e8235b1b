"""The history of orders, in memory."""

from collections.abc import Sequence
from dataclasses import replace

from shop.adapters.memory.database import Tables
from shop.adapters.memory.pages import cut_part
from shop.domain.orders import EventQuery, OrderEvent
from shop.domain.pages import Part
from shop.domain.ports import HistoryRepository


class MemoryHistoryRepository(HistoryRepository):
    def __init__(self, tables: Tables) -> None:
        self._events = tables.events
        self._ids = tables.ids["events"]

    async def read_part(self, query: EventQuery, part: Part) -> Sequence[OrderEvent]:
        return cut_part(self._matching(query), part, lambda event: (event.id,), descending=False)

    async def count(self, query: EventQuery) -> int:
        return len(self._matching(query))

    async def add(self, event: OrderEvent) -> None:
        stored = replace(event, id=next(self._ids))
        self._events[stored.id] = stored

    def _matching(self, query: EventQuery) -> Sequence[OrderEvent]:
        return [event for event in self._events.values() if event.order_id == query.order_id]
