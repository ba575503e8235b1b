"""Attempts to sign in, in SQL."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Insert, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.rows import insert_into, read_rows, row_maker
from shop.domain.ports import AttemptRepository
from shop.domain.throttling import KEPT_FOR, KNOWN_FOR, Attempts

_attempts = tables.sign_in_attempts
_attempt_row = row_maker(_attempts)


class SqlAttemptRepository(AttemptRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, keys: Collection[bytes], now: datetime) -> dict[bytes, Attempts]:
        # A row must be there to be locked; in key order, so that nobody waits in a circle.
        await self._connection.execute(
            self._insert_missing(),
            [_attempt_row(Attempts(key=key, seen_at=now)) for key in sorted(keys)],
        )
        rows = await read_rows(
            self._connection,
            select(_attempts)
            .where(_attempts.c.key.in_(keys))
            .order_by(_attempts.c.key)
            .with_for_update(),
        )
        return {row["key"]: Attempts(**row) for row in rows}

    async def save(self, attempts: Collection[Attempts]) -> None:
        await self._connection.execute(
            update(_attempts).where(_attempts.c.key == bindparam("of_key")),
            [{"of_key": one.key} | _attempt_row(one) for one in attempts],
        )

    async def purge(self, now: datetime, *, limit: int) -> int:
        purged = 0
        for is_known, kept_for in ((False, KEPT_FOR), (True, KNOWN_FOR)):
            # Chosen on its own: a subquery is run again for each row where PostgreSQL plans it so.
            old = await self._connection.scalars(
                select(_attempts.c.key)
                .where(_attempts.c.is_known == is_known, _attempts.c.seen_at < now - kept_for)
                .limit(limit - purged)
                # Whoever signs in right now holds some of them; others can wait for another time.
                .with_for_update(skip_locked=True)
            )
            keys = old.all()
            if keys:
                await self._connection.execute(delete(_attempts).where(_attempts.c.key.in_(keys)))
            purged += len(keys)
        return purged

    def _insert_missing(self) -> Insert:
        missing = insert_into(self._connection, _attempts)
        if self._connection.dialect.name == "sqlite":
            return missing.on_conflict_do_nothing()
        # What is there is locked at once, or a purge could take it before the SELECT comes.
        return missing.on_conflict_do_update(
            index_elements=[_attempts.c.key], set_={"failures": _attempts.c.failures}
        )
