"""One database transaction as the domain sees it."""

import asyncio
from types import TracebackType
from typing import Self

from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.attempts import SqlAttemptRepository
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import translated, translating
from shop.adapters.sql.history import SqlHistoryRepository
from shop.adapters.sql.products import SqlProductRepository
from shop.adapters.sql.sessions import SqlSessionRepository
from shop.adapters.sql.users import SqlUserRepository
from shop.domain.ports import UnitOfWork


class SqlUnitOfWork(UnitOfWork):
    """What SQLite and PostgreSQL share; each adds how orders and stock are written."""

    def __init__(self, *, engines: Engines, read_only: bool = False) -> None:
        self._engine = engines.read if read_only else engines.write
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> Self:
        with translating():
            try:
                self._connection = await self._engine.connect()
                await self._connection.begin()
            except BaseException:
                await self._close()
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()
        if exc is not None and (known := translated(exc)) is not None:
            raise known from exc

    async def commit(self) -> None:
        await self._open.commit()

    async def _close(self) -> None:
        """Roll back whatever was not committed, and give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # Shielded, so that a caller who is cancelled meanwhile does not leave it half closed.
            await asyncio.shield(asyncio.create_task(connection.close()))

    @property
    def _open(self) -> AsyncConnection:
        assert self._connection is not None, "use it inside `async with`"
        return self._connection

    @property
    def products(self) -> SqlProductRepository:
        return SqlProductRepository(self._open)

    @property
    def history(self) -> SqlHistoryRepository:
        return SqlHistoryRepository(self._open)

    @property
    def users(self) -> SqlUserRepository:
        return SqlUserRepository(self._open)

    @property
    def sessions(self) -> SqlSessionRepository:
        return SqlSessionRepository(self._open)

    @property
    def attempts(self) -> SqlAttemptRepository:
        return SqlAttemptRepository(self._open)
