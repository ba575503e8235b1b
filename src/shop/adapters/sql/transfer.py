"""All that makes a shop, out of one database and into another: which rows, in which form.

A row is a JSON object of its columns by name, in the order of the tables, as Python has their
values: so the lines are the same whichever database they come from, and so are their checksums. The
rows of a table come in the order of its primary key.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import aiosqlite
import asyncpg
import msgspec
from msgspec import Meta, Struct
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Enum,
    Integer,
    LargeBinary,
    String,
    Table,
    Uuid,
    select,
)

from shop.adapters.exports import (
    Manifest,
    NewExport,
    ReadFile,
    Tally,
    WrongExport,
    read_manifest,
    reason_of,
)
from shop.adapters.sql import tables
from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import translating
from shop.adapters.sql.rows import Columns, Row, types_of
from shop.domain.orders import OrderItem
from shop.domain.products import search_key
from shop.domain.search import search_text

MOVED = (
    tables.users,
    tables.session_families,
    tables.refresh_tokens,
    tables.sign_in_attempts,
    tables.products,
    tables.stock,
    tables.orders,
    tables.order_lines,
    tables.order_events,
    tables.stock_movements,
    tables.idempotency_keys,
    tables.moved_users,
    tables.moved_products,
)
"""Each after those that it refers to."""

NOT_MOVED = {
    tables.schema_compatibility: "belongs to the schema, which `shop migrate` makes",
    tables.shop: "its currency is in the manifest",
    tables.leases: "say which process does what, and the processes are others",
    tables.listings: "is kept by triggers of products and stock",
    tables.list_lengths: "are counted anew, within minutes",
}

MADE_ANEW = {tables.products: ("search_key", "search_text", "search_version")}
"""From the rest of the row, by the program that reads it."""

ROWS_PER_STEP = 500
LONG_ROWS_PER_STEP = 25
"""Of a table that holds whole answers."""
BYTES_PER_STEP = 1024 * 1024

# Whatever the database's defaults are. Who migrates meanwhile is not waited for any longer.
_PATIENTLY = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
    "SET LOCAL lock_timeout = '10s'; SET LOCAL jit = off"
)
_NAMES = ", ".join(table.name for table in MOVED)
# The first statement that reads takes the snapshot; the locks before it keep all tables as they
# are. Those of a reader stop nobody who sells, those of a writer stop all who would.
_BEGIN_READING = {
    "postgresql": (
        f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_PATIENTLY}; "
        f"LOCK TABLE {_NAMES} IN ACCESS SHARE MODE"
    ),
    "sqlite": "BEGIN",
}
_BEGIN_WRITING = {
    "postgresql": (
        f"BEGIN ISOLATION LEVEL READ COMMITTED; {_PATIENTLY}; "
        f"LOCK TABLE {_NAMES} IN SHARE ROW EXCLUSIVE MODE"
    ),
    "sqlite": "BEGIN IMMEDIATE",
}

Advance: TypeAlias = Callable[[int], None]
"""Told of how many more rows are done."""


# --- lines ---

_INT64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_INT32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_TIME = Annotated[datetime, Meta(tz=True)]


def _kind_of(column: Column[Any]) -> Any:
    """What msgspec makes of the column's values, and takes for one."""
    kind = _value_of(column)
    return kind | None if column.nullable else kind


def _value_of(column: Column[Any]) -> Any:
    match column.type:
        case tables.UtcDateTime():
            return _TIME
        case tables.Moments():
            return tuple[_TIME, ...]
        case tables.Items():
            return tuple[OrderItem, ...]
        case Enum(enum_class=kind):
            return kind
        case String(length=length):
            return str if length is None else Annotated[str, Meta(max_length=length)]
        case LargeBinary(length=length):
            return bytes if length is None else Annotated[bytes, Meta(max_length=length)]
        case Boolean():
            return bool
        case Uuid():
            return UUID
        case BigInteger():
            return _INT64
        case Integer():
            return _INT32
    raise TypeError(f"no export knows how to write {column}")


