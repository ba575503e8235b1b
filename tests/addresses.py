"""A TCP address that leads to a PostgreSQL server, and to another one when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.postgresql import PostgresServer

_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Address:
    """What a proxy or a cluster's address is to the shop.

    Connections that were made stay with the server they were made to. An address that leads
    nowhere takes connections and says nothing.
    """

    def __init__(self, leads_to: PostgresServer | None = None) -> None:
        self.leads_to = leads_to
        self.silent = False
        """Whether what is sent gets lost, on the way there and back, while connections stay."""
        self.answers_max = 1_000_000
        """How many pieces of what a server answers to one connection go on; then it is cut."""
        self.refuses = False
        """Whether it ends connections as soon as they are made."""
        self.taken = 0
        """How many connections were made to it."""
        self.asked = 0
        """How many pieces of what was sent to it went on: one for each round trip."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.refuses:
                return
            if self.leads_to is None:
                await reader.read()
                return
            socket = self.leads_to.root / ".s.PGSQL.5432"
            with suppress(OSError):
                to_server = await asyncio.open_unix_connection(str(socket))
                await self._join((reader, writer), to_server)
        except asyncio.CancelledError:
            # asyncio's streams complain of a handler that was cancelled.
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(self, one: _Ends, other: _Ends) -> None:
        """Hand everything over, in both directions, until either end is closed."""
        ways = [
            asyncio.create_task(self._hand_over(one[0], other[1], are_questions=True)),
            asyncio.create_task(self._hand_over(other[0], one[1], at_most=self.answers_max)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            other[1].transport.abort()

    async def _hand_over(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        at_most: int = 1_000_000,
        are_questions: bool = False,
    ) -> None:
        with suppress(OSError):
            for _ in range(at_most):
                if not (data := await reader.read(65_536)):
                    return
                self.asked += are_questions
                if not self.silent:
                    writer.write(data)
                    await writer.drain()

    async def hang_up(self) -> None:
        """End all connections."""
        await self._close()

    async def _close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@asynccontextmanager
async def address(leads_to: PostgresServer | None = None) -> AsyncIterator[Address]:
    """On a port of its own, for as long as the block."""
    made = Address(leads_to)
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made._close()
        await server.wait_closed()
