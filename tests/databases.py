"""Empty, migrated databases of PostgreSQL, lent to one test after the other."""
# ruff: noqa: S608 - the names in these statements are those of the database's own tables

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import asyncpg

from tests.postgresql import TEMPLATE, PostgresServer, unused_name

SIZE_MAX = 4_000_000
"""Bytes of a database that is kept; deleted rows take up space, too."""

# Whatever changes the schema writes a row of the system's tables, under a transaction id that
# is higher than those before, or deletes one. Statistics are what a planner goes by.
_SCHEMA = " UNION ALL ".join(
    f"SELECT '{table}', count(*), max(xmin::text::bigint) FROM {table} WHERE {of_ours}"
    for table, of_ours in {
        "pg_class": "oid >= 16384",
        "pg_attribute": "attrelid >= 16384",
        "pg_attrdef": "true",
        "pg_constraint": "oid >= 16384",
        "pg_index": "indexrelid >= 16384",
        "pg_sequence": "true",
        "pg_trigger": "true",
        "pg_event_trigger": "true",
        "pg_proc": "oid >= 16384",
        "pg_type": "oid >= 16384",
        "pg_rewrite": "oid >= 16384",
        "pg_policy": "true",
        "pg_namespace": "true",
        "pg_extension": "true",
        "pg_collation": "oid >= 16384",
        "pg_statistic": "starelid >= 16384",
        "pg_db_role_setting": "setdatabase = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
    }.items()
)
_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1"
_SIZE = (
    "SELECT sum(pg_relation_size(oid))::bigint FROM pg_class "
    "WHERE relkind IN ('r', 'i', 't') AND oid >= 16384"
)
_OTHERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
_END_OTHERS = f"SELECT pg_terminate_backend(pid) FROM ({_OTHERS}) AS others"
_RESTART_SEQUENCES = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"


class Lender:
    """Lends databases, and empties those that come back: making one takes far longer.

    One that comes back with another schema, other settings or too much in it is dropped. So what
    is lent is as the migrations leave it, whatever the tests before did.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[_Database] = []
        # One loop, apart from those of the tests, keeps a connection to each database.
        self._thread = ThreadPoolExecutor(1)
        self._runner = self._thread.submit(asyncio.Runner).result()

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of a database that nobody else uses inside the block."""
        database = self._free.pop() if self._free else self._made()
        yield self._server.url(database.name)
        if self._thread.submit(self._runner.run, database.emptied()).result():
            self._free.append(database)
        else:
            self._drop(database)

    def close(self) -> None:
        while self._free:
            self._drop(self._free.pop())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def _made(self) -> "_Database":
        name = unused_name("lent")
        self._server.create_database(name, template=TEMPLATE)
        return self._thread.submit(self._runner.run, _Database.opened(self._server, name)).result()

    def _drop(self, database: "_Database") -> None:
        self._thread.submit(self._runner.run, database.connection.close()).result()
        self._server.drop_database(database.name)


@dataclass(frozen=True, kw_only=True)
class _Database:
    name: str
    connection: asyncpg.Connection = field(repr=False)
    schema: list[asyncpg.Record]
    to_empty: list[str]
    filled: dict[str, list[asyncpg.Record]]
    """Tables into which migrations put rows, and those."""

    @classmethod
    async def opened(cls, server: PostgresServer, name: str) -> "_Database":
        connection = await asyncpg.connect(host=str(server.root), user="shop", database=name)
        # Of a replica: neither foreign keys nor the ledger's triggers stop a deletion.
        await connection.execute("SET session_replication_role = replica")
        tables = [row[0] for row in await connection.fetch(_TABLES)]
        rows = {table: await connection.fetch(f"SELECT * FROM {table}") for table in tables}
        return cls(
            name=name,
            connection=connection,
            schema=await connection.fetch(_SCHEMA),
            to_empty=[table for table in tables if not rows[table]],
            filled={table: rows[table] for table in tables if rows[table]},
        )

    async def emptied(self) -> bool:
        """Whether it is as it was when it was opened, now."""
        try:
            return await self._emptied()
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError):
            return False  # a test that cuts connections has cut this one, too

    async def _emptied(self) -> bool:
        await self._end_others()
        if await self.connection.fetch(_SCHEMA) != self.schema:
            return False
        if await self.connection.fetchval(_SIZE) > SIZE_MAX:
            return False
        for table, rows in self.filled.items():
            if await self.connection.fetch(f"SELECT * FROM {table}") != rows:
                return False
        await self.connection.execute(
            "; ".join([*(f"DELETE FROM {table}" for table in self.to_empty), _RESTART_SEQUENCES])
        )
        return True

    async def _end_others(self) -> None:
        """End connections that a test left open, as they may hold locks."""
        while await self.connection.fetch(_OTHERS):
            await self.connection.execute(_END_OTHERS)
            await asyncio.sleep(0.001)
