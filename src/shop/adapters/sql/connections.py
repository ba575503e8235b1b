"""Connections, lent by the pools of the engines."""

from typing import Self

import aiosqlite
import asyncpg
from sqlalchemy import Connection, PoolProxiedConnection
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.servers import Servers, opened_of
from shop.adapters.work import Seen

_HAS = "shop_has_seen"


class PooledConnection:
    """A connection of the pool, and SQLAlchemy's own around it for who asks."""

    def __init__(self, engine: AsyncEngine, pooled: PoolProxiedConnection) -> None:
        self.engine = engine
        self._pooled = pooled
        self.opened = opened_of(pooled)
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
    def driver(self) -> Driver:
        driver = self._pooled.driver_connection
        assert isinstance(driver, asyncpg.Connection | aiosqlite.Connection)
        return driver

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

    def is_current(self, servers: Servers | None) -> bool:
        """Whether it is what the pool would give out; see `Servers`."""
        driver = self.driver
        if isinstance(driver, aiosqlite.Connection) or servers is None or self.opened is None:
            return True
        return servers.is_current(self.opened) and not driver.is_closed()

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
        driver = self._pooled.driver_connection
        if driver is not None:
            driver.terminate()

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
