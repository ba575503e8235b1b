"""Who is told of each statement that goes to the database, through SQLAlchemy or past it.

Nothing of this is there, and nothing is paid for it, where nobody wants to be told.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiosqlite
import asyncpg
from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine


class StatementObserver:
    """Told of statements; this one does nothing with it.

    It is called in the context of whoever sent the statement, so `work_under_way` says for which
    use case that was, if for any.
    """

    def statement_done(
        self, statement: str, *, seconds: float, error: BaseException | None
    ) -> None: ...


# What the shop calls of the drivers, with what its first argument lacks to be a statement.
# SQLAlchemy has ways of its own, and events.
_METHODS: Sequence[tuple[type[Any], Mapping[str, str]]] = (
    (asyncpg.Connection, {"execute": "", "fetch": "", "copy_records_to_table": "COPY "}),
    (aiosqlite.Connection, {"execute": "", "executemany": "", "execute_fetchall": ""}),
)
_STARTED = "shop_statement_started"
_TELL = "shop_tell"

_Tell = Callable[[str, float, BaseException | None], None]
"""With the seconds that a statement took."""
_Done = Callable[[str, float, BaseException | None], None]
"""With when it started."""


def observe_statements(engine: AsyncEngine, observers: Sequence[StatementObserver]) -> None:
    """Before the engine connects for the first time."""
    if not observers:
        return

    def tell(statement: str, seconds: float, error: BaseException | None) -> None:
        for observer in observers:
            observer.statement_done(statement, seconds=seconds, error=error)

    def done(statement: str, started: float, error: BaseException | None) -> None:
        tell(statement, time.perf_counter() - started, error)

    observed = {
        driver: _observed_class(driver, methods, done, tell) for driver, methods in _METHODS
    }

    def connected(connection: Any, _record: object) -> None:
        # Its class, since one driver has no say in what class it makes a connection of, and the
        # other no room for methods in the connection itself.
        driver = connection.driver_connection
        driver.__class__ = observed[type(driver)]

    def failed(context: ExceptionContext) -> None:
        connection, statement = context.connection, context.statement
        # What was never sent, since it cannot be compiled, did not start.
        if connection is not None and statement is not None and _STARTED in connection.info:
            done(statement, connection.info.pop(_STARTED), context.original_exception)

    def succeeded(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        done(statement, connection.info.pop(_STARTED), None)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "before_cursor_execute", _started)
    event.listen(engine.sync_engine, "after_cursor_execute", succeeded)
    event.listen(engine.sync_engine, "handle_error", failed)


def told_of(driver: object) -> _Tell | None:
    """Who sends statements past the driver's own methods tells of them by this, if anybody asks."""
    tell: _Tell | None = getattr(driver, _TELL, None)
    return tell


def _started(connection: Connection, *_: object) -> None:
    # A connection has one statement at a time.
    connection.info[_STARTED] = time.perf_counter()


def _observed_class(
    driver: type[Any], methods: Mapping[str, str], done: _Done, tell: _Tell
) -> type[Any]:
    observed = {name: _observed(driver, name, prefix, done) for name, prefix in methods.items()}
    attributes = {"__slots__": (), _TELL: staticmethod(tell), **observed}
    return type(driver.__name__, (driver,), attributes)


def _observed(
    driver: type[Any], name: str, prefix: str, done: _Done
) -> Callable[..., Awaitable[Any]]:
    async def method(self: Any, statement: str, *args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            result = await getattr(driver, name)(self, statement, *args, **options)
        except BaseException as error:
            done(prefix + statement, started, error)
            raise
        done(prefix + statement, started, None)
        return result

    return method
