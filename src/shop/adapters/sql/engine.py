"""Database engines, each with connections of its own, set up for SQLite or PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shop.adapters.sql.connections import (
    BEGUN_SECONDS_MAX,
    KeptConnections,
    PooledConnection,
    note_warnings,
)
from shop.adapters.sql.files import make_private
from shop.adapters.sql.marks import MARKING
from shop.adapters.sql.servers import Servers, set_up_in_transaction
from shop.adapters.sql.statements import StatementObserver, observe_statements
from shop.adapters.sql.trips import open_sqlite, roll_back_soon
from shop.adapters.sql.urls import parse_url, read_only_url, split_options, sqlite_file
from shop.adapters.turns import UserTurns

# An error names its statement, not the values in it: password hashes are among them.
_QUIET: dict[str, Any] = {"hide_parameters": True}

INTAKE_CONNECTIONS = 2
"""One for each of the intake's lines."""
LOOK_UP_CONNECTIONS = 2
"""One for products and one for orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """Bounds on what the database may cost; times in seconds."""

    pool_size: int = 10
    """Connections for changes; the order intake has its own."""
    read_pool_size: int = 4
    """Connections for reads: so many run at once, of one user at most a quarter. Two more are for
    looking up what many ask for, products and orders."""
    pool_timeout: float = 5.0
    connect_timeout: float = 3.0
    statement_timeout: float = 10.0
    read_statement_timeout: float = 5.0
    lock_timeout: float = 5.0
    application_name: str = "shop"
    pgbouncer: bool = False
    """Whether connections go through PgBouncer in transaction mode."""
    marking: bool = False
    """Whether changes say how far the database has come with them, for who reads from replicas."""
    inspecting: bool = False
    """Whether the database is only looked at: no file is made or changed, and nobody writes."""

    @property
    def connections_max(self) -> int:
        """Of one process, all its pools together."""
        return self.pool_size + INTAKE_CONNECTIONS + self.read_pool_size + LOOK_UP_CONNECTIONS

    @property
    def reads_of_one_user(self) -> int:
        return max(1, self.read_pool_size // 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    in_use: int
    size: int
    awaited: int
    """How many wait for a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Connections in autocommit mode: units of work begin and end their transactions by themselves.

    Readers cannot take the connections of those who change something, and nobody takes the
    intake's. The patient ones are for migrations, which take as long as they take.
    """

    write: AsyncEngine
    intake: AsyncEngine
    read: AsyncEngine
    look_up: AsyncEngine
    """For short reads on behalf of many, which shall not wait for long ones."""
    patient: AsyncEngine
    """These begin transactions."""
    begin: str
    begin_briefly: str
    """For who gives up waiting for a lock after a moment."""
    begin_reading: str | None
    """None: a read sees its own moment, and saves two round trips."""
    commit_seconds_max: float
    """How long a caller waits for a COMMIT; it is never cancelled, only no longer waited for."""
    reading: UserTurns
    kept: Mapping[AsyncEngine, KeptConnections]
    chaining: bool = False
    """Whether what ends the transaction of a batch may begin that of the next one."""
    servers: Servers | None = None
    """None of SQLite."""
    marking: bool = False
    """See `DatabaseOptions`."""
    abandoned: set["asyncio.Task[None]"] = field(default_factory=set)
    """The COMMITs nobody waits for any more."""
    awaited: Counter[AsyncEngine] = field(default_factory=Counter)
    """How many wait for a connection."""

    async def connect(self, engine: AsyncEngine) -> PooledConnection:
        kept = self.kept.get(engine)
        if kept is not None and (lent := await kept.take()) is not None:
            return lent
        self.awaited[engine] += 1
        try:
            return await PooledConnection.of(engine)
        finally:
            self.awaited[engine] -= 1

    @property
    def pools(self) -> Mapping[str, PoolState]:
        """How each does, by name."""
        engines = {"write": self.write, "read": self.read, "look_up": self.look_up}
        if self.intake is not self.write:
            engines["intake"] = self.intake
        return {name: self._state(engine) for name, engine in engines.items()}

    def _state(self, engine: AsyncEngine) -> PoolState:
        pool = engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)
        unused = len(self.kept.get(engine, ()))
        return PoolState(
            in_use=pool.checkedout() - unused, size=pool.size(), awaited=self.awaited[engine]
        )

    def may_chain(self, lent: PooledConnection) -> bool:
        """Whether what ends its transaction may begin the next one: `COMMIT AND CHAIN`."""
        return (
            self.chaining
            and lent.engine is self.intake
            and self._may_be_kept(lent)
            and lent.begins_writing
        )

    def _may_be_kept(self, lent: PooledConnection) -> bool:
        # What somebody waits for at the pool is not kept from them.
        return lent.may_be_kept and not self.awaited[lent.engine]

    async def give_back(self, lent: PooledConnection) -> None:
        kept = self.kept.get(lent.engine)
        if kept is not None and self._may_be_kept(lent):
            kept.add(lent)
        # What a pool has is in no transaction: nobody would end it.
        elif not lent.is_begun or await lent.end_begun(self.servers):
            await lent.give_back()

    async def dispose(self) -> None:
        for kept in self.kept.values():
            await kept.give_back()
        # SQLite has one writer, so there the first two are the same.
        for engine in {self.write, self.intake, self.read, self.look_up}:
            await engine.dispose()


def create_engines(
    url: str | URL,
    options: DatabaseOptions | None = None,
    *,
    observers: Sequence[StatementObserver] = (),
) -> Engines:
    parsed = parse_url(url) if isinstance(url, str) else url
    options = options or DatabaseOptions()
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if options.inspecting and not is_sqlite:
        # Both work then: PgBouncer, and a server without one.
        options = replace(options, pgbouncer=True)
    made = (_sqlite_engines if is_sqlite else _postgresql_engines)(parsed, options)
    # SQLite has one writer, so there the first two are the same.
    for engine in {made.write, made.intake, made.read, made.look_up, made.patient}:
        observe_statements(engine, observers)
    return made


# Whatever the database's default is: the rules about locks are made for this level.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# Milliseconds; longer than a batch of another process takes.
_BRIEFLY = "250"

# The statements are few and short, and the same plan fits whatever their arrays hold: planning each
# anew costs more than running it.
_PLANS = {"jit": "off", "plan_cache_mode": "force_generic_plan"}


# A read has one process of the server, not several: orders need the others' processors. What is
# looked up by keys, and lists, read along indexes (see `pages.py`), are mostly in memory: a
# planner that expects a disk reads whole tables instead, or sorts what fits.
_READ_PLANS = _PLANS | {"max_parallel_workers_per_gather": "0", "random_page_cost": "1.1"}


def _postgresql_engines(url: URL, options: DatabaseOptions) -> Engines:
    servers = Servers()
    url, of_url = split_options(url)
    writing = _limits(options, options.statement_timeout) | _PLANS
    batching = writing | {"lock_timeout": _BRIEFLY}
    reading = _limits(options, options.read_statement_timeout) | _READ_PLANS
    if options.inspecting:
        # Last: what was set before is not refused.
        reading |= {"transaction_read_only": "on"}

    def engine(settings: Mapping[str, str], timeout: float | None, **pool: Any) -> AsyncEngine:
        made = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            connect_args=_connect_args(options, settings, timeout, of_url),
            **pool,
            **_QUIET,
        )
        servers.watch(made)
        note_warnings(made)
        if options.pgbouncer:
            set_up_in_transaction(made)
        return made

    def pooled(
        settings: Mapping[str, str], timeout: float, size: int, **others: Any
    ) -> AsyncEngine:
        return engine(
            settings,
            timeout,
            pool_size=size,
            max_overflow=0,
            pool_timeout=options.pool_timeout,
            pool_use_lifo=True,
            **others,
        )

    def begin(settings: Mapping[str, str]) -> str:
        return _begin_with(settings) if options.pgbouncer else _BEGIN

    intake = pooled(batching, options.statement_timeout, INTAKE_CONNECTIONS)
    look_up = pooled(reading, options.read_statement_timeout, LOOK_UP_CONNECTIONS)
    marks = {"execution_options": {MARKING: True}} if options.marking else {}
    return Engines(
        write=pooled(writing, options.statement_timeout, options.pool_size, **marks),
        intake=intake,
        read=pooled(reading, options.read_statement_timeout, options.read_pool_size),
        look_up=look_up,
        kept={
            # Before the server would end the session for it.
            intake: KeptConnections(
                servers, begun_seconds_max=min(BEGUN_SECONDS_MAX, options.statement_timeout / 2)
            ),
            look_up: KeptConnections(servers),
        },
        # A connection to PgBouncer that is in a transaction has one of the server's to itself.
        chaining=not options.pgbouncer,
        patient=engine({}, None, poolclass=NullPool).execution_options(
            isolation_level="READ COMMITTED"
        ),
        begin=begin(writing),
        begin_briefly=begin(batching),
        # Through PgBouncer even a read needs a transaction, or its parts reach different servers.
        begin_reading=_begin_with(reading) if options.pgbouncer else None,
        commit_seconds_max=options.statement_timeout,
        reading=_turns(options),
        servers=servers,
        marking=options.marking,
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
    options: DatabaseOptions,
    settings: Mapping[str, str],
    timeout: float | None,
    of_url: Mapping[str, Any],
) -> dict[str, Any]:
    """What asyncpg's `connect` is told; the options of the URL have the last word."""
    named = {"application_name": options.application_name, **of_url.get("server_settings", {})}
    args: dict[str, Any] = {
        "timeout": options.connect_timeout,
        # The driver's own limit stands behind the server's, for a server that is gone.
        "command_timeout": timeout and timeout + 1,
        **of_url,
        "server_settings": {**named, **settings},
    }
    if options.pgbouncer:
        # A server connection is ours for one transaction only: nothing may be left on it, so no
        # statement stays prepared, names never repeat, and settings are made in the transaction.
        args["server_settings"] = named
        args["statement_cache_size"] = 0
        args["prepared_statement_cache_size"] = 0
        args["prepared_statement_name_func"] = lambda: f"shop_{uuid4().hex}"
    return args