class WrongLine(Exception):
    """What is wrong with one line, and how many come before it in its step."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(reason)
        self.place = place


class TableLines:
    """The rows of a table as lines, and back."""

    def __init__(self, table: Table) -> None:
        self.table = table
        made_anew = MADE_ANEW.get(table, ())
        self.columns = [column for column in table.columns if column.name not in made_anew]
        holds_answers = any(
            isinstance(column.type, LargeBinary) and column.type.length is None
            for column in self.columns
        )
        self.rows_per_step = LONG_ROWS_PER_STEP if holds_answers else ROWS_PER_STEP
        row = msgspec.defstruct(
            str(table.name),
            [(str(column.name), _kind_of(column)) for column in self.columns],
            forbid_unknown_fields=True,
        )
        self._decoder: msgspec.json.Decoder[Struct] = msgspec.json.Decoder(row)
        self._encoder = msgspec.json.Encoder()
        self._times = [c.name for c in self.columns if isinstance(c.type, tables.UtcDateTime)]

    def lines_of(self, rows: Sequence[object]) -> bytes:
        return self._encoder.encode_lines(rows)

    def rows_of(self, lines: Sequence[bytes]) -> list[Struct]:
        """Raises `WrongLine` unless they are just as `lines_of` makes them."""
        rows: list[Struct] = []
        for line in lines:
            try:
                rows.append(self._decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise WrongLine(len(rows), reason_of(error)) from error
            if not self._is_in_utc(rows[-1]):
                raise WrongLine(len(rows) - 1, "a time is not in UTC, as in 2026-03-01T12:00:00Z")
            if any(sign in line for sign in _SUSPECT) and (reason := _unfit(rows[-1])):
                raise WrongLine(len(rows) - 1, reason)
        if self.lines_of(rows) != b"".join(lines):
            places = range(len(lines))
            wrong = next(n for n in places if self.lines_of(rows[n : n + 1]) != lines[n])
            raise WrongLine(wrong, "it is not written as `shop export` writes it")
        return rows

    def _is_in_utc(self, row: Struct) -> bool:
        times = (getattr(row, name) for name in self._times)
        return all(time is None or time.tzinfo is UTC for time in times)


@cache
def lines_of(table: Table) -> TableLines:
    return TableLines(table)


_ENDS_OF_TIME = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
# Where it pays to look at the values one by one.
_SUSPECT = [b"\\u0000", *map(msgspec.json.encode, _ENDS_OF_TIME)]


def _unfit(row: Struct) -> str | None:
    """What not every database could store."""
    for value in msgspec.structs.astuple(row):
        if isinstance(value, str) and "\0" in value:
            return "a text has the character NUL, which no shop takes"
        # The driver of PostgreSQL takes these two for no end at all.
        if isinstance(value, datetime) and value in _ENDS_OF_TIME:
            return "a time is at the end of all times"
    return None


def _steps(file: ReadFile, lines: TableLines) -> Iterator[tuple[int, list[Struct]]]:
    """The rows of a file, as many as are dealt with at once, after the number of lines before."""
    done, size, read = 0, 0, []
    try:
        for line in file:
            read.append(line)
            size += len(line)
            if len(read) == ROWS_PER_STEP or size >= BYTES_PER_STEP:
                yield done, _read(file, lines, done, read)
                done, size, read = done + len(read), 0, []
    except WrongExport:
        # It is not as it was written; if a line is wrong, that says more.
        _read(file, lines, done, read)
        raise
    if read:
        yield done, _read(file, lines, done, read)


def _read(file: ReadFile, lines: TableLines, done: int, read: list[bytes]) -> list[Struct]:
    try:
        return lines.rows_of(read)
    except WrongLine as error:
        raise file.wrong(str(error), done + error.place + 1) from error


# --- databases ---


class _BrokenRule(Exception):
    """What the database says of rows that it does not take."""


class Snapshot:
    """The shop in a database, as of one moment."""

    def __init__(self, driver: Driver, dialect: Dialect) -> None:
        self._driver = driver
        self._dialect = dialect

    @property
    def engine(self) -> str:
        return self._dialect.name

    async def revision(self) -> str | None:
        rows = await self._fetch("SELECT version_num FROM alembic_version")
        return str(rows[0][0]) if rows else None

    async def currency(self) -> str:
        [[currency]] = await self._fetch("SELECT currency FROM shop")
        return str(currency)

    async def counts(self) -> Mapping[str, int]:
        """How many rows each table has."""
        counts = {}
        for table in MOVED:
            [[counts[table.name]]] = await self._fetch(f"SELECT count(*) FROM {table.name}")  # noqa: S608
        return counts

    async def lines(self, table: Table) -> AsyncIterator[tuple[bytes, int]]:
        """All rows in steps, each with how many there are in it."""
        form = lines_of(table)
        statement = select(*form.columns).order_by(*table.primary_key.columns)
        sql = str(statement.compile(dialect=self._dialect))
        columns = Columns(types_of(form.columns), self._dialect)
        async for rows in self._steps(f"{table.name}_rows", sql, form.rows_per_step):
            yield form.lines_of(list(columns.read(rows))), len(rows)

    async def _steps(self, name: str, sql: str, limit: int) -> AsyncIterator[Sequence[Any]]:
        driver = self._driver
        with translating():
            if isinstance(driver, aiosqlite.Connection):
                cursor = await driver.execute(sql)
            else:
                await driver.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}")
        while True:
            with translating():
                if isinstance(driver, aiosqlite.Connection):
                    rows: Sequence[Any] = list(await cursor.fetchmany(limit))
                else:
                    rows = await driver.fetch(f"FETCH {limit} FROM {name}")
            if not rows:
                break
            yield rows
        with translating():
            if isinstance(driver, aiosqlite.Connection):
                await cursor.close()
            else:
                await driver.execute(f"CLOSE {name}")

    async def _fetch(self, sql: str) -> Sequence[Any]:
        with translating():
            if isinstance(self._driver, aiosqlite.Connection):
                return list(await self._driver.execute_fetchall(sql))
            return await self._driver.fetch(sql)


class NewShop(Snapshot):
    """A database that is being filled, in one transaction: nobody ever sees a part of it."""

    async def insert(self, table: Table, rows: Sequence[Struct]) -> None:
        """Raises `WrongLine` for the first row that breaks a rule of the database."""
        await self._insert(table, [_row_of(table, row) for row in rows], before=0)

    async def _insert(self, table: Table, rows: Sequence[Row], before: int) -> None:
        try:
            await self._insert_all(table, rows)
        except _BrokenRule as error:
            if len(rows) == 1:
                raise WrongLine(before, f"the database refuses it ({error})") from None
            half = len(rows) // 2
            await self._insert(table, rows[:half], before)
            await self._insert(table, rows[half:], before + half)

    async def _insert_all(self, table: Table, rows: Sequence[Row]) -> None:
        """All of them or, where one breaks a rule, none."""
        driver = self._driver
        columns = Columns(types_of(table.columns), self._dialect)
        values = columns.store(dict(row) for row in rows)
        await self.execute("SAVEPOINT step")
        with translating():
            try:
                if isinstance(driver, aiosqlite.Connection):
                    marks = ", ".join("?" for _ in columns.names)
                    names = ", ".join(columns.names)
                    insert = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
                    await driver.executemany(insert, values)
                else:
                    await driver.copy_records_to_table(
                        table.name, columns=columns.names, records=values
                    )
            except _VIOLATIONS as error:
                await driver.execute("ROLLBACK TO SAVEPOINT step")
                # The first line names the rule; values would be further down.
                raise _BrokenRule(str(error).partition("\n")[0]) from error
        await self.execute("RELEASE SAVEPOINT step")

    async def number_on(self) -> None:
        """The database numbers the rows to come after those that are there."""
        if isinstance(self._driver, aiosqlite.Connection):
            return
        for table in MOVED:
            for column in table.columns:
                if column.identity is not None:
                    await self._fetch(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608
                        f"max({column.name})) FROM {table.name} HAVING count(*) > 0"
                    )

    async def execute(self, sql: str) -> None:
        with translating():
            await self._driver.execute(sql)


_VIOLATIONS = (
    sqlite3.IntegrityError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
)


def _row_of(table: Table, row: Struct) -> Row:
    values: Row = msgspec.structs.asdict(row)
    if table is tables.products:
        values["search_key"] = search_key(values["name"], values["sku"])
        texts = (values["name"], values["sku"], values["description"])
        values["search_text"] = search_text(*texts)
        values["search_version"] = values["version"]
    return values


@asynccontextmanager
async def reading(engines: Engines) -> AsyncIterator[Snapshot]:
    """The shop as it is now, for as long as the block; others go on with theirs."""
    async with _transaction(engines, _BEGIN_READING) as driver:
        yield Snapshot(driver, engines.patient.dialect)


@asynccontextmanager
async def writing(engines: Engines) -> AsyncIterator[NewShop]:
    """A shop to be filled; nothing is left of it unless COMMIT is executed in the block."""
    async with _transaction(engines, _BEGIN_WRITING) as driver:
        yield NewShop(driver, engines.patient.dialect)


@asynccontextmanager
async def _transaction(engines: Engines, begin: Mapping[str, str]) -> AsyncIterator[Driver]:
    with translating():
        lent = await PooledConnection.of(engines.patient)
    try:
        with translating():
            await lent.driver.execute(begin[engines.patient.dialect.name])
        yield lent.driver
    finally:
        # At once, and not when the server notices; what was committed is over.
        with suppress(Exception):
            await lent.driver.execute("ROLLBACK")
        await lent.give_back()


# --- the whole shop ---


async def export_shop(
    shop: Snapshot, export: NewExport, *, program: str, at: datetime, advance: Advance
) -> Manifest:
    """Write all of it. Raises `WrongExport` where that cannot be done."""
    files = {}
    for table in MOVED:
        with export.table(table.name) as file:
            async for lines, rows in shop.lines(table):
                file.write(lines, rows)
                advance(rows)
            files[table.name] = file.finish()
    manifest = Manifest(
        shop=program,
        revision=str(await shop.revision()),
        engine=shop.engine,
        exported_at=at,
        currency=await shop.currency(),
        files=files,
    )
    export.finish(manifest)
    return manifest


def read_export(folder: Path) -> Manifest:
    """What an export says of itself. Raises `WrongExport` if it is none that can be imported."""
    return read_manifest(folder, {table.name for table in MOVED})


def check_files(folder: Path, manifest: Manifest, *, advance: Advance) -> None:
    """Read all of it before anything is written. Raises `WrongExport`, by file and line."""
    for table in MOVED:
        for _, rows in _steps(_file(folder, manifest, table), lines_of(table)):
            advance(len(rows))


async def import_files(
    shop: NewShop, folder: Path, manifest: Manifest, *, advance: Advance
) -> None:
    """Fill the shop, which is empty. Raises `WrongExport`, by file and line."""
    for table in MOVED:
        file = _file(folder, manifest, table)
        for done, rows in _steps(file, lines_of(table)):
            try:
                await shop.insert(table, rows)
            except WrongLine as error:
                raise file.wrong(str(error), done + error.place + 1) from error
            advance(len(rows))
    # Somebody may have counted while there was nothing.
    await shop.execute(f"DELETE FROM {tables.list_lengths.name}")  # noqa: S608
    await shop.number_on()


async def different_table(shop: Snapshot, manifest: Manifest, *, advance: Advance) -> str | None:
    """The first table whose rows are not those of the export; None if all are."""
    for table in MOVED:
        tally = Tally()
        async for lines, rows in shop.lines(table):
            tally.add(lines, rows)
            advance(rows)
        if tally.entry != manifest.files[table.name]:
            return table.name
    return None


def _file(folder: Path, manifest: Manifest, table: Table) -> ReadFile:
    return ReadFile(folder, table.name, manifest.files[table.name])
