"""The history of orders in SQL."""

from collections.abc import Sequence

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import select_part
from shop.domain.orders import EventQuery, OrderEvent, OrderStatus
from shop.domain.pages import Part
from shop.domain.ports import HistoryRepository

_events = tables.order_events


class SqlHistoryRepository(HistoryRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def read_part(self, query: EventQuery, part: Part) -> Sequence[OrderEvent]:
        statement = select_part(
            select(_events).where(_events.c.order_id == query.order_id),
            part,
            [_events.c.id],
            descending=False,
        )
        events = [
            OrderEvent(
                id=row.id,
                order_id=row.order_id,
                from_status=OrderStatus(row.from_status),
                to_status=OrderStatus(row.to_status),
                actor_id=row.actor_id,
                note=row.note,
                at=row.at,
            )
            for row in await self._connection.execute(statement)
        ]
        return events[::-1] if part.before is not None else events

    async def count(self, query: EventQuery) -> int:
        statement = (
            select(func.count()).select_from(_events).where(_events.c.order_id == query.order_id)
        )
        return await self._connection.scalar(statement) or 0

    async def add(self, event: OrderEvent) -> None:
        await self._connection.execute(
            insert(_events).values(
                order_id=event.order_id,
                from_status=event.from_status.value,
                to_status=event.to_status.value,
                actor_id=event.actor_id,
                note=event.note,
                at=event.at,
            )
        )
