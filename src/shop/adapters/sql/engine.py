"""Database engines: one for transactions, one for reads, set up for SQLite or PostgreSQL."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Connection, NullPool, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shop.domain.errors import StoreUnavailable

# An error names its statement, not the values in it: password hashes are among them.
_QUIET: dict[str, Any] = {"hide_parameters": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """Bounds on what the database may cost; times in seconds."""

    pool_size: int = 10
    pool_timeout: float = 5.0
    connect_timeout: float = 5.0
    statement_timeout: float = 10.0
    lock_timeout: float = 5.0
    application_name: str = "shop"
    pgbouncer: bool = False
    """Whether connections go through PgBouncer in transaction mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Connections in autocommit mode: units of work begin and end their transactions by themselves.

    The patient ones are for migrations, which take as long as they take; those begin transactions.
    """

    write: AsyncEngine
    read: AsyncEngine
    patient: AsyncEngine
    begin: str
    begin_briefly: str
    """For who gives up waiting for a lock after a moment."""
    begin_reading: str | None
    """None: a read sees its own moment, and saves two round trips."""
    commit: str
    commit_seconds_max: float
    """How long a caller waits for a COMMIT; it is never cancelled, only no longer waited for."""
    abandoned: set["asyncio.Task[None]"] = field(default_factory=set)
    """The COMMITs nobody waits for any more."""

    async def dispose(self) -> None:
        await self.write.dispose()
        await self.read.dispose()


def create_engines(url: str, options: DatabaseOptions | None = None) -> Engines:
    parsed = make_url(url)
    options = options or DatabaseOptions()
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engines(parsed, options)
    return _postgresql_engines(parsed, options)


# Whatever the database's default is: the rules about locks are made for this level.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# Milliseconds; longer than a batch of another process takes.
_BRIEFLY = 250
# While it waits for a synchronous standby the server would break it off after its statement
# timeout: committed here, and gone if that standby takes over.
_COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"

# The statements are few and short, and the same plan fits whatever their arrays hold: planning each
# anew costs more than running it.
_PLANS = {"jit": "off", "plan_cache_mode": "force_generic_plan"}


def _postgresql_engines(url: URL, options: DatabaseOptions) -> Engines:
    timeouts = {
        "statement_timeout": _milliseconds(options.statement_timeout),
        "lock_timeout": _milliseconds(options.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(options.statement_timeout),
    }
    connect_args: dict[str, Any] = {
        "timeout": options.connect_timeout,
        # The driver's own limit stands behind the server's, for a server that is gone.
        "command_timeout": options.statement_timeout + 1,
        "server_settings": {"application_name": options.application_name},
    }
    if options.pgbouncer:
        # A server connection is ours for one transaction only: nothing may be left on it, so no
        # statement stays prepared, names never repeat, and timeouts are set in the transaction.
        connect_args["statement_cache_size"] = 0
        connect_args["prepared_statement_cache_size"] = 0
        connect_args["prepared_statement_name_func"] = lambda: f"shop_{uuid4().hex}"
        local = timeouts | _PLANS
        begin = "; ".join([_BEGIN, *(f"SET LOCAL {name} = {to}" for name, to in local.items())])
        # Even a read needs a transaction, or its parts reach different servers.
        begin_reading = begin
    else:
        connect_args["server_settings"] |= timeouts | _PLANS
        begin, begin_reading = _BEGIN, None
    engine = create_async_engine(
        url,
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.pool_timeout,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_args,
        **_QUIET,
    )
    event.listen(engine.sync_engine, "checkout", _replace_closed)
    patient = create_async_engine(
        url, poolclass=NullPool, connect_args={"timeout": options.connect_timeout}, **_QUIET
    )
    return Engines(
        write=engine,
        read=engine,
        patient=patient,
        begin=begin,
        begin_briefly=f"{begin}; SET LOCAL lock_timeout = {_BRIEFLY}",
        begin_reading=begin_reading,
        commit=_COMMIT,
        commit_seconds_max=options.statement_timeout,
    )


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Make the pool connect anew where the server has hung up meanwhile.

    The driver knows without asking the server. Otherwise every connection that was idle in an
    outage would fail one more request when the database is back.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


_BEGIN_IMMEDIATE = "BEGIN IMMEDIATE"


def _sqlite_engines(url: URL, options: DatabaseOptions) -> Engines:
    """SQLite has one writer at a time: with a pool of one they queue fairly for it."""
    if url.database and not url.database.startswith("file:"):
        _make_private(Path(url.database))
    connect_args = {"timeout": options.lock_timeout}
    write, read = (
        create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=options.pool_timeout,
            isolation_level="AUTOCOMMIT",
            # A rollback of nothing would still be a trip to the connection's thread and back.
            skip_autocommit_rollback=True,
            connect_args=connect_args,
            **_QUIET,
        )
        for pool_size in (1, options.pool_size)
    )
    patient = create_async_engine(url, poolclass=NullPool, connect_args=connect_args, **_QUIET)
    for engine in (write, read, patient):
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(read.sync_engine, "connect", _refuse_writes)
    event.listen(patient.sync_engine, "begin", _begin_immediate)
    # A transaction that reads first and writes later could lose the lock in between: take it first.
    return Engines(
        write=write,
        read=read,
        patient=patient,
        begin=_BEGIN_IMMEDIATE,
        begin_briefly=_BEGIN_IMMEDIATE,
        begin_reading=None,
        commit="COMMIT",
        commit_seconds_max=options.statement_timeout,
    )


def _make_private(file: Path) -> None:
    """The folder, if there is none, and the file are their owner's alone, whatever the umask.

    SQLite gives what it makes beside the file, such as `-wal`, the permissions of the file.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"The folder {file.parent} of the SQLite database cannot be made ({error.strerror}); "
            "set SHOP_DATABASE_URL to a place that can be written."
        ) from error
    # What cannot be made or is somebody else's SQLite will tell, if it cannot be used either.
    with suppress(OSError):
        file.touch(mode=0o600, exist_ok=False)
    for made in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        with suppress(OSError):
            made.chmod(made.stat().st_mode & ~0o077)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # None: the driver begins nothing by itself.
    connection.isolation_level = None
    # Without recursive triggers a REPLACE would delete rows of the ledger past its trigger.
    _set_pragmas(
        connection,
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
    )


def _refuse_writes(connection: Any, _record: object) -> None:
    """A write in autocommit would last without a commit."""
    _set_pragmas(connection, "query_only=ON")


def _set_pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql(_BEGIN_IMMEDIATE)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
