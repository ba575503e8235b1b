"""Database engines, each with connections of its own, set up for SQLite or PostgreSQL."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Connection, NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shop.adapters.sql.servers import Servers, parse_url, set_up_in_transaction
from shop.adapters.turns import UserTurns
from shop.domain.errors import StoreUnavailable

# An error names its statement, not the values in it: password hashes are among them.
_QUIET: dict[str, Any] = {"hide_parameters": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """Bounds on what the database may cost; times in seconds."""

    pool_size: int = 10
    """Connections for changes; the order intake has two more."""
    read_pool_size: int = 4
    """Connections for reads: so many run at once, of one user at most a quarter."""
    pool_timeout: float = 5.0
    connect_timeout: float = 3.0
    statement_timeout: float = 10.0
    read_statement_timeout: float = 5.0
    lock_timeout: float = 5.0
    application_name: str = "shop"
    pgbouncer: bool = False
    """Whether connections go through PgBouncer in transaction mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Connections in autocommit mode: units of work begin and end their transactions by themselves.

    Readers cannot take the connections of those who change something, and nobody takes the
    intake's. The patient ones are for migrations, which take as long as they take.
    """

    write: AsyncEngine
    intake: AsyncEngine
    read: AsyncEngine
    patient: AsyncEngine
    """These begin transactions."""
    begin: str
    begin_briefly: str
    """For who gives up waiting for a lock after a moment."""
    begin_reading: str | None
    """None: a read sees its own moment, and saves two round trips."""
    commit: str
    commit_seconds_max: float
    """How long a caller waits for a COMMIT; it is never cancelled, only no longer waited for."""
    reading: UserTurns
    servers: Servers | None = None
    """None of SQLite."""
    abandoned: set["asyncio.Task[None]"] = field(default_factory=set)
    """The COMMITs nobody waits for any more."""

    async def dispose(self) -> None:
        # SQLite has one writer, so there the first two are the same.
        for engine in {self.write, self.intake, self.read}:
            await engine.dispose()


def create_engines(url: str, options: DatabaseOptions | None = None) -> Engines:
    parsed = parse_url(url)
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


# A read has one process of the server, not several: orders need the others' processors. What it
# reads is mostly in memory, where a row by an index costs little more than the next row.
_READ_PLANS = _PLANS | {"max_parallel_workers_per_gather": "0", "random_page_cost": "1.1"}


def _postgresql_engines(url: URL, options: DatabaseOptions) -> Engines:
    servers = Servers()
    writing = _limits(options, options.statement_timeout) | _PLANS
    reading = _limits(options, options.read_statement_timeout) | _READ_PLANS

    def engine(settings: Mapping[str, str], timeout: float | None, **pool: Any) -> AsyncEngine:
        made = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            connect_args=_connect_args(options, settings, timeout),
            **pool,
            **_QUIET,
        )
        servers.watch(made)
        if options.pgbouncer:
            set_up_in_transaction(made)
        return made

    def pooled(settings: Mapping[str, str], timeout: float, size: int) -> AsyncEngine:
        return engine(
            settings,
            timeout,
            pool_size=size,
            max_overflow=0,
            pool_timeout=options.pool_timeout,
            pool_use_lifo=True,
        )

    begin = _begin_with(writing) if options.pgbouncer else _BEGIN
    return Engines(
        write=pooled(writing, options.statement_timeout, options.pool_size),
        # One for each of the intake's lines.
        intake=pooled(writing, options.statement_timeout, 2),
        read=pooled(reading, options.read_statement_timeout, options.read_pool_size),
        patient=engine({}, None, poolclass=NullPool).execution_options(
            isolation_level="READ COMMITTED"
        ),
        begin=begin,
        begin_briefly=f"{begin}; SET LOCAL lock_timeout = {_BRIEFLY}",
        # Through PgBouncer even a read needs a transaction, or its parts reach different servers.
        begin_reading=_begin_with(reading) if options.pgbouncer else None,
        commit=_COMMIT,
        commit_seconds_max=options.statement_timeout,
        reading=_turns(options),
        servers=servers,
    )


def _limits(options: DatabaseOptions, statement_timeout: float) -> dict[str, str]:
    return {
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(options.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(statement_timeout),
    }


def _begin_with(settings: Mapping[str, str]) -> str:
    return "; ".join([_BEGIN, *(f"SET LOCAL {name} = {to}" for name, to in settings.items())])


def _connect_args(
    options: DatabaseOptions, settings: Mapping[str, str], timeout: float | None
) -> dict[str, Any]:
    args: dict[str, Any] = {
        "timeout": options.connect_timeout,
        # The driver's own limit stands behind the server's, for a server that is gone.
        "command_timeout": timeout and timeout + 1,
        "server_settings": {"application_name": options.application_name, **settings},
    }
    if options.pgbouncer:
        # A server connection is ours for one transaction only: nothing may be left on it, so no
        # statement stays prepared, names never repeat, and settings are made in the transaction.
        args["server_settings"] = {"application_name": options.application_name}
        args["statement_cache_size"] = 0
        args["prepared_statement_cache_size"] = 0
        args["prepared_statement_name_func"] = lambda: f"shop_{uuid4().hex}"
    return args


def _turns(options: DatabaseOptions) -> UserTurns:
    return UserTurns(at_once=max(1, options.read_pool_size // 4), seconds_max=options.pool_timeout)


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
        for pool_size in (1, options.read_pool_size)
    )
    patient = create_async_engine(url, poolclass=NullPool, connect_args=connect_args, **_QUIET)
    for engine in (write, read, patient):
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    event.listen(read.sync_engine, "connect", _refuse_writes)
    event.listen(patient.sync_engine, "begin", _begin_immediate)
    # A transaction that reads first and writes later could lose the lock in between: take it first.
    return Engines(
        write=write,
        intake=write,
        read=read,
        patient=patient,
        begin=_BEGIN_IMMEDIATE,
        begin_briefly=_BEGIN_IMMEDIATE,
        begin_reading=None,
        commit="COMMIT",
        commit_seconds_max=options.statement_timeout,
        reading=_turns(options),
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


_LOG_BYTES_MAX = 16 * 1024 * 1024


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
        # The log grows while somebody reads for long; it shrinks again when it is started anew.
        f"journal_size_limit={_LOG_BYTES_MAX}",
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