def _turns(options: DatabaseOptions) -> UserTurns:
    return UserTurns(at_once=options.reads_of_one_user, seconds_max=options.pool_timeout)


_BEGIN_IMMEDIATE = "BEGIN IMMEDIATE"


def _sqlite_engines(url: URL, options: DatabaseOptions) -> Engines:
    """SQLite has one writer at a time: with a pool of one they queue fairly for it."""
    if options.inspecting:
        url = read_only_url(url)
    else:
        make_private(sqlite_file(url))
    connect_args = {"timeout": options.lock_timeout, "async_creator_fn": open_sqlite}
    write, read, look_up = (
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
        for pool_size in (1, options.read_pool_size, 2)
    )
    patient = create_async_engine(url, poolclass=NullPool, connect_args=connect_args, **_QUIET)
    for engine in (write, read, look_up, patient):
        event.listen(
            engine.sync_engine,
            "connect",
            _look_at_sqlite if options.inspecting else _set_up_sqlite,
        )
    for engine in (read, look_up):
        event.listen(engine.sync_engine, "connect", _refuse_writes)
    for engine in (write, patient):
        event.listen(engine.sync_engine, "close", _roll_back)
    event.listen(write.sync_engine, "connect", _keep_pages)
    event.listen(patient.sync_engine, "begin", _begin_immediate)
    # A transaction that reads first and writes later could lose the lock in between: take it first.
    return Engines(
        write=write,
        intake=write,
        read=read,
        look_up=look_up,
        kept={look_up: KeptConnections()},
        patient=patient,
        begin=_BEGIN_IMMEDIATE,
        begin_briefly=_BEGIN_IMMEDIATE,
        begin_reading=None,
        commit_seconds_max=options.statement_timeout,
        reading=_turns(options),
    )


