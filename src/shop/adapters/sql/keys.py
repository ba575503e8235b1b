"""Idempotency keys in SQL."""

from datetime import datetime

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.marks import mark_of, note_mark
from shop.adapters.sql.rows import insert_into, read_row
from shop.domain.keys import KeyedAnswer, KeyedRequest
from shop.domain.ports import KeyRepository

_keys = tables.idempotency_keys


class SqlKeyRepository(KeyRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, request: KeyedRequest) -> KeyedAnswer | None:
        """The row that is written holds the key until the transaction ends."""
        stored = None
        while stored is None:
            if await self._take(request):
                return None
            # None: it was purged in this moment.
            stored = await self._find(request)
        return stored

    async def _take(self, request: KeyedRequest) -> bool:
        taken = await self._connection.scalar(
            insert_into(self._connection, _keys)
            .values(
                user_id=request.user_id,
                key=request.key,
                route=request.route,
                digest=request.digest,
                answer=b"",
                at=request.at,
            )
            .on_conflict_do_nothing(index_elements=[_keys.c.user_id, _keys.c.key])
            .returning(_keys.c.user_id)
        )
        return taken is not None

    async def _find(self, request: KeyedRequest) -> KeyedAnswer | None:
        mark = mark_of(self._connection)
        row = await read_row(
            self._connection,
            select(_keys, *mark).where(
                _keys.c.user_id == request.user_id, _keys.c.key == request.key
            ),
        )
        if row is None:
            return None
        if mark:
            note_mark(row)
        return KeyedAnswer(**{column.name: row[column.name] for column in _keys.columns})

    async def store(self, answer: KeyedAnswer) -> None:
        await self._connection.execute(
            update(_keys)
            .where(_keys.c.user_id == answer.user_id, _keys.c.key == answer.key)
            .values(answer=answer.answer)
        )

    async def purge(self, before: datetime, *, limit: int) -> int:
        old = await self._connection.execute(
            select(_keys.c.user_id, _keys.c.key)
            .where(_keys.c.at < before)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        places = [tuple(row) for row in old]
        if places:
            await self._connection.execute(
                delete(_keys).where(tuple_(_keys.c.user_id, _keys.c.key).in_(places))
            )
        return len(places)
