"""PostgreSQL's own way of placing orders: the driver's connection, two statements for any batch.

Through SQLAlchemy a batch of orders costs about 0.2 ms of Python for each order, nearly all of it
spent on one parameter set for each row. Here the rows go as JSON, one parameter for each table: of
the ways tried it asks least of Python and as much of PostgreSQL as an array for each column does,
which the driver looks through element by element. See docs/decisions/0002.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import Column, LargeBinary, Table, make_url

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.history import event_row
from shop.adapters.sql.marks import MARK, note_mark
from shop.adapters.sql.orders import LINE_COLUMNS, line_rows, order_from, order_row
from shop.adapters.sql.products import (
    CHANGED_COLUMNS,
    POSTGRESQL_ALIKE,
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
from shop.domain.errors import (
    InvalidToken,
    OutcomeUnknown,
    SkuTaken,
    StaleProducts,
    StoreUnavailable,
    WriteConflict,
)
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.orders import Order
from shop.domain.ports import Batch, BatchRepository, Changes
from shop.domain.products import Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded
from shop.domain.users import Role


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


_DIALECT = make_url("postgresql+asyncpg://").get_dialect()()
_EVENT = Columns(types_of(written_columns(tables.order_events)), _DIALECT)


def _recordset(columns: Iterable[Column[Any]], parameter: str) -> str:
    """A JSON array of objects as rows, with a column for each value by its name."""
    # A column of binary data comes as text, since JSON has nothing else for it.
    types = ", ".join(
        f"{column.name} {'text' if _is_binary(column) else column.type.compile(dialect=_DIALECT)}"
        for column in columns
    )
    return f"json_to_recordset({parameter}::json) AS new ({types})"


def _insert(table: Table, parameter: str, or_else: str = "") -> str:
    """`or_else` says what becomes of those whose key is there."""
    columns = written_columns(table)
    names = ", ".join(column.name for column in columns)
    values = ", ".join(
        f"decode({column.name}, 'base64')" if _is_binary(column) else column.name
        for column in columns
    )
    return f"""
    INSERT INTO {table.name} ({names}) SELECT {values} FROM {_recordset(columns, parameter)}
    {or_else}
    """  # noqa: S608 - names of our own tables


def _is_binary(column: Column[Any]) -> bool:
    return isinstance(column.type, LargeBinary)


# Seconds; asyncpg takes None for its default.
_FOREVER = 86_400.0 * 365

# Waits for one of these before anything else is taken.
_WAIT = "SELECT FROM stock WHERE product_id = $1 FOR NO KEY UPDATE"
_WAIT_FOR_KEY = "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))"
_WAIT_FOR_ORDER = "SELECT FROM orders WHERE id = $1 FOR NO KEY UPDATE"

# For the lock and its order see `SqlStockRepository.lock`. Orders are looked for when all locks are
# held: `known_orders` sees what was committed until it is called, and it is called with the number
# of locks. A product without a lock is held by somebody else. The left join gives a row even if no
# product is there. Products are seen as they were when the statement began, which may be before it
# waited: `_ADD` looks whether they still are so.
_LOCK_STOCK = """
    SELECT product_id, on_hand FROM stock
    WHERE product_id = ANY({ids})
    ORDER BY product_id
    FOR NO KEY UPDATE {skip}
"""
_LOCK = f"""
WITH locked AS MATERIALIZED ({_LOCK_STOCK.replace("{ids}", "$2::bigint[]")})
SELECT known.*, {", ".join(map(str, PRODUCT_COLUMNS))}
FROM (
    SELECT {{mark}}
        known_orders($1::uuid[], (SELECT count(*) FROM locked)) AS order_ids,
        ARRAY(SELECT id FROM users WHERE id = ANY($3::bigint[]) AND disabled) AS disabled
) AS known
LEFT JOIN products ON products.id = ANY($2::bigint[])
LEFT JOIN locked AS stock ON stock.product_id = products.id
"""  # noqa: S608

# A key that another batch has is not waited for: by the lock that is tried it is known to have it.
# Whoever claims a key alone takes no such lock, and is waited for.
_CLAIM = """
INSERT INTO idempotency_keys (user_id, key, route, digest, answer, at)
SELECT user_id, key, route, digest, '', at
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[])
    AS new (user_id, key, route, digest, at)