_LOG_BYTES_MAX = 16 * 1024 * 1024
_LOG_FRAME_BYTES = 24 + 4096
"""Of a page in the log, of the size that SQLite gives a new database."""
_CACHE_KIB = 8 * 1024


def _set_up_sqlite(connection: Any, _record: object) -> None:
    _look_at_sqlite(connection, _record)
    _set_pragmas(connection, "journal_mode=WAL")


def _look_at_sqlite(connection: Any, _record: object) -> None:
    """What concerns the connection alone, and nothing that is kept in the file."""
    # None: the driver begins nothing by itself.
    connection.isolation_level = None
    # Without recursive triggers a REPLACE would delete rows of the ledger past its trigger.
    _set_pragmas(
        connection,
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",
        # The log grows while somebody reads for long; it shrinks again when it is started anew.
        f"journal_size_limit={_LOG_BYTES_MAX}",
        # What many orders change lies together, and is copied into the database once for all of
        # them. A log that is no longer than its limit is written over, which the disk syncs faster
        # than one that grows.
        f"wal_autocheckpoint={_LOG_BYTES_MAX // _LOG_FRAME_BYTES}",
    )


def _refuse_writes(connection: Any, _record: object) -> None:
    """A write in autocommit would last without a commit."""
    _set_pragmas(connection, "query_only=ON")


def _keep_pages(connection: Any, _record: object) -> None:
    """All that a batch changes: what finds no room is written to the log before the COMMIT, too."""
    _set_pragmas(connection, f"cache_size=-{_CACHE_KIB}")


def _roll_back(connection: Any, _record: object) -> None:
    """Before it is closed.

    SQLite keeps a closed connection, and its lock, for as long as there is a cursor with rows to
    come; that of a caller who was cancelled is there until the next garbage collection.
    """
    roll_back_soon(connection.driver_connection)


def _set_pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql(_BEGIN_IMMEDIATE)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
