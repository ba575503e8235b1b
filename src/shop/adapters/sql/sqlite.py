"""SQLite's own way of placing orders: the statements straight to the driver.

Every statement through SQLAlchemy and aiosqlite costs about 0.6 ms of Python, and each row's
parameters cost more on top; see `postgresql.py`, whose twin this is, and docs/decisions/0002.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import aiosqlite
import msgspec
from sqlalchemy import Column, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from shop.adapters.sql import tables
from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.details import fetch_orders
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.history import event_row
from shop.adapters.sql.orders import line_rows, order_row
from shop.adapters.sql.products import (
    CHANGED_COLUMNS,
    PRODUCT_COLUMNS,
    by_folded_sku,
    changed_row,
    new_product_row,
    product_from,
    stock_row,
)
from shop.adapters.sql.rows import Columns, Row, types_of, written_columns
from shop.adapters.sql.stock import last_balances, movement_row
from shop.adapters.sql.trips import Trip, in_one_trip
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import InvalidToken, ShopError, SkuTaken
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.orders import Order, products_on
from shop.domain.ports import Batch, BatchRepository, Changes
from shop.domain.products import Offer, Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded
from shop.domain.users import Role

T = TypeVar("T")


class SqliteUnitOfWork(SqlUnitOfWork):
    """The transaction of a batch begins in the trip of what it locks."""

    _to_begin: str | None = None

    @property
    def batch(self) -> BatchRepository:
        return SqliteBatch(self)

    async def in_one_trip(self, work: Callable[[Trip], T]) -> T:
        """See `trips.py`."""
        begin, self._to_begin = self._to_begin, None
        if begin is None:
            return await in_one_trip(_of_aiosqlite(self.driver), work)

        def begin_and_work(trip: Trip) -> T:
            trip.fetch(begin)
            return work(trip)

        try:
            done = await in_one_trip(_of_aiosqlite(self.driver), begin_and_work)
        except BaseException as error:
            # Whether it has begun is unknown.
            await asyncio.shield(asyncio.create_task(self._drop(error)))
            raise
        self._in_transaction = True
        return done

    async def _open_on(self, engines: Engines, engine: AsyncEngine, begin: str | None) -> None:
        await super()._open_on(engines, engine, None if self._is_look_up else begin)
        self._to_begin = begin if self._is_look_up else None

    @property
    def _open(self) -> PooledConnection:
        if self._to_begin is not None:
            # What is written before would be committed by itself.
            raise RuntimeError("A batch begins with what it locks.")
        return super()._open


def _of_aiosqlite(driver: Driver) -> aiosqlite.Connection:
    assert isinstance(driver, aiosqlite.Connection)
    return driver


_Step: TypeAlias = Callable[[Trip], object]
"""One statement of a trip, with what it stores."""


class _Insert:
    """An INSERT that is run once for each row.

    For orders that is cheaper than one statement for all: before what may fail halfway SQLite keeps
    a copy of each page that it changes (docs/performance.md).
    """

    def __init__(self, table: Table, columns: Iterable[Column[Any]] | None = None) -> None:
        given = written_columns(table) if columns is None else columns
        self.columns = Columns(types_of(given), sqlite.dialect())
        names = self.columns.names
        self.sql = (
            f"INSERT INTO {table.name} ({', '.join(names)})"  # noqa: S608 - names of our own
            f" VALUES ({', '.join('?' for _ in names)})"
        )

    def __call__(self, rows: Iterable[Row]) -> _Step:
        return _each(self.sql, self.columns.store(rows))


class _InsertAll:
    """An INSERT of many rows as one statement, which takes them as JSON.

    Before each statement that may fail halfway SQLite has the index of search texts write what it
    has gathered. A statement for each row costs three times as much.
    """

    def __init__(self, table: Table, columns: Iterable[Column[Any]] | None = None) -> None:
        given = written_columns(table) if columns is None else columns
        self.columns = Columns(types_of(given), sqlite.dialect())
        names = self.columns.names
        values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(names)))
        self.sql = (
            f"INSERT INTO {table.name} ({', '.join(names)})"  # noqa: S608 - names of our own
            f" SELECT {values} FROM json_each(?)"
        )

    def __call__(self, rows: Iterable[Row]) -> _Step:
        as_json = _json(self.columns.store(rows))
        return lambda trip: trip.fetch(self.sql, as_json)


def _each(statement: str, rows: Iterable[Sequence[Any]]) -> _Step:
    given = list(rows)
    return lambda trip: trip.send_each(statement, given)


def _refusing(error: ShopError, step: _Step) -> _Step:
    def refuse(trip: Trip) -> None:
        with refusing(error):
            step(trip)

    return refuse


def _json(rows: Iterable[Sequence[Any]]) -> str:
    return msgspec.json.encode(list(rows)).decode()


_PRODUCT = Columns(types_of(PRODUCT_COLUMNS), sqlite.dialect())

# The transaction holds the only write lock there is from its start. The left join gives a row even
# if no product is there.
_LOCK = f"""
SELECT known.order_ids, known.users, p.*
FROM (
    SELECT
        (
            SELECT json_group_array(id) FROM orders
            WHERE id IN (SELECT value FROM json_each(?))
        ) AS order_ids,
        (
            SELECT json_group_array(json_array(id, role, disabled)) FROM users
            WHERE id IN (SELECT value FROM json_each(?))
        ) AS users
) AS known
LEFT JOIN (
    SELECT {", ".join(map(str, PRODUCT_COLUMNS))}
    FROM stock JOIN products ON products.id = stock.product_id
    WHERE stock.product_id IN (SELECT value FROM json_each(?))
) AS p ON true
"""  # noqa: S608
_ALIKE = f"""
SELECT {", ".join(map(str, PRODUCT_COLUMNS))}
FROM products JOIN stock ON stock.product_id = products.id
WHERE sku_folded IN (SELECT value FROM json_each(?)) OR sku IN (SELECT value FROM json_each(?))
ORDER BY products.id
"""  # noqa: S608
_CHANGED_PRODUCT = Columns(types_of([*CHANGED_COLUMNS, tables.products.c.id]), sqlite.dialect())
_CHANGES = ", ".join(
    f"{column.name} = json_extract(given.value, '$[{place}]')"
    for place, column in enumerate(CHANGED_COLUMNS)
)
_CHANGE_PRODUCTS = f"""
UPDATE products SET {_CHANGES} FROM json_each(?) AS given
WHERE products.id = json_extract(given.value, '$[{len(CHANGED_COLUMNS)}]')
"""  # noqa: S608
_ADD_ORDERS = _Insert(tables.orders)
_ADD_LINES = _Insert(tables.order_lines)
_SET_STOCK = "UPDATE stock SET on_hand = ? WHERE product_id = ?"
_ADD_MOVEMENTS = _Insert(tables.stock_movements)
_ADD_EVENTS = _Insert(tables.order_events)
_CHANGED_ORDER = Columns(
    types_of([tables.orders.c[name] for name in ("status", "version", "modified_at", "id")]),
    sqlite.dialect(),
)
_CHANGE_ORDER = "UPDATE orders SET status = ?, version = ?, modified_at = ? WHERE id = ?"
_DROP_LINES = "DELETE FROM order_lines WHERE order_id = ?"
_KEEP_ANSWER = (
    "UPDATE idempotency_keys SET route = ?, digest = ?, answer = ? WHERE user_id = ? AND key = ?"
)
_DROP_KEY = "DELETE FROM idempotency_keys WHERE user_id = ? AND key = ?"
_KEYS = tables.idempotency_keys.c
_KEY = Columns(types_of(_KEYS), sqlite.dialect())
_CLAIMED = Columns(types_of([_KEYS.user_id, _KEYS.key, _KEYS.route, _KEYS.at]), sqlite.dialect())
# JSON has no bytes: all digests are a parameter of their own.
_CLAIM_KEYS = """
INSERT INTO idempotency_keys (user_id, key, route, at, digest, answer)
SELECT
    json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), substr(?2, 1 + 32 * key, 32), x''
