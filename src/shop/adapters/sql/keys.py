"""Idempotency keys in SQL."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from operator import attrgetter

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.marks import mark_of, note_mark
from shop.adapters.sql.rows import insert_into, read_rows
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.ports import KeyRepository

_keys = tables.idempotency_keys
_place = attrgetter("place")


class SqlKeyRepository(KeyRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, requests: Collection[KeyedRequest]) -> Mapping[Place, KeyedAnswer]:
        """The rows that are written hold the keys until the transaction ends.

        In the order of their places, so that two transactions that want the same keys never wait
        for each other in a circle.
        """
        wanted = {request.place: request for request in sorted(requests, key=_place)}
        stored: dict[Place, KeyedAnswer] = {}
        while wanted:
            for place in await self._take(wanted.values()):
                del wanted[place]
            # One that is not there was purged in this moment.
            found = await self._find(wanted) if wanted else {}
            stored |= found
            wanted = {place: each for place, each in wanted.items() if place not in found}
        return stored

    async def _take(self, requests: Iterable[KeyedRequest]) -> list[Place]:
        taken = await self._connection.execute(
            insert_into(self._connection, _keys)
            .on_conflict_do_nothing(index_elements=[_keys.c.user_id, _keys.c.key])
            .returning(_keys.c.user_id, _keys.c.key),
            [
                {
                    "user_id": request.user_id,
                    "key": request.key,
                    "route": request.route,
                    "digest": request.digest,
                    "answer": b"",
                    "at": request.at,
                }
                for request in requests
            ],
        )
        return [(row.user_id, row.key) for row in taken]

    async def _find(self, places: Collection[Place]) -> dict[Place, KeyedAnswer]:
        mark = mark_of(self._connection)
        rows = await read_rows(
            self._connection,
            select(_keys, *mark).where(tuple_(_keys.c.user_id, _keys.c.key).in_(places)),
        )
        if rows and mark:
            note_mark(rows[0])
        found = (
            KeyedAnswer(**{column.name: row[column.name] for column in _keys.columns})
            for row in rows
        )
        return {answer.place: answer for answer in found}

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
