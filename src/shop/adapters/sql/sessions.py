"""Sessions in SQL."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.pages import SqlList, parameter, read_counted_list, read_list
from shop.adapters.sql.rows import ReadRow, read_row, row_maker
from shop.domain.pages import Count, Window
from shop.domain.ports import SessionRepository
from shop.domain.sessions import ISSUED_TOGETHER, RefreshToken, SessionFamily, SessionQuery

_families, _tokens = tables.session_families, tables.refresh_tokens
_family_row, _token_row = row_maker(_families), row_maker(_tokens)


def _is_open(user_id: Any, now: Any) -> ColumnElement[bool]:
    return and_(
        _families.c.user_id == user_id,
        _families.c.ended_at.is_(None),
        _families.c.ends_at > now,
        _families.c.expires_at > now,
    )


_OPEN = SqlList(
    source=_families,
    order=[_families.c.last_used_at, _families.c.id],
    descending=True,
    where=[
        _is_open(parameter("user_id", _families.c.user_id), parameter("now", _families.c.ends_at))
    ],
    # A user has only so many.
    gathered_by=(),
    details=lambda part: select(_families).join_from(
        part, _families, _families.c.id == part.c.order_1
    ),
)


class SqlSessionRepository(SessionRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def start(self, family: SessionFamily, token: RefreshToken) -> None:
        await self._connection.execute(insert(_families).values(_family_row(family)))
        await self._connection.execute(insert(_tokens).values(_token_row(token)))

    async def lock(self, token_hash: bytes) -> tuple[SessionFamily, RefreshToken] | None:
        family_id = (
            select(_tokens.c.family_id).where(_tokens.c.token_hash == token_hash).scalar_subquery()
        )
        family = await read_row(
            self._connection,
            select(_families).where(_families.c.id == family_id).with_for_update(),
        )
        if family is None:
            return None
        # Read after the lock is held: who held it may have retired or forgotten this very token.
        token = await read_row(
            self._connection, select(_tokens).where(_tokens.c.token_hash == token_hash)
        )
        return None if token is None else (SessionFamily(**family), RefreshToken(**token))

    async def succeed(
        self, token: RefreshToken, successor: RefreshToken, *, used_at: datetime
    ) -> None:
        if token.predecessor is not None:
            await self._connection.execute(
                update(_tokens)
                .where(_tokens.c.family_id == token.family_id, _retired_by(token))
                .values(retired=True)
            )
        await self._connection.execute(insert(_tokens).values(_token_row(successor)))
        await self._connection.execute(
            update(_families)
            .where(_families.c.id == token.family_id)
            .values(last_used_at=used_at, expires_at=successor.expires_at)
        )
        await self._connection.execute(
            delete(_tokens).where(
                _tokens.c.family_id == token.family_id, _tokens.c.expires_at < used_at
            )
        )

    async def read_window(self, query: SessionQuery, window: Window) -> Sequence[SessionFamily]:
        rows = await read_list(self._connection, _OPEN, asdict(query), window)
        return [_family_from(row) for row in rows]

    async def read_counted(
        self, query: SessionQuery, window: Window
    ) -> tuple[Sequence[SessionFamily], Count]:
        rows, count = await read_counted_list(self._connection, _OPEN, asdict(query), window)
        return [_family_from(row) for row in rows], count

    async def end_oldest(self, user_id: int, at: datetime, *, kept: int) -> None:
        oldest = (
            select(_families.c.id)
            .where(_is_open(user_id, at))
            .order_by(_families.c.started_at.desc(), _families.c.id.desc())
            .offset(kept)
        )
        await self._connection.execute(
            update(_families).where(_families.c.id.in_(oldest)).values(ended_at=at)
        )

    async def purge(self, before: datetime, *, limit: int) -> int:
        expired = await self._connection.scalars(
            select(_families.c.id)
            .where(_families.c.expires_at < before)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        ids = expired.all()
        if ids:
            await self._connection.execute(delete(_tokens).where(_tokens.c.family_id.in_(ids)))
            await self._connection.execute(delete(_families).where(_families.c.id.in_(ids)))
        return len(ids)

    async def end(self, family_id: UUID, at: datetime) -> None:
        await self._connection.execute(
            update(_families)
            .where(_families.c.id == family_id, _families.c.ended_at.is_(None))
            .values(ended_at=at)
        )

    async def end_all(self, user_id: int, at: datetime) -> None:
        await self._connection.execute(
            update(_families)
            .where(_families.c.user_id == user_id, _families.c.ended_at.is_(None))
            .values(ended_at=at)
        )


def _family_from(row: ReadRow) -> SessionFamily:
    return SessionFamily(**{column.name: row[column.name] for column in _families.columns})


def _retired_by(token: RefreshToken) -> ColumnElement[bool]:
    """As `RefreshToken.retires` has it, for a token that has a predecessor."""
    return or_(
        _tokens.c.token_hash == token.predecessor,
        and_(
            _tokens.c.predecessor == token.predecessor,
            or_(
                _tokens.c.issued_at < token.issued_at - ISSUED_TOGETHER,
                _tokens.c.issued_at > token.issued_at + ISSUED_TOGETHER,
            ),
        ),
    )
