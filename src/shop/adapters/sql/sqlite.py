"""SQLite's own way of placing orders: the statements straight to the driver.

Every statement through SQLAlchemy and aiosqlite costs about 0.6 ms of Python, and each row's
parameters cost more on top; see `postgresql.py`, whose twin this is, and docs/decisions/0002.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import aiosqlite
import msgspec
from sqlalchemy import Column, Table
from sqlalchemy.dialects import sqlite

from shop.adapters.sql import tables
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
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import InvalidToken, SkuTaken
from shop.domain.keys import KeyedRequest, Place
from shop.domain.orders import Order, products_on
from shop.domain.ports import Batch, BatchRepository, Changes
from shop.domain.products import Offer, Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded
from shop.domain.users import Role


class SqliteUnitOfWork(SqlUnitOfWork):
    @property
    def batch(self) -> BatchRepository:
        return SqliteBatch(self)


class _Insert:
    """An INSERT of many rows, for the driver."""

    def __init__(self, table: Table, columns: Iterable[Column[Any]] | None = None) -> None:
        given = written_columns(table) if columns is None else columns
        self.columns = Columns(types_of(given), sqlite.dialect())
        names = self.columns.names
        self.sql = (
            f"INSERT INTO {table.name} ({', '.join(names)})"  # noqa: S608 - names of our own
            f" VALUES ({', '.join('?' for _ in names)})"
        )


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

    def rows(self, rows: Iterable[Row]) -> str:
        return msgspec.json.encode(list(self.columns.store(rows))).decode()


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
_CHANGE_PRODUCTS = (
    f"UPDATE products SET {', '.join(f'{column.name} = ?' for column in CHANGED_COLUMNS)}"  # noqa: S608
    " WHERE id = ?"
)
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
        answers = await self._unit_of_work.keys.claim(keys) if keys else {}
        changed = await self._unit_of_work.details.orders(changing) if changing else {}
        products = {*product_ids, *products_on(changed.values())}
        ids = ([order_id.hex for order_id in order_ids], list(user_ids), list(products))
        rows = list(await self._driver.execute_fetchall(_LOCK, [json.dumps(each) for each in ids]))
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
        # Each is awaited before the next: when the disk is full SQLite gives the transaction up by
        # itself, and a statement that is on its way then would stand alone and be committed.
        if orders:
            with refusing(InvalidToken()):
                await self._insert(_ADD_ORDERS, map(order_row, orders))
            await self._insert(_ADD_LINES, (row for order in orders for row in line_rows(order)))
        await self._record(movements)
        if changes is not None:
            await self._change(changes)

    async def _change(self, changes: Changes) -> None:
        """Of each kind only what there is: every statement is a trip to the connection's thread."""
        if changes.orders:
            rows = map(order_row, changes.orders)
            await self._driver.executemany(_CHANGE_ORDER, _CHANGED_ORDER.store(rows))
            await self._insert(_ADD_EVENTS, map(event_row, changes.history))
        if relined := changes.relined:
            await self._driver.executemany(_DROP_LINES, [(order.id.hex,) for order in relined])
            await self._insert(_ADD_LINES, (row for order in relined for row in line_rows(order)))
        if changes.answers:
            await self._driver.executemany(
                _KEEP_ANSWER,
                [(a.route, a.digest, a.answer, a.user_id, a.key) for a in changes.answers],
            )
        if changes.unused:
            await self._driver.executemany(_DROP_KEY, list(changes.unused))

    async def new_product_ids(self, count: int) -> Sequence[int]:
        # Nobody else adds products until the transaction ends.
        [[last]] = await self._driver.execute_fetchall("SELECT max(id) FROM products")
        return range((last or 0) + 1, (last or 0) + 1 + count)

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        with refusing(SkuTaken()):
            await self._insert_all(_ADD_PRODUCTS, map(new_product_row, products))
        await self._insert_all(_ADD_STOCK, map(stock_row, products))
        await self._insert_all(_ADD_FIRST_MOVEMENTS, map(movement_row, movements))

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        """There is nothing to wait for: the transaction has the only write lock."""
        keys = {folded(sku) for sku in skus}
        given = json.dumps([*keys]), json.dumps([*skus])
        rows = await self._driver.execute_fetchall(_ALIKE, given)
        return by_folded_sku(map(product_from, _PRODUCT.read(rows)))

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        await self._driver.executemany(
            _CHANGE_PRODUCTS, _CHANGED_PRODUCT.store(map(changed_row, products))
        )
        await self._record(movements)

    async def _record(self, movements: Sequence[StockMovement]) -> None:
        balances = last_balances(movements)
        await self._driver.executemany(
            _SET_STOCK, [(balance, product_id) for product_id, balance in balances.items()]
        )
        await self._insert(_ADD_MOVEMENTS, map(movement_row, movements))

    async def _insert(self, insert: _Insert, rows: Iterable[Row]) -> None:
        await self._driver.executemany(insert.sql, insert.columns.store(rows))

    async def _insert_all(self, insert: _InsertAll, rows: Iterable[Row]) -> None:
        await self._driver.execute_fetchall(insert.sql, [insert.rows(rows)])

    @property
    def _driver(self) -> aiosqlite.Connection:
        driver = self._unit_of_work.driver
        assert isinstance(driver, aiosqlite.Connection)
        return driver
