"""PostgreSQL's own way of placing orders: the driver's connection, two statements for any batch.

Through SQLAlchemy a batch of orders costs about 0.2 ms of Python for each order, nearly all of it
spent on one parameter set for each row. Here the rows go as JSON, one parameter for each table: of
the ways tried it asks least of Python and as much of PostgreSQL as an array for each column does,
which the driver looks through element by element. See docs/decisions/0002.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import Column, LargeBinary, Table, make_url

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.marks import MARK, note_mark
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
from shop.adapters.sql.rows import Row, written_columns
from shop.adapters.sql.stock import last_balances, movement_row
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import (
    InvalidToken,
    OutcomeUnknown,
    SkuTaken,
    StaleProducts,
    StoreUnavailable,
)
from shop.domain.orders import Order
from shop.domain.ports import Batch, BatchRepository
from shop.domain.products import Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded


class PostgresUnitOfWork(SqlUnitOfWork):
    async def _send_commit(self, driver: Driver) -> None:
        assert isinstance(driver, asyncpg.Connection)
        if driver.is_closed():
            raise StoreUnavailable("The database has ended the connection; nothing was done.")
        warnings: list[object] = []

        def note(_: object, warning: object) -> None:
            warnings.append(warning)

        driver.add_log_listener(note)
        try:
            # No timeout of the driver's: it would send a cancellation. The server's statement
            # timeout ends by itself before a COMMIT, and so before the wait for a standby.
            done = await driver.execute("COMMIT", timeout=_FOREVER)
        finally:
            driver.remove_log_listener(note)
        if done != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError("it was rolled back, since it had failed")
        if warnings:
            # Somebody broke off the wait for the standby: committed here, and there perhaps not.
            raise OutcomeUnknown

    @property
    def batch(self) -> BatchRepository:
        return PostgresBatch(self)


def _recordset(columns: Iterable[Column[Any]], parameter: str) -> str:
    """A JSON array of objects as rows, with a column for each value by its name."""
    dialect = make_url("postgresql+asyncpg://").get_dialect()()
    # A column of binary data comes as text, since JSON has nothing else for it.
    types = ", ".join(
        f"{column.name} {'text' if _is_binary(column) else column.type.compile(dialect=dialect)}"
        for column in columns
    )
    return f"json_to_recordset({parameter}::json) AS new ({types})"


def _insert(table: Table, parameter: str) -> str:
    columns = written_columns(table)
    names = ", ".join(column.name for column in columns)
    values = ", ".join(
        f"decode({column.name}, 'base64')" if _is_binary(column) else column.name
        for column in columns
    )
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {_recordset(columns, parameter)}"  # noqa: S608 - names of our own tables
    )


def _is_binary(column: Column[Any]) -> bool:
    return isinstance(column.type, LargeBinary)


# Seconds; asyncpg takes None for its default.
_FOREVER = 86_400.0 * 365

# Waits for these locks before any other is taken.
_WAIT = (
    "SELECT FROM stock WHERE product_id = ANY($1::bigint[]) ORDER BY product_id FOR NO KEY UPDATE"
)

# For the lock and its order see `SqlStockRepository.lock`. Orders are looked for when all locks are
# held: `known_orders` sees what was committed until it is called, and it is called with the number
# of locks. A product without a lock is held by somebody else. The left join gives a row even if no
# product is there. Products are seen as they were when the statement began, which may be before it
# waited: `_ADD` looks whether they still are so.
_LOCK = f"""
WITH locked AS MATERIALIZED (
    SELECT product_id, on_hand FROM stock
    WHERE product_id = ANY($2::bigint[])
    ORDER BY product_id
    FOR NO KEY UPDATE {{skip}}
)
SELECT known.*, {", ".join(map(str, PRODUCT_COLUMNS))}
FROM (
    SELECT {{mark}}
        known_orders($1::uuid[], (SELECT count(*) FROM locked)) AS order_ids,
        ARRAY(SELECT id FROM users WHERE id = ANY($3::bigint[]) AND disabled) AS disabled
) AS known
LEFT JOIN products ON products.id = ANY($2::bigint[])
LEFT JOIN locked AS stock ON stock.product_id = products.id
"""  # noqa: S608
_LOCKS = {
    (skips, marking): _LOCK.format(
        skip="SKIP LOCKED" if skips else "", mark=f"{MARK}," if marking else ""
    )
    for skips in (False, True)
    for marking in (False, True)
}

# Balances are an array: its length is guessed low enough for a plan that looks rows up by key.
# Who changes a product locks its stock first. That is locked here by now, so products stay as this
# statement sees them; the stock of one that is not as it was read is left as it is.
_ADD = f"""
WITH added_orders AS ({_insert(tables.orders, "$1")}),
added_lines AS ({_insert(tables.order_lines, "$2")}),
added_movements AS ({_insert(tables.stock_movements, "$3")})
UPDATE stock SET on_hand = new.balance
FROM unnest($4::bigint[], $5::bigint[], $6::integer[]) AS new (product_id, balance, version)
JOIN products ON products.id = new.product_id AND products.version = new.version
WHERE stock.product_id = new.product_id
"""  # noqa: S608

# For the lock and its order see `SqlStockRepository.lock`. A statement of its own reads the
# products when all locks are held, and by their ids: one that has another SKU by then is not to be
# taken for what was looked for, nor one that has got the SKU meanwhile for one that is locked.
# Each SKU is looked up by itself, by an index (OFFSET keeps it so), and ids are joined, not
# compared with an array: PostgreSQL takes a table of which it has no statistics yet for a small
# one, reads all of it, and compares each row with each of a thousand values. So it would for each
# row that it has waited for, if they stood beside the lock.
_LOCK_ALIKE = """
WITH alike AS MATERIALIZED (
    SELECT found.id FROM unnest($1::text[]) AS given (sku_folded)
    CROSS JOIN LATERAL (
        SELECT id FROM products WHERE products.sku_folded = given.sku_folded OFFSET 0
    ) AS found
    UNION
    SELECT found.id FROM unnest($2::text[]) AS given (sku)
    CROSS JOIN LATERAL (SELECT id FROM products WHERE products.sku = given.sku OFFSET 0) AS found
)
SELECT stock.product_id
FROM alike JOIN stock ON stock.product_id = alike.id
ORDER BY stock.product_id
FOR NO KEY UPDATE OF stock
"""
_READ_LOCKED = {
    marking: f"""
