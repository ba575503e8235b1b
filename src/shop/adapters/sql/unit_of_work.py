"""One database transaction as the domain sees it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.listeners import RecordedEvents
from shop.adapters.sql.attempts import SqlAttemptRepository
from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.details import SqlDetailRepository
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import (
    driver_error,
    ends_session,
    translated,
    translating,
    was_refused,
)
from shop.adapters.sql.history import SqlHistoryRepository
from shop.adapters.sql.keys import SqlKeyRepository
from shop.adapters.sql.leases import SqlLeaseRepository
from shop.adapters.sql.lengths import SqlLengthRepository
from shop.adapters.sql.orders import SqlOrderRepository
from shop.adapters.sql.products import SqlProductRepository
from shop.adapters.sql.sessions import SqlSessionRepository
from shop.adapters.sql.stock import SqlStockRepository
from shop.adapters.sql.users import SqlUserRepository
from shop.domain.errors import OutcomeUnknown, StoreUnavailable
from shop.domain.events import Event
from shop.domain.keys import KeyedRequest
from shop.domain.ports import IN_COMMIT, BatchRepository, EventListener, UnitOfWork
from shop.domain.users import Caller

ABANDONED_MAX = 20
"""How many COMMITs may be under way with nobody waiting, each on a connection of its own."""

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.sql")


class SqlUnitOfWork(UnitOfWork):
    """What SQLite and PostgreSQL share; each adds its own way of placing orders.

    The transaction is begun and ended through the driver: SQLAlchemy's own connections cost as much
    as four statements each, and are made only for the repositories that ask for them.
    """

    def __init__(
        self,
        *,
        engines: Engines,
        listeners: Sequence[EventListener] = (),
        read_only: bool = False,
        caller: Caller | None = None,
        batch: bool = False,
        key: KeyedRequest | None = None,
    ) -> None:
        self._engines = engines
        self._events = RecordedEvents(listeners)
        self._read_only = read_only
        self._key = key
        self._begin: str | None
        if read_only:
            self._engine = engines.look_up if batch else engines.read
            self._begin = engines.begin_reading
        elif batch:
            self._engine, self._begin = engines.intake, engines.begin_briefly
        else:
            self._engine, self._begin = engines.write, engines.begin
        # An operator's command is a process of its own.
        self._reader = caller.user_id if read_only and caller is not None else 0
        self._turn: asyncio.Semaphore | None = None
        self._lent: PooledConnection | None = None
        self._in_transaction = False

    async def __aenter__(self) -> Self:
        engines = self._engines
        if not self._read_only and len(engines.abandoned) >= ABANDONED_MAX:
            raise StoreUnavailable("Too many changes wait for the database to confirm them.")
        if self._reader:
            self._turn = await engines.reading.take(self._reader)
        try:
            with translating():
                self._lent = await engines.connect(self._engine)
                if self._begin:
                    await self._begin_or_end(self._begin)
                    self._in_transaction = True
        except BaseException:
            self._end_turn()
            raise
        if self._key is not None:
            await self._claim(self._key)
        return self

    async def _claim(self, key: KeyedRequest) -> None:
        try:
            key.check((await self.keys.claim([key])).get(key.place))
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None and ends_session(exc):
            # There is nobody to take a ROLLBACK, or nothing that a sound connection would do.
            await asyncio.shield(asyncio.create_task(self._drop(exc)))
        elif self._in_transaction:
            # Shielded, so that a caller who is cancelled meanwhile does not leave it half closed.
            await asyncio.shield(asyncio.create_task(self._roll_back()))
        else:
            await self._give_back()
        if exc is not None and (known := translated(exc)) is not None:
            raise known from driver_error(exc)

    async def commit(self, result: object = None) -> None:
        assert self._in_transaction, "use it inside `async with`, and commit once"
        if self._key is not None:
            await self.keys.store(self._key.answered(result))
        # From here on the connection is the COMMIT's: nothing is read or written past it.
        self._in_transaction = False
        lent, self._lent = self._open, None
        # A task of its own, which nobody cancels: a COMMIT that is broken off may be done or not.
        commit = asyncio.create_task(self._commit(lent))
        try:
            done, _ = await asyncio.wait([commit], timeout=self._engines.commit_seconds_max)
        except asyncio.CancelledError:
            self._abandon(commit, lent)
            raise asyncio.CancelledError(IN_COMMIT) from None
        if not done:
            self._abandon(commit, lent)
            raise OutcomeUnknown
        commit.result()

    async def _commit(self, lent: PooledConnection) -> None:
        try:
            await self._send_commit(lent.driver)
        except BaseException as error:
            self._note(error, lent)
            await lent.close()
            if was_refused(error):
                raise
            raise OutcomeUnknown from error
        self._events.publish()
        await self._engines.give_back(lent)

    async def _send_commit(self, driver: Driver) -> None:
        """Raises what the driver does, and `OutcomeUnknown` for a COMMIT that was broken off."""
        await driver.execute("COMMIT")

    def _abandon(self, commit: "asyncio.Task[None]", lent: PooledConnection) -> None:
        """Nobody waits for it any more; it ends by itself, and its connection with it."""
        if commit.done():
            return
        lent.detach()
        abandoned = self._engines.abandoned
        abandoned.add(commit)

        def ended(_: object) -> None:
            abandoned.discard(commit)
            if not commit.cancelled() and (error := commit.exception()) is not None:
                logger.warning("commit.failed_unheard", error=str(error))

        commit.add_done_callback(ended)

    async def _roll_back(self) -> None:
        # Nothing was committed either way; what failed before is what matters.
        with suppress(Exception):
            await self._begin_or_end("ROLLBACK")
        await self._give_back()

    async def _begin_or_end(self, statement: str) -> None:
        try:
            await self._open.driver.execute(statement)
        except BaseException as error:
            # Whether it was done is unknown, and so is the connection's state.
            await asyncio.shield(asyncio.create_task(self._drop(error)))
            raise

    async def _drop(self, error: BaseException) -> None:
        """Close the connection that failed so."""
        if self._lent is not None:
            self._note(error, self._lent)
        await self._give_back(sound=False)

    def _note(self, error: BaseException, lent: PooledConnection) -> None:
        servers = self._engines.servers
        if servers is not None and ends_session(error):
            lent.end_generation(servers)

    async def _give_back(self, *, sound: bool = True) -> None:
        lent, self._lent = self._lent, None
        try:
            if lent is not None:
                await (self._engines.give_back(lent) if sound else lent.close())
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.release()

    def record(self, event: Event) -> None:
        self._events.add(event)

    @property
    def _open(self) -> PooledConnection:
        assert self._lent is not None, "use it inside `async with`"
        return self._lent

    @property
    def driver(self) -> Driver:
        """The connection below SQLAlchemy's, in the same transaction."""
        return self._open.driver

    @property
    def connection(self) -> AsyncConnection:
        return self._open.core

    @property
    def products(self) -> SqlProductRepository:
        return SqlProductRepository(self.connection)

    @property
    def stock(self) -> SqlStockRepository:
        return SqlStockRepository(self.connection)

    @property
    def orders(self) -> SqlOrderRepository:
        return SqlOrderRepository(self.connection)

    @property
    def batch(self) -> BatchRepository:
        raise NotImplementedError("each database has its own way of placing orders")

    @property
    def details(self) -> SqlDetailRepository:
        return SqlDetailRepository(self.driver)

    @property
    def keys(self) -> SqlKeyRepository:
        return SqlKeyRepository(self.connection)

    @property
    def history(self) -> SqlHistoryRepository:
        return SqlHistoryRepository(self.connection)

    @property
    def users(self) -> SqlUserRepository:
        return SqlUserRepository(self.connection)

    @property
    def sessions(self) -> SqlSessionRepository:
        return SqlSessionRepository(self.connection)

    @property
    def attempts(self) -> SqlAttemptRepository:
        return SqlAttemptRepository(self.connection)

    @property
    def leases(self) -> SqlLeaseRepository:
        return SqlLeaseRepository(self.connection)

    @property
    def lengths(self) -> SqlLengthRepository:
        return SqlLengthRepository(self.connection)
