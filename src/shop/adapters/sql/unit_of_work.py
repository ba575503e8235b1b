"""One database transaction as the domain sees it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shop.adapters.listeners import RecordedEvents
from shop.adapters.sql.attempts import SqlAttemptRepository
from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.details import SqlDetailRepository
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import (
    driver_error,
    ends_session,
    may_work_elsewhere,
    translated,
    translating,
    was_refused,
)
from shop.adapters.sql.history import SqlHistoryRepository
from shop.adapters.sql.keys import SqlKeyRepository
from shop.adapters.sql.leases import SqlLeaseRepository
from shop.adapters.sql.lengths import SqlLengthRepository
from shop.adapters.sql.moving import SqlMovingRepository
from shop.adapters.sql.orders import SqlOrderRepository
from shop.adapters.sql.products import SqlProductRepository
from shop.adapters.sql.replicas import Replica, Replicas
from shop.adapters.sql.sessions import SqlSessionRepository
from shop.adapters.sql.stock import SqlStockRepository
from shop.adapters.sql.users import SqlUserRepository
from shop.adapters.turns import Turns
from shop.adapters.work import Seen, work_under_way
from shop.domain.errors import OutcomeUnknown, StoreUnavailable, WriteConflict
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
        may_lag: bool = False,
        many: bool = False,
        replicas: Replicas | None = None,
        turns_of_many: Turns | None = None,
    ) -> None:
        self._engines = engines
        self._replicas = replicas if may_lag and replicas else None
        self._replica: Replica | None = None
        """The one that serves, if it is not the primary."""
        self._seen: Seen | None = None
        self._primary = engines
        self._events = RecordedEvents(listeners)
        self._read_only = read_only
        self._key = key
        self._begin: str | None
        self._is_look_up = batch
        if read_only:
            self._engine = self._reader_of(engines)
            self._begin = engines.begin_reading
        elif batch:
            self._engine, self._begin = engines.intake, engines.begin_briefly
        else:
            self._engine, self._begin = engines.write, engines.begin
        # An operator's command is a process of its own.
        self._reader = caller.user_id if read_only and caller is not None else 0
        self._turns = turns_of_many if many else None
        self._turn: asyncio.Semaphore | None = None
        self._lent: PooledConnection | None = None
        self._in_transaction = False

    async def __aenter__(self) -> Self:
        engines = self._engines
        if not self._read_only and len(engines.abandoned) >= ABANDONED_MAX:
            raise StoreUnavailable("Too many changes wait for the database to confirm them.")
        if self._reader:
            self._turn = await engines.reading.take(self._reader)
        elif self._turns is not None:
            self._turn = await self._turns.take()
        try:
            with translating():
                if self._replicas is None or not await self._enter_replica(self._replicas):
                    await self._open_on(engines, self._engine, self._begin)
        except BaseException:
            self._end_turn()
            raise
        if self._key is not None:
            await self._claim(self._key)
        return self

    async def _open_on(self, engines: Engines, engine: AsyncEngine, begin: str | None) -> None:
        self._engines = engines
        self._lent = await engines.connect(engine)
        if begin:
            if not self._lent.is_begun:
                await self._begin_or_end(begin)
            self._in_transaction = True

    async def _enter_replica(self, replicas: Replicas) -> bool:
        """Whether a replica serves this; if not, the primary is to."""
        replica = replicas.choose()
        if replica is None:
            replicas.observer.read_served("unfit")
            return False
        work = work_under_way.get()
        self._seen = work.seen if work is not None else None
        # It belongs to who reads, at whichever server.
        turn, self._turn = self._turn, None
        try:
            engines = replica.engines
            await self._open_on(engines, self._reader_of(engines), engines.begin_reading)
            if self._seen is not None and self._open.has(self._seen):
                self._seen = None
            # What is looked up is asked for in the same statement.
            has_seen = (
                self._seen is None or self._is_look_up or await replica.has(self.driver, self._seen)
            )
        except BaseException as error:
            await self._close(error)
            if not may_work_elsewhere(error):
                raise
            replica.fail(error)
            replicas.observer.read_served("failed")
            return False
        finally:
            self._turn = turn
        self._replica = replica
        if not has_seen:
            await self._leave_replica()
        elif not self._is_look_up:
            self._note_seen()
        return has_seen

    def _note_seen(self) -> None:
        """The replica has it. Through PgBouncer the next transaction may reach another one."""
        if self._seen is not None and not self._in_transaction:
            self._open.note_has(self._seen)

    async def _leave_replica(self) -> None:
        """It lacks what was seen."""
        turn, self._turn = self._turn, None
        try:
            await self._close(None)
        finally:
            self._turn = turn
        self._replica = None
        if self._replicas is not None:
            self._replicas.observer.read_served("behind")

    async def _at_primary(self) -> Driver:
        await self._leave_replica()
        await self._open_on(self._primary, self._engine, self._begin)
        return self.driver

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
        await self._close(exc)
        if self._replica is not None and self._replicas is not None:
            failed = exc is not None and may_work_elsewhere(exc)
            self._replicas.observer.read_served("failed" if failed else "replica")
            if exc is not None and failed:
                # To be tried again: there are others, and the primary.
                self._replica.fail(exc)
                raise WriteConflict("A replica has failed.") from driver_error(exc)
        if exc is not None and (known := translated(exc)) is not None:
            raise known from driver_error(exc)

    async def _close(self, error: BaseException | None) -> None:
        if error is not None and ends_session(error):
            # There is nobody to take a ROLLBACK, or nothing that a sound connection would do.
            await asyncio.shield(asyncio.create_task(self._drop(error)))
        elif self._in_transaction:
            # Shielded, so that a caller who is cancelled meanwhile does not leave it half closed.
            await asyncio.shield(asyncio.create_task(self._roll_back(error)))
        else:
            await self._give_back()
        self._in_transaction = False

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
            self._leave_server(commit, lent)
            raise OutcomeUnknown
        commit.result()

    async def _commit(self, lent: PooledConnection) -> None:
        try:
            await self._send_commit(lent)
        except BaseException as error:
            self._note(error, lent)
            await lent.close()
            if was_refused(error):
                raise
            raise OutcomeUnknown from error
        self._events.publish()
        await self._engines.give_back(lent)

    async def _send_commit(self, lent: PooledConnection) -> None:
        """Raises what the driver does, and `OutcomeUnknown` for a COMMIT that was broken off."""
        await lent.driver.execute("COMMIT")

    def _chained(self, statement: str, lent: PooledConnection) -> str:
        """The statement ends a transaction, and for the next batch begins another one."""
        return f"{statement} AND CHAIN" if self._engines.may_chain(lent) else statement

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

    def _leave_server(self, commit: "asyncio.Task[None]", lent: PooledConnection) -> None:
        """For others, where there are some, for as long as it holds this COMMIT up."""
        servers, opened = self._engines.servers, lent.opened
        if servers is not None and opened is not None:
            servers.commit_is_held(opened)
            commit.add_done_callback(lambda _: servers.commit_has_ended(opened))

    async def _roll_back(self, error: BaseException | None) -> None:
        # After a failure the next batch begins with a connection that is known to be sound.
        statement = "ROLLBACK" if error is not None else self._chained("ROLLBACK", self._open)
        # Nothing was committed either way; what failed before is what matters.
        with suppress(Exception):
            await self._begin_or_end(statement)
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

    def _reader_of(self, engines: Engines) -> AsyncEngine:
        return engines.look_up if self._is_look_up else engines.read

    @property
    def is_marking(self) -> bool:
        """Whether this change says how far the database has come with it."""
        return self._engines.marking

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
        if self._replica is None:
            return SqlDetailRepository(self.driver)
        return SqlDetailRepository(
            self.driver, seen=self._seen, at_primary=self._at_primary, at_replica=self._note_seen
        )

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

    @property
    def moving(self) -> SqlMovingRepository:
        return SqlMovingRepository(self.connection)
