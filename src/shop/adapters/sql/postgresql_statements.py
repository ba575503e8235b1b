"""What PostgreSQL is told for batches of orders and of products: the texts of the statements.

`postgresql.py` sends them. Each is made once, when the program starts, from the tables' columns.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, make_url

from shop.adapters.sql import tables
from shop.adapters.sql.marks import MARK
from shop.adapters.sql.orders import LINE_COLUMNS
from shop.adapters.sql.products import (
    CHANGED_COLUMNS,
    OFFER_COLUMNS,
    POSTGRESQL_ALIKE,
    PRODUCT_COLUMNS,
)
from shop.adapters.sql.rows import written_columns

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


def _recordset(columns: Iterable[Column[Any]], parameter: str) -> str:
    """A JSON array of objects as rows, with a column for each value by its name."""
    # A column of binary data comes as text, since JSON has nothing else for it.
    types = ", ".join(
        f"{column.name} {'text' if _is_binary(column) else column.type.compile(dialect=DIALECT)}"
        for column in columns
    )
    return f"json_to_recordset({parameter}::json) AS new ({types})"


def _insert(table: Table, parameter: str, or_else: str = "") -> str:
    """`or_else` says what becomes of those whose key is there."""
    columns = written_columns(table)
    return f"{_insert_from(table, _recordset(columns, parameter))} {or_else}"


def _insert_from(table: Table, rows: str) -> str:
    columns = written_columns(table)
    names = ", ".join(column.name for column in columns)
    values = ", ".join(
        f"decode({column.name}, 'base64')" if _is_binary(column) else column.name
        for column in columns
    )
    return f"""
    INSERT INTO {table.name} ({names}) SELECT {values} FROM {rows}
    """  # noqa: S608 - names of our own tables


def _is_binary(column: Column[Any]) -> bool:
    return isinstance(column.type, LargeBinary)


# Waits for one of these before anything else is taken.
WAIT = "SELECT FROM stock WHERE product_id = $1 FOR NO KEY UPDATE"
WAIT_FOR_KEY = "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))"
WAIT_FOR_ORDER = "SELECT FROM orders WHERE id = $1 FOR NO KEY UPDATE"

# A key that another batch has is not waited for: by the lock that is tried it is known to have it.
# Whoever claims a key alone takes no such lock, and is waited for.
CLAIM = """
INSERT INTO idempotency_keys (user_id, key, route, digest, answer, at)
SELECT user_id, key, route, digest, '', at
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[])
    AS new (user_id, key, route, digest, at)
WHERE pg_try_advisory_xact_lock(hashtextextended(key, user_id))
ORDER BY user_id, key
ON CONFLICT DO NOTHING
RETURNING user_id, key
"""
STORED = """
SELECT stored.* FROM idempotency_keys AS stored
JOIN unnest($1::bigint[], $2::text[]) AS wanted (user_id, key)
ON stored.user_id = wanted.user_id AND stored.key = wanted.key
"""

# For the lock and its order see `SqlStockRepository.lock`. Orders are looked for when all locks are
# held: `known_orders` sees what was committed until it is called, and it is called with the number
# of locks. A product without a lock is held by somebody else. The left join gives a row even if no
# product is there; what is repeated in each is NULL for nothing, which costs less than an array.
# Products are seen as they were when the statement began, which may be before it waited: `ADD`
# looks whether they still are so.
_LOCK_STOCK = """
    SELECT product_id, on_hand FROM stock
    WHERE product_id = ANY({ids})
    ORDER BY product_id
    FOR NO KEY UPDATE {skip}
"""
# These arrays come as text: the driver looks through those that it takes element by element.
_ORDERS, _PRODUCTS, _USERS = "$1::text::uuid[]", "$2::text::bigint[]", "$3::text::bigint[]"
_KNOWN = f"""
        NULLIF(known_orders({_ORDERS}, (SELECT count(*) FROM locked)), ARRAY[]::uuid[])
            AS order_ids,
        NULLIF(
            ARRAY(SELECT id FROM users WHERE id = ANY({_USERS}) AND disabled), ARRAY[]::bigint[]
        ) AS disabled
