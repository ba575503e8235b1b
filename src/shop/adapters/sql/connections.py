"""Connections, lent by the pools of the engines, and kept from batch to batch."""

import asyncio
from collections import deque
from contextvars import Context
from typing import Any, Self

import aiosqlite
import asyncpg
from sqlalchemy import Connection, PoolProxiedConnection, event
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from shop.adapters.deadlines import Deadlines
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.errors import ends_session
from shop.adapters.sql.servers import Servers, opened_of
from shop.adapters.work import Seen

_HAS = "shop_has_seen"
_WARNINGS = "shop_warnings"

BEGUN_SECONDS_MAX = 1.0
"""How long a transaction that has been begun waits for a batch. Until then it has no snapshot and
no locks, so nobody waits for it; but who watches the server sees it."""
LEAVING_SECONDS_MAX = 1.0
"""How long who stops waits for transactions that are just being ended."""


class PooledConnection:
    """A connection of the pool, and SQLAlchemy's own around it for who asks."""

    def __init__(self, engine: AsyncEngine, pooled: PoolProxiedConnection) -> None:
        driver = pooled.driver_connection
        assert isinstance(driver, asyncpg.Connection | aiosqlite.Connection)
        self.engine = engine
        self.driver: Driver = driver
        """The connection below SQLAlchemy's. It is asked for many times in each transaction."""
        self._postgresql = None if isinstance(driver, aiosqlite.Connection) else driver
        self._pooled = pooled
        self.opened = opened_of(pooled)
        self.warnings: deque[object] = pooled.info.get(_WARNINGS, deque())
        """What the server warned of; see `note_warnings`."""
        self._core: AsyncConnection | None = None
        self._is_detached = False

    @classmethod
    async def of(cls, engine: AsyncEngine) -> Self:
        try:
            return cls(engine, await engine.raw_connection())
        except ResourceClosedError as error:
            # SQLAlchemy asks a pool's first connection some questions, and so it says that the
            # connection was lost between two of them: nobody here has it yet to close it.
            raise ConnectionError("It was lost while it was set up.") from error

    @property
    def postgresql(self) -> "asyncpg.Connection[asyncpg.Record]":
        """The driver's connection, where it is PostgreSQL's."""
        assert self._postgresql is not None, "it is SQLite's"
        return self._postgresql

    @property
    def core(self) -> AsyncConnection:
        """In autocommit mode: it begins and ends nothing."""
        if self._core is None:
            self._core = AsyncConnection(
                self.engine, Connection(self.engine.sync_engine, self._pooled)
            )
        return self._core

    @property
    def may_be_kept(self) -> bool:
        """Whether it is as the pool gave it out."""
        return self._core is None and not self._is_detached

    @property
    def is_begun(self) -> bool:
        """Whether it is in a transaction, as the server said last; see `KeptConnections`."""
        driver = self._postgresql
        return driver is not None and not driver.is_closed() and driver.is_in_transaction()

    @property
    def begins_writing(self) -> bool:
        """Whether its transactions begin as such that may write, as the server said last.

        It says so without being asked, from PostgreSQL 14 on. One that is chained to another is
        what that one was, so it would never learn that an operator has made the database read-only.
        """
        driver = self._postgresql
        if driver is None or driver.is_closed():
            return False
        return getattr(driver.get_settings(), "default_transaction_read_only", None) == "off"

    def is_current(self, servers: Servers | None) -> bool:
        """Whether it is what the pool would give out; see `Servers`."""
        if self._postgresql is None or servers is None or self.opened is None:
            return True
        return servers.is_current(self.opened) and not self._postgresql.is_closed()

    def has(self, seen: Seen) -> bool:
        """Whether it is known that its server has what was seen; see `note_has`."""
        known: Seen | None = self._pooled.info.get(_HAS)
        return (
            known is not None and known.history == seen.history and known.position >= seen.position
        )

    def note_has(self, seen: Seen) -> None:
        """Its server does: what it has it keeps, and the session is with no other server."""
        self._pooled.info[_HAS] = seen

    def detach(self) -> None:
        """Let the pool have another in its place; this one is closed when it is given back."""
        self._is_detached = True
        self._pooled.detach()

    def end_generation(self, servers: Servers) -> None:
        """It failed, and those that were opened before will; see `Servers`."""
        if self.opened is not None:
            servers.end(self.opened)
        self.terminate()

    def terminate(self) -> None:
        """At once: taking leave of a server that is silent takes seconds."""
        self.postgresql.terminate()

    async def end_begun(self, servers: Servers | None) -> bool:
        """End a transaction in which nothing was done; False if it failed and is closed."""
        try:
            await self.driver.execute("ROLLBACK")
        except Exception as error:
            if servers is not None and ends_session(error):
                self.end_generation(servers)
            self.terminate()
            await self.close()
            return False
        return True

    async def give_back(self) -> None:
        """Return it to the pool."""
        if self._core is not None:
            await self._core.close()
        else:
            await greenlet_spawn(self._pooled.close)

    async def close(self) -> None:
        """Let the pool open another one in its place."""
        if self._core is not None:
            await self._core.invalidate()
            await self._core.close()
        else:
            await greenlet_spawn(self._pooled.invalidate)