WHERE pg_try_advisory_xact_lock(hashtextextended(key, user_id))
ORDER BY user_id, key
ON CONFLICT DO NOTHING
RETURNING user_id, key
"""
_STORED = """
SELECT stored.* FROM idempotency_keys AS stored
JOIN unnest($1::bigint[], $2::text[]) AS wanted (user_id, key)
ON stored.user_id = wanted.user_id AND stored.key = wanted.key
"""

# The same where orders are to be changed. They are locked before any stock, since the array of
# products is made of what is on those that are locked; one that somebody else holds holds up no
# batch. An order's row is read as it is when it is locked, all else of it as it was when the
# statement began. Where the two have other versions, somebody has just changed it: what is on it
# now is not known, and it is taken for busy.
_CHANGED = [*tables.orders.columns, *LINE_COLUMNS]
_LOCK_CHANGED = f"""
WITH held AS MATERIALIZED (
    SELECT id, version FROM orders
    WHERE id = ANY($4::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
wanted AS MATERIALIZED (
    SELECT $2::bigint[] || ARRAY(
        SELECT product_id FROM order_lines JOIN held ON held.id = order_lines.order_id
    ) AS ids
),
locked AS MATERIALIZED ({_LOCK_STOCK.replace("{ids}", "(SELECT ids FROM wanted)::bigint[]")})
SELECT known.*, {", ".join(map(str, PRODUCT_COLUMNS))}
FROM (
    SELECT {{mark}}
        known_orders($1::uuid[], (SELECT count(*) FROM locked)) AS order_ids,
        ARRAY(SELECT id FROM users WHERE id = ANY($3::bigint[]) AND disabled) AS disabled,
        ARRAY(SELECT ROW(id, role) FROM users WHERE id = ANY($3::bigint[])) AS users,
        ARRAY(
            SELECT ROW(held.version IS NOT DISTINCT FROM orders.version,
                {", ".join(map(str, _CHANGED))})
            FROM orders
            JOIN order_lines ON order_lines.order_id = orders.id
            LEFT JOIN held ON held.id = orders.id
            WHERE orders.id = ANY($4::uuid[])
            ORDER BY orders.id, order_lines.position
        ) AS changed
) AS known
LEFT JOIN products ON products.id = ANY((SELECT ids FROM wanted)::bigint[])
LEFT JOIN locked AS stock ON stock.product_id = products.id
"""  # noqa: S608


def _ways(lock: str) -> dict[tuple[bool, bool], str]:
    """Whether it skips what somebody else holds, and whether it is marked."""
    return {
        (skips, marking): lock.format(
            skip="SKIP LOCKED" if skips else "", mark=f"{MARK}," if marking else ""
        )
        for skips in (False, True)
        for marking in (False, True)
    }


_LOCKS, _LOCKS_CHANGED = _ways(_LOCK), _ways(_LOCK_CHANGED)
_CHANGED_COLUMNS = Columns(types_of(_CHANGED), _DIALECT)

# Balances are an array: its length is guessed low enough for a plan that looks rows up by key.
# Who changes a product locks its stock first. That is locked here by now, so products stay as this
# statement sees them; the stock of one that is not as it was read is left as it is.
_ADD_LINES = _insert(tables.order_lines, "$2")
_ADD = f"""
WITH added_orders AS ({_insert(tables.orders, "$1")}),
added_lines AS ({_ADD_LINES}),
added_movements AS ({_insert(tables.stock_movements, "$3")})
UPDATE stock SET on_hand = new.balance
FROM unnest($4::bigint[], $5::bigint[], $6::integer[]) AS new (product_id, balance, version)
JOIN products ON products.id = new.product_id AND products.version = new.version
WHERE stock.product_id = new.product_id
"""  # noqa: S608

# The same, and what else changed; arrays for the same reason.
_REPLACE_LINE = f"""
ON CONFLICT (order_id, position) DO UPDATE
SET {", ".join(f"{c.name} = excluded.{c.name}" for c in LINE_COLUMNS if not c.primary_key)}
"""
_ADD_AND_CHANGE = f"""
WITH changed_orders AS (
    UPDATE orders SET status = new.status, version = new.version, modified_at = new.modified_at
    FROM unnest($7::uuid[], $8::text[], $9::integer[], $10::timestamptz[])
        AS new (id, status, version, modified_at)
    WHERE orders.id = new.id
),
gone_lines AS (
    DELETE FROM order_lines
    USING unnest($11::uuid[], $12::integer[]) AS kept (order_id, number)
    WHERE order_lines.order_id = kept.order_id AND order_lines.position >= kept.number
),
added_events AS ({_insert(tables.order_events, "$13")}),
kept_answers AS (
    UPDATE idempotency_keys SET route = new.route, digest = new.digest, answer = new.answer
    FROM unnest($14::bigint[], $15::text[], $16::text[], $17::bytea[], $18::bytea[])
        AS new (user_id, key, route, digest, answer)
    WHERE idempotency_keys.user_id = new.user_id AND idempotency_keys.key = new.key
),
unused_keys AS (
    DELETE FROM idempotency_keys USING unnest($19::bigint[], $20::text[]) AS old (user_id, key)
    WHERE idempotency_keys.user_id = old.user_id AND idempotency_keys.key = old.key
),
{_ADD.replace("WITH", "", 1).replace(_ADD_LINES, _ADD_LINES + _REPLACE_LINE)}
"""  # noqa: S608

# For the lock and its order see `SqlStockRepository.lock`. A statement of its own reads the
# products when all locks are held, and by their ids: one that has another SKU by then is not to be
# taken for what was looked for, nor one that has got the SKU meanwhile for one that is locked.
# Ids are joined, not compared with an array, for the reason of `POSTGRESQL_ALIKE`; so PostgreSQL
# would compare each row that it has waited for, if they stood beside the lock.
_LOCK_ALIKE = f"""
WITH alike AS MATERIALIZED ({POSTGRESQL_ALIKE})
SELECT stock.product_id
FROM alike JOIN stock ON stock.product_id = alike.id
ORDER BY stock.product_id
FOR NO KEY UPDATE OF stock
"""  # noqa: S608
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
    marking: f"""
SELECT nextval(pg_get_serial_sequence('products', 'id')) AS new_id {f", {MARK}" if marking else ""}
FROM generate_series(1, $1::int)
"""  # noqa: S608
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
        changing: Collection[UUID] | None = None,
        keys: Collection[KeyedRequest] = (),
        wait_for: Collection[int | UUID | Place] | None = None,
    ) -> Batch:
        for held in wait_for or ():
            await self._wait(held)
        claimed, answers = await self._claim(keys) if keys else (frozenset(), {})
        ids = [list(order_ids), list(product_ids), list(user_ids)]
        marking = self._unit_of_work.is_marking
        way = wait_for is not None, marking
        if changing is None:
            rows = await self._driver.fetch(_LOCKS[way], *ids)
        else:
            rows = await self._driver.fetch(_LOCKS_CHANGED[way], *ids, list(changing))
        if marking:
            note_mark(rows[0])
        known = rows[0]["order_ids"]
        found = [row for row in rows if row["id"] is not None]
        batch = Batch(
            # Nearly always there is none: only repeated requests have one.
            orders=await self._unit_of_work.orders.find(known) if known else {},
            products={row["id"]: product_from(row) for row in found if row["on_hand"] is not None},
            busy=[row["id"] for row in found if row["on_hand"] is None],
            disabled=rows[0]["disabled"],
        )
        if changing is None:
            return batch
        batch = replace(batch, claimed=claimed, answers=answers)
        return _with_changed(batch, rows[0], changing)

    async def _wait(self, held: int | UUID | Place) -> None:
        if isinstance(held, tuple):
            await self._driver.fetch(_WAIT_FOR_KEY, *held)
        else:
            statement = _WAIT_FOR_ORDER if isinstance(held, UUID) else _WAIT
            await self._driver.fetch(statement, held)

    async def _claim(
        self, keys: Collection[KeyedRequest]
    ) -> tuple[Collection[Place], Mapping[Place, KeyedAnswer]]:
        """The keys that are this transaction's, and what is stored under others."""
        wanted = {key.place: key for key in keys}
        columns = [(k.user_id, k.key, k.route, k.digest, k.at) for k in wanted.values()]
        try:
            rows = await self._driver.fetch(_CLAIM, *map(list, zip(*columns, strict=True)))
        except asyncpg.LockNotAvailableError as error:
            # There is no going around it. It may be one's key only: in halves it fails alone.
            raise WriteConflict("Another change has this Idempotency-Key; try again.") from error
        claimed = {(row["user_id"], row["key"]) for row in rows}
        if not (others := wanted.keys() - claimed):
            return claimed, {}
        stored = await self._driver.fetch(_STORED, *map(list, zip(*others, strict=True)))
        return claimed, {(row["user_id"], row["key"]): KeyedAnswer(**row) for row in stored}

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Product],
        changes: Changes | None = None,
    ) -> None:
        balances = last_balances(movements)
        relined = changes.relined if changes else ()
        with refusing(InvalidToken()):
            done = await self._driver.execute(
                _ADD_AND_CHANGE if changes else _ADD,
                _json([order_row(order) for order in orders]),
                _json([row for order in (*orders, *relined) for row in line_rows(order)]),
                # As they are: their fields are the columns.
                _json(movements),
                list(balances.keys()),
                list(balances.values()),
                [products[product_id].version for product_id in balances],
                *(_arguments(changes) if changes else ()),
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


def _with_changed(batch: Batch, row: asyncpg.Record, changing: Collection[UUID]) -> Batch:
    """With the orders that are to be changed, of which those are busy that were not locked."""
    is_held: dict[UUID, bool] = {}
    lines = [values[1:] for values in row["changed"] if is_held.setdefault(values[1], values[0])]
    changed = [
        order_from(list(group))
        for _, group in groupby(_CHANGED_COLUMNS.read(lines), itemgetter("id"))
    ]
    orders = {**batch.orders, **{order.id: order for order in changed}}
    # One that was placed a moment ago is known, and was not there to be locked.
    busy = [id_ for id_ in changing if not is_held.get(id_, id_ not in orders)]
    roles = {user_id: Role(role) for user_id, role in row["users"]}
    return replace(batch, orders=orders, busy_orders=busy, roles=roles)


def _arguments(changes: Changes) -> Sequence[object]:
    """Of `_ADD_AND_CHANGE`, besides those of `_ADD`."""
    orders, relined, answers = changes.orders, changes.relined, changes.answers
    return (
        [order.id for order in orders],
        [order.status for order in orders],
        [order.version for order in orders],
        [order.modified_at for order in orders],
        [order.id for order in relined],
        [len(order.lines) for order in relined],
        _json([_EVENT.store_row(event_row(entry)) for entry in changes.history]),
        [answer.user_id for answer in answers],
        [answer.key for answer in answers],
        [answer.route for answer in answers],
        [answer.digest for answer in answers],
        [answer.answer for answer in answers],
        [user_id for user_id, _ in changes.unused],
        [key for _, key in changes.unused],
    )


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode()
