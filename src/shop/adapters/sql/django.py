"""The database of a shop that runs on Django, as it is at one moment; nothing is written to it."""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote

import aiosqlite
import asyncpg
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    MetaData,
    NullPool,
    RowMapping,
    Select,
    Table,
    func,
    inspect,
    quoted_name,
    select,
)
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.types import NullType

from shop.adapters.sql.errors import driver_error
from shop.adapters.sql.files import is_there
from shop.adapters.sql.rows import read_rows
from shop.adapters.sql.urls import WrongUrl, parse_url, place_of, split_options, sqlite_file
from shop.domain.errors import OldShopUnreadable
from shop.domain.moving import OldCounts, OldItem, OldOrder, OldProduct, OldUser
from shop.domain.ports import OldShop
from shop.domain.text import counted

STATEMENT_SECONDS_MAX = 60
CONNECT_SECONDS_MAX = 10
COPY_SECONDS_MAX = 600
VALUE_LENGTH_MAX = 1_000
"""Of what is told of a column that has no place here."""

# The columns that are moved, or that say where a row belongs.
_USER = ["id", "username", "password", "is_active", "is_staff", "date_joined"]
_PRODUCT = ["id", "created", "modified", "name", "price", "stock"]
_ORDER = ["id", "created", "modified", "code", "user_id"]
_ITEM = ["id", "product_id", "order_id", "quantity"]
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgres": "postgresql+asyncpg"}
_DRIVERS["postgresql"] = _DRIVERS["postgres"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoTables:
    """What the tables are called; by default as Django names those of these models."""

    users: str = "auth_user"
    products: str = "products_product"
    orders: str = "orders_order"
    items: str = "orders_orderitem"


def django_url(text: str) -> URL:
    """As the shop's own URLs are, or without a driver, as Django's are. Raises `WrongUrl`."""
    scheme, separator, rest = text.partition(":")
    driver = _DRIVERS.get(scheme, scheme)
    if driver not in _DRIVERS.values():
        raise WrongUrl(
            "a Django shop is moved in from sqlite:///path or "
            "postgresql://user:password@host/database"
        )
    return parse_url(f"{driver}{separator}{rest}")


@asynccontextmanager
async def opened_django(url: URL, names: DjangoTables, zone: tzinfo) -> AsyncIterator["DjangoShop"]:
    """Times without a zone are of `zone`. Raises `OldShopUnreadable`."""
    is_sqlite, place = url.get_backend_name() == "sqlite", place_of(url)
    if is_sqlite and not is_there(sqlite_file(url)):
        raise OldShopUnreadable(f"There is no database {place}, from which to move a shop in.")
    if is_sqlite and sqlite_file(url).is_dir():
        raise OldShopUnreadable(f"{place} is a folder, and no database.")
    engine = _sqlite_copy(url) if is_sqlite else _postgresql(url)
    try:
        with _refusing(place):
            connection = await engine.connect()
        try:
            with _refusing(place):
                tables = await connection.run_sync(_Tables.find, names)
            yield DjangoShop(connection, tables, zone, place)
        finally:
            await connection.close()
    finally:
        await engine.dispose()


class DjangoShop(OldShop):
    def __init__(
        self, connection: AsyncConnection, tables: "_Tables", zone: tzinfo, place: str
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._zone = zone
        self._place = place
        # Said once: of most rows there is nothing else to look at.
        self._rest_of_user = _others(tables.users, _USER)
        self._rest_of_product = _others(tables.products, _PRODUCT)
        self._rest_of_order = _others(tables.orders, _ORDER)
        self._rest_of_item = _others(tables.items, _ITEM)

    async def count(self) -> OldCounts:
        tables = self._tables
        counts = {
            name: select(func.count()).select_from(table).scalar_subquery().label(name)
            for name, table in (
                ("users", tables.users),
                ("products", tables.products),
                ("orders", tables.orders),
            )
        }
        [row] = await self._read(select(*counts.values()))
        return OldCounts(**row)

    async def users(self, *, after: int, limit: int) -> Sequence[OldUser]:
        rows = await self._read(_next(self._tables.users, after, limit))
        return [
            OldUser(
                id=row["id"],
                username=_text(row["username"]),
                password_hash=_text(row["password"]),
                is_active=bool(row["is_active"]),
                is_staff=bool(row["is_staff"]),
                created_at=self._time(row["date_joined"]),
                rest=_rest(row, self._rest_of_user),
            )
            for row in rows
        ]

    async def products(self, *, after: int, limit: int) -> Sequence[OldProduct]:
        rows = await self._read(_next(self._tables.products, after, limit))
        return [
            OldProduct(
                id=row["id"],
                name=_text(row["name"]),
                price=_decimal(row["price"]),
                stock=_whole(row["stock"]),
                created_at=self._time(row["created"]),
                modified_at=self._time(row["modified"]),
                rest=_rest(row, self._rest_of_product),
            )
            for row in rows
        ]

    async def orders(self, *, after: int, limit: int) -> Sequence[OldOrder]:
        rows = await self._read(_next(self._tables.orders, after, limit))
        if not rows:
            return []
        items = self._tables.items
        chosen = (
            select(items)
            .where(items.c.order_id > after, items.c.order_id <= rows[-1]["id"])
            .order_by(items.c.order_id, items.c.id)
        )
        of_orders = {
            order_id: [*map(self._item, group)]
            for order_id, group in groupby(await self._read(chosen), itemgetter("order_id"))
        }
        return [
            OldOrder(
                id=row["id"],
                code=_text(row["code"]),
                user_id=_whole(row["user_id"]),
                created_at=self._time(row["created"]),
                modified_at=self._time(row["modified"]),
                items=of_orders.get(row["id"], []),
                rest=_rest(row, self._rest_of_order),
            )
            for row in rows
        ]

    async def stray_items(self, *, after: int, limit: int) -> Sequence[OldItem]:
        items, orders = self._tables.items, self._tables.orders
        strays = (
            _next(items, after, limit)
            .join(orders, orders.c.id == items.c.order_id, isouter=True)
            .where(orders.c.id.is_(None))
        )
        return [*map(self._item, await self._read(strays))]

    def _item(self, row: RowMapping) -> OldItem:
        return OldItem(
            id=row["id"],
            product_id=_whole(row["product_id"]),
            quantity=_whole(row["quantity"]),
            rest=_rest(row, self._rest_of_item),
        )

    async def _read(self, statement: Select[Any]) -> Sequence[RowMapping]:
        with _refusing(self._place):
            return await read_rows(self._connection, statement)

    def _time(self, value: object) -> datetime | None:
        """SQLite has no type for times: Django writes them as text, in UTC if `USE_TZ` is set."""
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            if not isinstance(moment, datetime):
                return None
            aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone)
            return aware.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """With all columns that they have there."""

    users: Table
    products: Table
    orders: Table
    items: Table

    @classmethod
    def find(cls, connection: Connection, names: DjangoTables) -> "_Tables":
        return cls(
            users=_find(connection, names.users, _USER),
            products=_find(connection, names.products, _PRODUCT),
            orders=_find(connection, names.orders, _ORDER),
            items=_find(connection, names.items, _ITEM),
        )


_NUMBERS = ("id", "order_id")


def _find(connection: Connection, name: str, needed: Sequence[str]) -> Table:
    """Names are quoted, whatever they are. Raises `OldShopUnreadable`."""
    try:
        there = [column["name"] for column in inspect(connection).get_columns(name)]
    except NoSuchTableError:
        raise OldShopUnreadable(
            f"The Django shop has no table {name!r}; name its own by the options."
        ) from None
    if missing := [column for column in needed if column not in there]:
        raise OldShopUnreadable(f"The table {name!r} has no column {', '.join(missing)}.")
    columns = [
        Column(
            quoted_name(column, quote=True),
            BigInteger() if column in _NUMBERS else NullType(),
            key=column,
        )
        for column in there
    ]
    return Table(quoted_name(name, quote=True), MetaData(), *columns)


def _next(table: Table, after: int, limit: int) -> Select[Any]:
    return select(table).where(table.c.id > after).order_by(table.c.id).limit(limit)


def _others(table: Table, moved: Sequence[str]) -> Sequence[str]:
    return [column.key for column in table.columns if column.key not in moved]


def _rest(row: RowMapping, columns: Sequence[str]) -> Mapping[str, str]:
    """What has a value in these columns: empty texts, zeros and false ones are none."""
    return {
        str(column): _shown(value)
        for column in columns
        if (value := row[column]) not in (None, "", b"", 0)
    }


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return counted(len(value), "byte")
    return str(value)[:VALUE_LENGTH_MAX]


# SQLite stores in a column whatever it is given.


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _whole(value: object) -> int | None:
    if type(value) is int:
        return value
    try:
        number = Decimal(str(value))
        is_whole = number.is_finite() and abs(number) < 2**63 and number == int(number)
        return int(number) if is_whole else None
    except InvalidOperation:
        return None


def _decimal(value: object) -> Decimal | None:
    """SQLite has prices as floating-point numbers: their shortest form is what was stored."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _sqlite_copy(url: URL) -> AsyncEngine:
    """A copy of its own of the file, private to its connection and gone with it.

    Reading the file itself would keep that shop from writing for as long as the move takes.
    """
    return create_async_engine(
        "sqlite+aiosqlite://", async_creator=lambda: _copied(url), poolclass=NullPool
    )


async def _copied(url: URL) -> aiosqlite.Connection:
    deadline = time.monotonic() + COPY_SECONDS_MAX

    def give_up(_status: int, _remaining: int, _total: int) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError("it was locked for too long")

    # In one step: another writer would make it begin anew.
    async with aiosqlite.connect(f"file:{quote(str(sqlite_file(url)))}?mode=ro", uri=True) as there:
        copy = await aiosqlite.connect("")
        try:
            await there.backup(copy, progress=give_up)
        except BaseException:
            await copy.close()
            raise
    copy.text_factory = lambda text: text.decode(errors="replace")
    return copy


def _postgresql(url: URL) -> AsyncEngine:
    """In one transaction, which sees one moment and holds nobody up."""
    url, of_url = split_options(url)
    settings = {
        "application_name": "shop import-django",
        **of_url.get("server_settings", {}),
        "default_transaction_read_only": "on",
        "statement_timeout": str(STATEMENT_SECONDS_MAX * 1000),
        # It waits while this shop writes.
        "idle_in_transaction_session_timeout": "0",
    }
    connect_args = {
        "timeout": CONNECT_SECONDS_MAX,
        "command_timeout": STATEMENT_SECONDS_MAX + 1,
        **of_url,
        "server_settings": settings,
    }
    return create_async_engine(
        url,
        isolation_level="REPEATABLE READ",
        connect_args=connect_args,
        poolclass=NullPool,
        hide_parameters=True,
    )


_FAILURES = (
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    sqlite3.Error,
    OSError,
)


@contextmanager
def _refusing(place: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        reason = str(driver_error(error)).strip().rstrip(".") or type(error).__name__
        # From nothing: what is caused by a driver's error is taken for trouble of this shop's own.
        raise OldShopUnreadable(f"The Django shop in {place} cannot be read: {reason}.") from None