""".strip()  # noqa: S608
_LOCK = f"""
WITH locked AS MATERIALIZED ({_LOCK_STOCK.replace("{ids}", _PRODUCTS)})
SELECT known.*, {", ".join(map(str, OFFER_COLUMNS))}
FROM (
    SELECT {{mark}}
        {_KNOWN}
) AS known
LEFT JOIN products ON products.id = ANY({_PRODUCTS})
LEFT JOIN locked AS stock ON stock.product_id = products.id
"""  # noqa: S608

# The same where orders are to be changed. They are locked before any stock, since the array of
# products is made of what is on those that are locked; one that somebody else holds holds up no
# batch. An order's row is read as it is when it is locked, all else of it as it was when the
# statement began. Where the two have other versions, somebody has just changed it: what is on it
# now is not known, and it is taken for busy.
CHANGED = [*tables.orders.columns, *LINE_COLUMNS]
_LOCK_CHANGED = f"""
WITH held AS MATERIALIZED (
    SELECT id, version FROM orders
    WHERE id = ANY($4::uuid[])
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
),
wanted AS MATERIALIZED (
    SELECT {_PRODUCTS} || ARRAY(
        SELECT product_id FROM order_lines JOIN held ON held.id = order_lines.order_id
    ) AS ids
),
locked AS MATERIALIZED ({_LOCK_STOCK.replace("{ids}", "(SELECT ids FROM wanted)::bigint[]")})
SELECT known.*, {", ".join(map(str, PRODUCT_COLUMNS))}
FROM (
    SELECT {{mark}}
        {_KNOWN},
        ARRAY(SELECT ROW(id, role) FROM users WHERE id = ANY({_USERS})) AS users,
        ARRAY(
            SELECT ROW(held.version IS NOT DISTINCT FROM orders.version,
                {", ".join(map(str, CHANGED))})
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


LOCKS, LOCKS_CHANGED = _ways(_LOCK), _ways(_LOCK_CHANGED)

# Balances are an array: its length is guessed low enough for a plan that looks rows up by key.
# Who changes a product locks its stock first. That is locked here by now, so products stay as this
# statement sees them; the stock of one that is not as it was read is left as it is.
_ADD_LINES = _insert(tables.order_lines, "$2")
ADD = f"""
WITH added_orders AS ({_insert(tables.orders, "$1")}),
added_lines AS ({_ADD_LINES}),
added_movements AS ({_insert(tables.stock_movements, "$3")})
UPDATE stock SET on_hand = new.balance
FROM unnest($4::text::bigint[], $5::text::bigint[], $6::text::integer[])
    AS new (product_id, balance, version)
JOIN products ON products.id = new.product_id AND products.version = new.version
WHERE stock.product_id = new.product_id
"""  # noqa: S608

# The same, and what else changed; arrays for the same reason.
_REPLACE_LINE = f"""
ON CONFLICT (order_id, position) DO UPDATE
SET {", ".join(f"{c.name} = excluded.{c.name}" for c in LINE_COLUMNS if not c.primary_key)}
"""
ADD_AND_CHANGE = f"""
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
{ADD.replace("WITH", "", 1).replace(_ADD_LINES, _ADD_LINES + _REPLACE_LINE)}
"""  # noqa: S608

# For the lock and its order see `SqlStockRepository.lock`. A statement of its own reads the
# products when all locks are held, and by their ids: one that has another SKU by then is not to be
# taken for what was looked for, nor one that has got the SKU meanwhile for one that is locked.
# Ids are joined, not compared with an array, for the reason of `POSTGRESQL_ALIKE`; so PostgreSQL
# would compare each row that it has waited for, if they stood beside the lock. They go from one
# statement to the other as one value, which nobody takes apart.
LOCK_ALIKE = f"""
WITH alike AS MATERIALIZED ({POSTGRESQL_ALIKE})
SELECT coalesce(json_agg(locked.product_id), '[]')::text FROM (
    SELECT stock.product_id
    FROM alike JOIN stock ON stock.product_id = alike.id
    ORDER BY stock.product_id
    FOR NO KEY UPDATE OF stock
) AS locked
"""  # noqa: S608
READ_LOCKED = {
    marking: f"""
SELECT {f"{MARK}," if marking else ""} {", ".join(map(str, PRODUCT_COLUMNS))}
FROM json_array_elements_text($1::json) WITH ORDINALITY AS locked (id, place)
JOIN products ON products.id = locked.id::bigint
JOIN stock ON stock.product_id = products.id
ORDER BY locked.place
"""  # noqa: S608
    for marking in (False, True)
}

_MOVED = _recordset(written_columns(tables.stock_movements), "$2")
CHANGE_PRODUCTS = f"""
WITH moved AS MATERIALIZED (SELECT * FROM {_MOVED}),
changed_products AS (
    UPDATE products
    SET {", ".join(f"{column.name} = new.{column.name}" for column in CHANGED_COLUMNS)}
    FROM {_recordset([*CHANGED_COLUMNS, tables.products.c.id], "$1")}
    WHERE products.id = new.id
),
added_movements AS ({_insert_from(tables.stock_movements, "moved")})
UPDATE stock SET on_hand = moved.balance FROM moved WHERE stock.product_id = moved.product_id
"""  # noqa: S608

NEW_PRODUCT_IDS = {
    marking: f"""
SELECT nextval(pg_get_serial_sequence('products', 'id')) AS new_id {f", {MARK}" if marking else ""}
FROM generate_series(1, $1::int)
"""  # noqa: S608
    for marking in (False, True)
}
