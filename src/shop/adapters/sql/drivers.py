"""Statements that go straight to the drivers, on a connection of the pool.

Each is written in SQLAlchemy Core, as all others are, and compiled once. What SQLAlchemy does
besides for each execution costs several times what a short read needs (docs/performance.md), and
with SQLite several trips to the connection's thread instead of one. It pays for what many wait for.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

import aiosqlite
import asyncpg
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Dialect,
    Select,
    any_,
    bindparam,
    func,
    make_url,
    select,
)

from shop.adapters.sql.rows import Columns, ReadRow

# A string: asyncpg's class is generic for type checkers only.
Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record] | aiosqlite.Connection"


class ReadByIds:
    """Reads columns of the rows whose `key` is among some ids."""

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        key: Column[Any],
        build: Callable[[Select[Any]], Select[Any]],
    ) -> None:
        """`build` adds to the selected columns what they are selected from, and in which order."""
        self._columns, self._key, self._build = columns, key, build
        self._compiled = cache(self._compile)

    async def __call__(self, driver: Driver, ids: Collection[Any]) -> Iterable[ReadRow]:
        compiled = self._compiled(_dialect_of(driver))
        stored = compiled.stored(ids)
        if isinstance(driver, aiosqlite.Connection):
            rows: Iterable[Any] = await driver.execute_fetchall(compiled.sql, [json.dumps(stored)])
        else:
            rows = await driver.fetch(compiled.sql, stored)
        return compiled.columns.read(rows)

    def _compile(self, dialect: Dialect) -> "_Compiled":
        statement = self._build(select(*self._columns)).where(_is_one_of(self._key, dialect))
        return _Compiled(
            sql=str(statement.compile(dialect=dialect)),
            columns=Columns(self._columns, dialect),
            store=self._key.type.dialect_impl(dialect).bind_processor(dialect),
        )


class _Compiled:
    def __init__(self, *, sql: str, columns: Columns, store: Callable[[Any], Any] | None) -> None:
        self.sql, self.columns, self._store = sql, columns, store

    def stored(self, ids: Collection[Any]) -> list[Any]:
        return list(ids) if self._store is None else [self._store(each) for each in ids]


def _is_one_of(column: Column[Any], dialect: Dialect) -> ColumnElement[bool]:
    """In one parameter, so that the statement is the same for any number of ids."""
    if dialect.name == "sqlite":
        given = func.json_each(bindparam("ids")).table_valued("value")
        return column.in_(select(given.c.value))
    return column == any_(bindparam("ids", type_=ARRAY(column.type)))


@cache
def _dialect(url: str) -> Dialect:
    return make_url(url).get_dialect()()


def _dialect_of(driver: Driver) -> Dialect:
    is_sqlite = isinstance(driver, aiosqlite.Connection)
    return _dialect("sqlite+aiosqlite://" if is_sqlite else "postgresql+asyncpg://")