SELECT {f"{MARK}," if marking else ""} {", ".join(map(str, PRODUCT_COLUMNS))}
FROM unnest($1::bigint[]) WITH ORDINALITY AS locked (id, place)
JOIN products ON products.id = locked.id
JOIN stock ON stock.product_id = locked.id
ORDER BY locked.place
"""  # noqa: S608
    for marking in (False, True)
}

_CHANGE_PRODUCTS = f"""
WITH changed_products AS (
    UPDATE products
    SET {", ".join(f"{column.name} = new.{column.name}" for column in CHANGED_COLUMNS)}
    FROM {_recordset([*CHANGED_COLUMNS, tables.products.c.id], "$1")}
    WHERE products.id = new.id
),
added_movements AS ({_insert(tables.stock_movements, "$2")})
UPDATE stock SET on_hand = new.balance
FROM unnest($3::bigint[], $4::bigint[]) AS new (product_id, balance)
WHERE stock.product_id = new.product_id
"""  # noqa: S608

_NEW_PRODUCT_IDS = {
    marking: "SELECT nextval(pg_get_serial_sequence('products', 'id')) AS new_id "
    f"{f', {MARK}' if marking else ''} FROM generate_series(1, $1::int)"  # noqa: S608
    for marking in (False, True)
}


class PostgresBatch(BatchRepository):
    def __init__(self, unit_of_work: PostgresUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        user_ids: Collection[int],
        wait_for: Collection[int] | None = None,
    ) -> Batch:
        if wait_for:
            await self._driver.fetch(_WAIT, list(wait_for))
        marking = self._unit_of_work.is_marking
        rows = await self._driver.fetch(
            _LOCKS[wait_for is not None, marking],
            list(order_ids),
            list(product_ids),
            list(user_ids),
        )
        if marking:
            note_mark(rows[0])
        known = rows[0]["order_ids"]
        found = [row for row in rows if row["id"] is not None]
        return Batch(
            # Nearly always there is none: only repeated requests have one.
            orders=await self._unit_of_work.orders.find(known) if known else {},
            products={row["id"]: product_from(row) for row in found if row["on_hand"] is not None},
            busy=[row["id"] for row in found if row["on_hand"] is None],
            disabled=rows[0]["disabled"],
        )

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Product],
    ) -> None:
        balances = last_balances(movements)
        with refusing(InvalidToken()):
            done = await self._driver.execute(
                _ADD,
                _json([order_row(order) for order in orders]),
                _json([row for order in orders for row in line_rows(order)]),
                # As they are: their fields are the columns.
                _json(movements),
                list(balances.keys()),
                list(balances.values()),
                [products[product_id].version for product_id in balances],
            )
        if done != f"UPDATE {len(balances)}":
            raise StaleProducts

    async def new_product_ids(self, count: int) -> Sequence[int]:
        marking = self._unit_of_work.is_marking
        rows = await self._driver.fetch(_NEW_PRODUCT_IDS[marking], count)
        if marking and rows:
            note_mark(rows[0])
        return [row["new_id"] for row in rows]

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        with refusing(SkuTaken()):
            await self._copy(tables.products, map(new_product_row, products))
        await self._copy(tables.stock, map(stock_row, products))
        await self._copy(tables.stock_movements, map(movement_row, movements))

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        keys = {folded(sku) for sku in skus}
        locked = await self._driver.fetch(_LOCK_ALIKE, list(keys), list(skus))
        marking = self._unit_of_work.is_marking
        rows = await self._driver.fetch(_READ_LOCKED[marking], [row[0] for row in locked])
        if marking and rows:
            note_mark(rows[0])
        return by_folded_sku(map(product_from, rows))

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        balances = last_balances(movements)
        await self._driver.execute(
            _CHANGE_PRODUCTS,
            _json([changed_row(product) for product in products]),
            # As they are: their fields are the columns.
            _json(movements),
            list(balances.keys()),
            list(balances.values()),
        )

    async def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        """By COPY: for many rows no INSERT is as fast."""
        to_copy = list(rows)
        if to_copy:
            await self._driver.copy_records_to_table(
                table.name, columns=list(to_copy[0]), records=[(*row.values(),) for row in to_copy]
            )

    @property
    def _driver(self) -> "asyncpg.Connection[asyncpg.Record]":
        driver = self._unit_of_work.driver
        assert isinstance(driver, asyncpg.Connection)
        return driver


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode()