def note_warnings(engine: AsyncEngine) -> None:
    """Before the engine connects for the first time: what PostgreSQL warns of is kept.

    The last warning will do. Before the answer to a statement all are there that came with it.
    """

    def listen(connection: Any, record: Any) -> None:
        warnings = record.info[_WARNINGS] = deque[object](maxlen=1)

        def note(_: object, warning: object) -> None:
            warnings.append(warning)

        connection.driver_connection.add_log_listener(note)

    event.listen(engine.sync_engine, "connect", listen)


class KeptConnections:
    """From batch to batch, of an engine that serves nothing but batches.

    Taking a connection from a pool and giving it back costs as much as a statement. What ended the
    last transaction on it may have begun the next one (`Engines.may_chain`), so that a batch that
    follows soon is spared the round trip. For one that does not the transaction is ended in the
    background.
    """

    def __init__(
        self, servers: Servers | None = None, *, begun_seconds_max: float = BEGUN_SECONDS_MAX
    ) -> None:
        self._servers = servers
        self._begun_seconds_max = begun_seconds_max
        self._unused: list[PooledConnection] = []
        self._begun = Deadlines[PooledConnection](self._end)
        self._ending: dict[asyncio.Task[None], PooledConnection] = {}

    def __len__(self) -> int:
        return len(self._unused) + len(self._ending)

    async def take(self) -> PooledConnection | None:
        """The one that was used last; None if there is none."""
        while self._unused or self._ending:
            if not self._unused:
                # A round trip, where opening another connection takes several; or the driver's
                # time limit, where the server is silent, as BEGIN would wait.
                await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)
                continue
            lent = self._unused.pop()
            self._begun.forget(lent)
            if lent.is_current(self._servers):
                return lent
            lent.terminate()
            await lent.close()
        return None

    def add(self, lent: PooledConnection) -> None:
        self._unused.append(lent)
        if lent.is_begun:
            self._begun.watch(lent, asyncio.get_running_loop().time() + self._begun_seconds_max)

    def _end(self, lent: PooledConnection) -> None:
        self._unused.remove(lent)
        # It is nobody's: the batch whose context the timer has is over.
        task = asyncio.create_task(self._end_begun(lent), context=Context())
        self._ending[task] = lent
        task.add_done_callback(self._ending.pop)

    async def _end_begun(self, lent: PooledConnection) -> None:
        if await lent.end_begun(self._servers):
            self._unused.append(lent)

    async def give_back(self) -> None:
        """All of them to the pool, which is about to close them."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=LEAVING_SECONDS_MAX)
        while self._ending:
            # By a server that is silent. The transaction ends with its connection.
            for lent in self._ending.values():
                lent.terminate()
            await asyncio.wait(self._ending)
        while self._unused:
            lent = self._unused.pop()
            self._begun.forget(lent)
            await lent.give_back()
