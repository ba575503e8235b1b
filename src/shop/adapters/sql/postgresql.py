"""PostgreSQL's own way of placing orders: the driver's connection, two statements for any batch.

Through SQLAlchemy a batch of orders costs about 0.2 ms of Python for each order, nearly all of it
spent on one parameter set for each row. Here the rows go as JSON, one parameter for each table: of
the ways tried it asks least of Python and as much of PostgreSQL as an array for each column does,
which the driver looks through element by element. See docs/decisions/0002.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from shop.adapters.sql.errors import refusing_unknown_user
from shop.adapters.sql.orders import line_rows
from shop.adapters.sql.products import product_from
from shop.adapters.sql.stock import last_balances, movement_row
from shop.adapters.sql.unit_of_work import Driver, SqlUnitOfWork
from shop.domain.errors import OutcomeUnknown, StoreUnavailable
from shop.domain.orders import Order
from shop.domain.ports import Batch, BatchRepository
from shop.domain.stock import StockMovement


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
            # No timeout of the driver's: it would send a cancellation.
            await driver.execute(self._engines.commit, timeout=_FOREVER)
        finally:
            driver.remove_log_listener(note)
        if warnings:
            # Somebody broke off the wait for the standby: committed here, and there perhaps not.
            raise OutcomeUnknown

    @property
    def batch(self) -> BatchRepository:
        return PostgresBatch(self)


# Seconds; asyncpg takes None for its default.
_FOREVER = 86_400.0 * 365

# Waits for these locks before any other is taken.
_WAIT = (
    "SELECT FROM stock WHERE product_id = ANY($1::bigint[]) ORDER BY product_id FOR NO KEY UPDATE"
)

# For the lock and its order see `SqlStockRepository.lock`. Orders are looked for when all locks are
# held: `known_orders` sees what was committed until it is called, and it is called with the number
# of locks. A product without a row of `locked` is held by somebody else. The left join gives a row
# even if no product is there.
_LOCK = """
WITH locked AS MATERIALIZED (
    SELECT product_id, on_hand FROM stock
    WHERE product_id = ANY($2::bigint[])
    ORDER BY product_id
    FOR NO KEY UPDATE {skip}
)
SELECT known.order_ids, p.id, p.sku, p.name, p.description, p.price, p.currency, locked.on_hand,
    p.archived, p.version, p.created_at, p.modified_at
FROM (SELECT known_orders($1::uuid[], (SELECT count(*) FROM locked)) AS order_ids) AS known
LEFT JOIN products p ON p.id = ANY($2::bigint[])
LEFT JOIN locked ON locked.product_id = p.id
"""
_LOCK_ALL, _LOCK_FREE = _LOCK.format(skip=""), _LOCK.format(skip="SKIP LOCKED")

# Of each JSON object it takes the columns it names: `returned` has its default. Balances are an
# array: its length is guessed low enough for a plan that looks rows up by key.
_ADD = """
WITH added_orders AS (
    INSERT INTO orders
        (id, code, user_id, status, currency, digest, version, created_at, modified_at)
    SELECT * FROM json_to_recordset($1::json) AS new (
        id uuid, code text, user_id bigint, status text, currency text, digest bytea, version int,
        created_at timestamptz, modified_at timestamptz
    )
), added_lines AS (
    INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
    SELECT * FROM json_to_recordset($2::json) AS new (
        order_id uuid, position int, product_id bigint, name text, price bigint, quantity bigint
    )
), changed_stock AS (
    UPDATE stock SET on_hand = new.balance
    FROM unnest($3::bigint[], $4::bigint[]) AS new (product_id, balance)
    WHERE stock.product_id = new.product_id
)
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
SELECT * FROM json_to_recordset($5::json) AS new (
    product_id bigint, quantity bigint, balance bigint, reason text, order_id uuid,
    actor_id bigint, note text, at timestamptz
)
"""


class PostgresBatch(BatchRepository):
    def __init__(self, unit_of_work: PostgresUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        wait_for: Collection[int] | None = None,
    ) -> Batch:
        if wait_for:
            await self._driver.fetch(_WAIT, list(wait_for))
        statement = _LOCK_ALL if wait_for is None else _LOCK_FREE
        rows = await self._driver.fetch(statement, list(order_ids), list(product_ids))
        known = rows[0]["order_ids"]
        found = [row for row in rows if row["id"] is not None]
        return Batch(
            # Nearly always there is none: only repeated requests have one.
            orders=await self._unit_of_work.orders.find(known) if known else {},
            products={
                row["id"]: product_from(row[1:]) for row in found if row["on_hand"] is not None
            },
            busy=[row["id"] for row in found if row["on_hand"] is None],
        )

    async def add(self, orders: Sequence[Order], movements: Sequence[StockMovement]) -> None:
        balances = last_balances(movements)
        with refusing_unknown_user():
            await self._driver.execute(
                _ADD,
                _json([_order_row(order) for order in orders]),
                _json([row for order in orders for row in line_rows(order)]),
                list(balances.keys()),
                list(balances.values()),
                _json([movement_row(movement) for movement in movements]),
            )

    @property
    def _driver(self) -> "asyncpg.Connection[asyncpg.Record]":
        driver = self._unit_of_work.driver
        assert isinstance(driver, asyncpg.Connection)
        return driver


def _json(rows: Sequence[Mapping[str, object]]) -> str:
    return msgspec.json.encode(rows).decode()


def _order_row(order: Order) -> dict[str, object]:
    return {
        "id": order.id,
        "code": order.code,
        "user_id": order.user_id,
        "status": order.status.value,
        "currency": order.currency,
        "digest": "\\x" + order.digest.hex(),
        "version": order.version,
        "created_at": order.created_at,
        "modified_at": order.modified_at,
    }
