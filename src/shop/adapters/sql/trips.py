"""Several statements in one trip to the thread of SQLite's connection.

aiosqlite hands each call to that thread and waits for it, which costs more than most statements
do: two wake-ups, and as many waits for the interpreter's lock (docs/performance.md).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import aiosqlite

from shop.adapters.sql.statements import told_of

T = TypeVar("T")


class Trip:
    """How a function sends statements on the connection's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, statement: str, *values: Any) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def send_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Once for each row."""
        self._connection.executemany(statement, rows)


class _NotedTrip(Trip):
    """One that remembers its statements, for who is told of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.sent: list[tuple[str, float, BaseException | None]] = []

    def fetch(self, statement: str, *values: Any) -> list[Any]:
        return self._noted(statement, super().fetch, *values)

    def send_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._noted(statement, super().send_each, rows)

    def _noted(self, statement: str, send: Callable[..., T], *values: Any) -> T:
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            return send(statement, *values)
        except BaseException as failure:
            error = failure
            raise
        finally:
            self.sent.append((statement, time.perf_counter() - started, error))


async def in_one_trip(driver: aiosqlite.Connection, work: Callable[[Trip], T]) -> T:
    """What `work` returns, which runs on the connection's thread.

    It ends with the first statement that fails, and then nothing is sent after that. It does not
    end when its caller is cancelled: all that it sends comes before the ROLLBACK. It must wait for
    nothing but the database.
    """
    tell = told_of(driver)
    if tell is None:
        return await _travel(driver, work, Trip(driver._conn))
    trip = _NotedTrip(driver._conn)
    try:
        return await _travel(driver, work, trip)
    finally:
        # Of one that is cancelled, those that were done by then.
        for statement, seconds, error in tuple(trip.sent):
            tell(statement, seconds, error)


async def open_sqlite(*args: Any, **options: Any) -> aiosqlite.Connection:
    """A new connection. Who is cancelled meanwhile leaves none behind that nobody closes."""
    connection = aiosqlite.connect(*args, **options)
    # As SQLAlchemy does: a connection holds up no process that ends.
    connection._thread.daemon = True
    opening = asyncio.ensure_future(connection)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: "asyncio.Future[aiosqlite.Connection]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().stop()


def roll_back_soon(driver: aiosqlite.Connection) -> None:
    """As the next on the connection's thread, for who is about to close it and cannot wait."""
    if driver._connection is not None:
        driver._tx.put_nowait((None, driver._connection.rollback))


async def _travel(driver: aiosqlite.Connection, work: Callable[[Trip], T], trip: Trip) -> T:
    done: T = await driver._execute(work, trip)  # type: ignore[no-untyped-call]  # it has no types
    return done