FROM json_each(?1)
WHERE true ON CONFLICT (user_id, key) DO NOTHING
RETURNING user_id, key
"""
_FIND_KEYS = f"""
SELECT {", ".join(_KEY.names)} FROM idempotency_keys WHERE (user_id, key) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
)
"""  # noqa: S608
_ADD_PRODUCTS = _InsertAll(tables.products, tables.products.columns)
_ADD_STOCK = _InsertAll(tables.stock)
_ADD_FIRST_MOVEMENTS = _InsertAll(tables.stock_movements)


class SqliteBatch(BatchRepository):
    def __init__(self, unit_of_work: SqliteUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        user_ids: Collection[int],
        changing: Collection[UUID] | None = None,
        keys: Collection[KeyedRequest] = (),
        wait_for: Collection[int | UUID | Place] | None = None,
    ) -> Batch:
        """There is nothing to wait for: the transaction has the only write lock."""
        orders_and_users = [order_id.hex for order_id in order_ids], list(user_ids)

        def claim_and_read(
            trip: Trip,
        ) -> tuple[dict[Place, KeyedAnswer], dict[UUID, Order], list[Any]]:
            answers = _claim(trip, keys) if keys else {}
            changed = fetch_orders(trip, changing) if changing else {}
            products = {*product_ids, *products_on(changed.values())}
            ids = (*orders_and_users, list(products))
            return answers, changed, trip.fetch(_LOCK, *(json.dumps(each) for each in ids))

        answers, changed, rows = await self._unit_of_work.in_one_trip(claim_and_read)
        known = [UUID(order_id) for order_id in json.loads(rows[0][0])]
        users = json.loads(rows[0][1])
        found = [row[2:] for row in rows if row[2] is not None]
        # Nearly always there is none: only repeated requests have one.
        repeated = await self._unit_of_work.orders.find(known) if known else {}
        return Batch(
            orders=repeated | changed,
            claimed={key.place for key in keys} - answers.keys(),
            answers=answers,
            products={row["id"]: product_from(row) for row in _PRODUCT.read(found)},
            disabled=[user_id for user_id, _, disabled in users if disabled],
            roles={user_id: Role(role) for user_id, role, _ in users},
        )

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Offer],
        changes: Changes | None = None,
    ) -> None:
        """Products cannot have changed: the transaction has the only write lock."""
        steps: list[_Step] = []
        if orders:
            lines = (row for order in orders for row in line_rows(order))
            steps.append(_refusing(InvalidToken(), _ADD_ORDERS(map(order_row, orders))))
            steps.append(_ADD_LINES(lines))
        steps += _recording(movements)
        if changes is not None:
            steps += _changing(changes)
        await self._send(steps)

    async def new_product_ids(self, count: int) -> Sequence[int]:
        # Nobody else adds products until the transaction ends.
        [[last]] = await self._driver.execute_fetchall("SELECT max(id) FROM products")
        return range((last or 0) + 1, (last or 0) + 1 + count)

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        await self._send(
            [
                _refusing(SkuTaken(), _ADD_PRODUCTS(map(new_product_row, products))),
                _ADD_STOCK(map(stock_row, products)),
                _ADD_FIRST_MOVEMENTS(map(movement_row, movements)),
            ]
        )

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        """There is nothing to wait for: the transaction has the only write lock."""
        keys = {folded(sku) for sku in skus}
        given = json.dumps([*keys]), json.dumps([*skus])
        rows = await self._driver.execute_fetchall(_ALIKE, given)
        return by_folded_sku(map(product_from, _PRODUCT.read(rows)))

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        changed = _json(_CHANGED_PRODUCT.store(map(changed_row, products)))
        await self._send(
            [lambda trip: trip.fetch(_CHANGE_PRODUCTS, changed), *_recording(movements)]
        )

    async def _send(self, steps: Sequence[_Step]) -> None:
        """In one trip, of which a step that fails is the last.

        When the disk is full SQLite gives the transaction up by itself: a statement after that
        would stand alone, and be committed.
        """

        def send(trip: Trip) -> None:
            for step in steps:
                step(trip)

        await self._unit_of_work.in_one_trip(send)

    @property
    def _driver(self) -> aiosqlite.Connection:
        return _of_aiosqlite(self._unit_of_work.driver)


def _claim(trip: Trip, requests: Collection[KeyedRequest]) -> dict[Place, KeyedAnswer]:
    """See `KeyRepository.claim`; there is nobody else to wait for, nor to purge them meanwhile."""
    wanted = {request.place: request for request in requests}
    rows = _CLAIMED.store(
        {"user_id": each.user_id, "key": each.key, "route": each.route, "at": each.at}
        for each in wanted.values()
    )
    digests = b"".join(each.digest for each in wanted.values())
    taken = trip.fetch(_CLAIM_KEYS, _json(rows), digests)
    if len(taken) == len(wanted):
        return {}
    found = _KEY.read(trip.fetch(_FIND_KEYS, _json(wanted.keys() - set(taken))))
    answers = (KeyedAnswer(**row) for row in found)
    return {answer.place: answer for answer in answers}


def _recording(movements: Sequence[StockMovement]) -> Iterator[_Step]:
    balances = last_balances(movements)
    yield _each(_SET_STOCK, [(balance, product_id) for product_id, balance in balances.items()])
    yield _ADD_MOVEMENTS(map(movement_row, movements))


def _changing(changes: Changes) -> Iterator[_Step]:
    """Of each kind only what there is."""
    if changes.orders:
        yield _each(_CHANGE_ORDER, _CHANGED_ORDER.store(map(order_row, changes.orders)))
        yield _ADD_EVENTS(map(event_row, changes.history))
    if relined := changes.relined:
        yield _each(_DROP_LINES, [(order.id.hex,) for order in relined])
        yield _ADD_LINES(row for order in relined for row in line_rows(order))
    if changes.answers:
        yield _each(
            _KEEP_ANSWER,
            [(a.route, a.digest, a.answer, a.user_id, a.key) for a in changes.answers],
        )
    if changes.unused:
        yield _each(_DROP_KEY, changes.unused)
