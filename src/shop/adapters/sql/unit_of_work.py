"""One database transaction as the domain sees it."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias

import aiosqlite
import asyncpg
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import greenlet_spawn

from shop.adapters.sql.attempts import SqlAttemptRepository
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import driver_error, translated, translating
from shop.adapters.sql.history import SqlHistoryRepository
from shop.adapters.sql.leases import SqlLeaseRepository
from shop.adapters.sql.orders import SqlOrderRepository
from shop.adapters.sql.products import SqlProductRepository
from shop.adapters.sql.sessions import SqlSessionRepository
from shop.adapters.sql.stock import SqlStockRepository
from shop.adapters.sql.users import SqlUserRepository
from shop.domain.ports import UnitOfWork

# A string: asyncpg's class is generic for type checkers only.
Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record] | aiosqlite.Connection"


class SqlUnitOfWork(UnitOfWork):
    """What SQLite and PostgreSQL share; each adds its own way of placing orders.

    The connection is of SQLAlchemy's pool, and its transaction is begun and ended through the
    driver: SQLAlchemy's own connections cost as much as four statements each. One is made, around
    the same connection, for the repositories that ask for it; it is in autocommit mode, so it
    begins and ends nothing.
    """

    def __init__(self, *, engines: Engines, read_only: bool = False) -> None:
        self._engine = engines.read if read_only else engines.write
        self._begin = engines.begin_reading if read_only else engines.begin
        self._pooled: PoolProxiedConnection | None = None
        self._wrapped: AsyncConnection | None = None
        self._in_transaction = False

    async def __aenter__(self) -> Self:
        with translating():
            self._pooled = await self._engine.raw_connection()
            if self._begin:
                await self._begin_or_end(self._begin)
                self._in_transaction = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._in_transaction:
            # Shielded, so that a caller who is cancelled meanwhile does not leave it half closed.
            await asyncio.shield(asyncio.create_task(self._roll_back()))
        else:
            await self._give_back()
        if exc is not None and (known := translated(exc)) is not None:
            raise known from driver_error(exc)

    async def commit(self) -> None:
        assert self._in_transaction, "use it inside `async with`, and commit once"
        self._in_transaction = False
        if await self._begin_or_end("COMMIT") == "ROLLBACK":
            # PostgreSQL's answer if a statement failed before and that was taken for nothing.
            raise RuntimeError("nothing was committed: a statement of the transaction had failed")
        # At once, so that nothing is read or written past the end of the transaction.
        await self._give_back()

    async def _roll_back(self) -> None:
        # Nothing was committed either way; what failed before is what matters.
        with suppress(Exception):
            await self._begin_or_end("ROLLBACK")
        await self._give_back()

    async def _begin_or_end(self, statement: str) -> object:
        """What the driver answers."""
        try:
            return await self.driver.execute(statement)
        except BaseException:
            # Whether it was done is unknown, and so is the connection's state: drop it.
            await asyncio.shield(asyncio.create_task(self._give_back(sound=False)))
            raise

    async def _give_back(self, *, sound: bool = True) -> None:
        """Return the connection to the pool, or close it."""
        pooled, self._pooled = self._pooled, None
        wrapped, self._wrapped = self._wrapped, None
        if wrapped is not None:
            if not sound:
                await wrapped.invalidate()
            await wrapped.close()
        elif pooled is not None:
            await greenlet_spawn(pooled.close if sound else pooled.invalidate)

    @property
    def driver(self) -> Driver:
        """The connection below SQLAlchemy's, in the same transaction."""
        assert self._pooled is not None, "use it inside `async with`"
        driver = self._pooled.driver_connection
        assert isinstance(driver, asyncpg.Connection | aiosqlite.Connection)
        return driver

    @property
    def _connection(self) -> AsyncConnection:
        assert self._pooled is not None, "use it inside `async with`"
        if self._wrapped is None:
            connection = Connection(self._engine.sync_engine, self._pooled)
            self._wrapped = AsyncConnection(self._engine, connection)
        return self._wrapped

    @property
    def products(self) -> SqlProductRepository:
        return SqlProductRepository(self._connection)

    @property
    def stock(self) -> SqlStockRepository:
        return SqlStockRepository(self._connection)

    @property
    def orders(self) -> SqlOrderRepository:
        return SqlOrderRepository(self._connection)

    @property
    def history(self) -> SqlHistoryRepository:
        return SqlHistoryRepository(self._connection)

    @property
    def users(self) -> SqlUserRepository:
        return SqlUserRepository(self._connection)

    @property
    def sessions(self) -> SqlSessionRepository:
        return SqlSessionRepository(self._connection)

    @property
    def attempts(self) -> SqlAttemptRepository:
        return SqlAttemptRepository(self._connection)

    @property
    def leases(self) -> SqlLeaseRepository:
        return SqlLeaseRepository(self._connection)
