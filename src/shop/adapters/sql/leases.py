"""Leases in SQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Interval, delete, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.rows import insert_into
from shop.adapters.system import utc_now
from shop.domain.ports import LeaseRepository

_leases = tables.leases


class SqlLeaseRepository(LeaseRepository):
    """Times are those of one clock: of PostgreSQL's server, and of the host that SQLite is on."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def take(self, name: str, *, holder: UUID, lasting: timedelta) -> bool:
        # One statement: whoever comes second waits for the row, and then sees who has it.
        new = insert_into(self._connection, _leases).values(
            name=name, holder=holder, expires_at=self._now(lasting)
        )
        taken = await self._connection.execute(
            new.on_conflict_do_update(
                index_elements=[_leases.c.name],
                set_={"holder": new.excluded.holder, "expires_at": new.excluded.expires_at},
                where=or_(
                    _leases.c.holder == new.excluded.holder, _leases.c.expires_at <= self._now()
                ),
            ).returning(_leases.c.name)
        )
        return taken.one_or_none() is not None

    async def release(self, name: str, *, holder: UUID) -> None:
        await self._connection.execute(
            delete(_leases).where(_leases.c.name == name, _leases.c.holder == holder)
        )

    async def held(self) -> Sequence[str]:
        """Names of the leases that somebody has now."""
        return list(
            await self._connection.scalars(
                select(_leases.c.name).where(_leases.c.expires_at > self._now())
            )
        )

    def _now(self, later: timedelta = timedelta()) -> ColumnElement[datetime]:
        if self._connection.dialect.name == "sqlite":
            return literal(utc_now() + later, tables.UtcDateTime)
        # Not `now()`, which stands still while the statement waits for another transaction.
        return func.clock_timestamp(type_=DateTime(timezone=True)) + literal(later, Interval())
