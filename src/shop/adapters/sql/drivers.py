"""Reads that go straight to the drivers, on a connection of the pool.

Their statements are written in SQLAlchemy Core, as all others are, but once for each shape, with
named parameters; so the statement itself is what its compiled text is found by. What SQLAlchemy
does besides for each execution costs several times what a short read needs, and with SQLite several
trips to the connection's thread instead of one (docs/performance.md).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias

import aiosqlite
import asyncpg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Select,
    Text,
    TypeDecorator,
    any_,
    bindparam,
    func,
    make_url,
    select,
    text,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from shop.adapters.sql.marks import HAS_SEEN
from shop.adapters.sql.rows import Columns, ReadRow
from shop.adapters.sql.trips import Trip
from shop.adapters.work import Seen

# A string: asyncpg's class is generic for type checkers only.
Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record] | aiosqlite.Connection"


async def read_from(
    driver: Driver, statement: Select[Any], parameters: Mapping[str, Any]
) -> Sequence[ReadRow]:
    """The rows of a statement that is made once and kept; its columns have names of their own."""
    if isinstance(driver, aiosqlite.Connection):
        compiled = _compiled(statement, "sqlite+aiosqlite://")
        rows = await driver.execute_fetchall(compiled.sql, compiled.values(parameters))
        return list(compiled.columns.read(rows))
    compiled = _compiled(statement, "postgresql+asyncpg://")
    records = await driver.fetch(compiled.sql, *compiled.values(parameters))
    columns = compiled.columns
    return records if columns.is_read_as_it_comes else list(columns.read(records))


async def expected_rows(
    driver: "asyncpg.Connection[asyncpg.Record]",
    statement: Select[Any],
    parameters: Mapping[str, Any],
) -> int:
    """How many PostgreSQL expects of a statement with these values.

    It plans what it explains with the values given, also where it plans others without them.
    """
    compiled = _compiled(statement, "postgresql+asyncpg://")
    explained = f"EXPLAIN (FORMAT JSON) {compiled.sql}"
    # SQLAlchemy has told the connections of its pools how to read JSON.
    [record] = await driver.fetch(explained, *compiled.values(parameters))
    [plan] = record[0]
    return int(plan["Plan"]["Plan Rows"])


def driver_of(connection: AsyncConnection) -> Driver:
    """The connection below SQLAlchemy's, in the same transaction."""
    assert connection.sync_connection is not None
    driver = connection.sync_connection.connection.driver_connection
    assert isinstance(driver, asyncpg.Connection | aiosqlite.Connection)
    return driver


class _Compiled:
    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self.columns = Columns(
            {name: column.type for name, column in statement.selected_columns.items()}, dialect
        )
        self._written: Mapping[str, Any] = compiled.params
        """Those that stand in the statement."""
        self._store = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        ]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        given = {**self._written, **parameters}
        return [given[name] if store is None else store(given[name]) for name, store in self._store]


@lru_cache(maxsize=1_000)
def _compiled(statement: Select[Any], url: str) -> _Compiled:
    return _Compiled(statement, _dialect(url))


@cache
def _dialect(url: str) -> Dialect:
    return make_url(url).get_dialect()()


class _Ids(TypeDecorator[Sequence[Any]]):
    """Any number of ids in one parameter, so that the statement is the same for all numbers."""

    impl = Text
    cache_ok = True

    def __init__(self, each: TypeEngine[Any]) -> None:
        super().__init__()
        self.each = each

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(self.each))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        if dialect.name != "sqlite":
            return None
        store = self.each.dialect_impl(dialect).bind_processor(dialect)
        return lambda ids: json.dumps([each if store is None else store(each) for each in ids])


class ReadByIds:
    """Reads the rows of some ids: a statement for SQLite, and one for PostgreSQL."""

    def __init__(self, statement: Select[Any], key: Column[Any]) -> None:
        ids = bindparam("ids", type_=_Ids(key.type))
        given = func.json_each(ids).table_valued("value")
        self._of_sqlite = statement.where(key.in_(select(given.c.value)))
        is_one: ColumnElement[bool] = key == any_(ids)
        self._of_postgresql = statement.where(is_one)
        self._of_replica = _if_seen(self._of_postgresql)

    async def __call__(self, driver: Driver, ids: Sequence[Any]) -> Sequence[ReadRow]:
        is_sqlite = isinstance(driver, aiosqlite.Connection)
        statement = self._of_sqlite if is_sqlite else self._of_postgresql
        return await read_from(driver, statement, {"ids": ids})

    def fetch(self, trip: Trip, ids: Sequence[Any]) -> Sequence[ReadRow]:
        """In a trip to the thread of SQLite's connection."""
        compiled = _compiled(self._of_sqlite, "sqlite+aiosqlite://")
        return list(compiled.columns.read(trip.fetch(compiled.sql, *compiled.values({"ids": ids}))))

    async def if_seen(
        self, driver: Driver, ids: Sequence[Any], seen: Seen
    ) -> Sequence[ReadRow] | None:
        """None if the server lacks what was seen: both are of one moment."""
        given = {"ids": ids, **{f"seen_{name}": value for name, value in seen._asdict().items()}}
        rows = await read_from(driver, self._of_replica, given)
        if not rows[0]["has_seen"]:
            return None
        return [row for row in rows if row["is_found"]]


def _if_seen(statement: Select[Any]) -> Select[Any]:
    """One row at least, which says whether the server has what was seen; if not, no other."""
    names = [f"seen_{name}" for name in Seen._fields]
    question = text(f"SELECT {HAS_SEEN.format(*(f':{name}' for name in names))} AS has_seen")
    typed = question.bindparams(*(bindparam(name, type_=BigInteger) for name in names))
    asked = typed.columns(has_seen=Boolean).subquery("asked")
    found = statement.add_columns(true().label("is_found")).subquery("found")
    return select(asked.c.has_seen, *found.columns).select_from(
        asked.outerjoin(found, asked.c.has_seen)
    )
