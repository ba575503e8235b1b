"""Rows by column name.

Most objects are stored in columns named as their attributes are: `row_maker` writes them, and
`Class(**row)` reads them. Where the two differ, or speed counts, the module of that noun has a
function for each direction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Executable,
    Integer,
    RowMapping,
    Table,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

Row = dict[str, Any]


class ReadRow(Protocol):
    """A row of SQLAlchemy's, or of a driver's."""

    def __getitem__(self, column: str, /) -> Any: ...


def written_columns(table: Table) -> list[Column[Any]]:
    """The columns that the shop fills in; the database numbers the rows of some tables itself."""
    return [column for column in table.columns if column.identity is None]


def row_maker(table: Table) -> Callable[[object], Row]:
    """A function from an object to what the table stores of it."""
    names = [column.name for column in written_columns(table)]
    read = attrgetter(*names)

    def row_of(item: object) -> Row:
        return dict(zip(names, read(item), strict=True))

    return row_of


_Convert = Callable[[Any], Any]


def types_of(columns: Iterable[Column[Any]]) -> dict[str, TypeEngine[Any]]:
    return {column.name: column.type for column in columns}


class Columns:
    """Columns by name, with what their types have to do between Python and a driver."""

    def __init__(self, types: Mapping[str, TypeEngine[Any]], dialect: Dialect) -> None:
        types = {name: type_.dialect_impl(dialect) for name, type_ in types.items()}
        self.names = list(types)
        self._storing = _needed({n: t.bind_processor(dialect) for n, t in types.items()})
        self._reading = _needed({n: t.result_processor(dialect, None) for n, t in types.items()})

    @property
    def is_read_as_it_comes(self) -> bool:
        return not self._reading

    def store(self, rows: Iterable[Row]) -> Iterator[tuple[Any, ...]]:
        # By position: SQLite's driver takes several times as long for parameters by name.
        values_of = itemgetter(*self.names)
        for row in rows:
            yield values_of(self.store_row(row))

    def store_row(self, row: Row) -> Row:
        """The same row, with values as the driver takes them."""
        for name, convert in self._storing:
            row[name] = convert(row[name])
        return row

    def read(self, rows: Iterable[Iterable[Any]]) -> Iterator[Row]:
        for values in rows:
            row = dict(zip(self.names, values, strict=True))
            for name, convert in self._reading:
                row[name] = convert(row[name])
            yield row


def _needed(converters: Mapping[str, _Convert | None]) -> list[tuple[str, _Convert]]:
    return [(name, convert) for name, convert in converters.items() if convert is not None]


def written(limit: int) -> ColumnElement[int]:
    """In the statement's text: PostgreSQL plans for a tenth of all if it does not know a limit."""
    return literal_column(str(limit), Integer)


def insert_into(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """The database's own INSERT, which takes ON CONFLICT; both take it in the same words."""
    is_sqlite = connection.dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


async def read_rows(
    connection: AsyncConnection, statement: Executable, values: Mapping[str, Any] | None = None
) -> Sequence[RowMapping]:
    return (await connection.execute(statement, values)).mappings().all()


async def read_row(connection: AsyncConnection, statement: Executable) -> RowMapping | None:
    """The only row there can be, if it is there."""
    return (await connection.execute(statement)).mappings().one_or_none()
