"""SQLite's own way of placing orders: the statements straight to the driver.

Every statement through SQLAlchemy and aiosqlite costs about 0.6 ms of Python, and each row's
parameters cost more on top; see `postgresql.py`, whose twin this is, and docs/decisions/0002.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiosqlite

from shop.adapters.sql.errors import refusing_unknown_user
from shop.adapters.sql.products import product_from
from shop.adapters.sql.stock import last_balances
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.orders import Order
from shop.domain.ports import Batch, BatchRepository
from shop.domain.products import Product
from shop.domain.stock import StockMovement


class SqliteUnitOfWork(SqlUnitOfWork):
    @property
    def batch(self) -> BatchRepository:
        return SqliteBatch(self)


# The transaction holds the only write lock there is from its start. The left join gives a row even
# if no product is there.
_LOCK = """
SELECT known.order_ids, p.id, p.sku, p.name, p.description, p.price, p.currency, p.on_hand,
    p.archived, p.version, p.created_at, p.modified_at
FROM (
    SELECT json_group_array(id) AS order_ids
    FROM orders WHERE id IN (SELECT value FROM json_each(?))
) AS known
LEFT JOIN (
    SELECT products.*, stock.on_hand
    FROM stock JOIN products ON products.id = stock.product_id
    WHERE stock.product_id IN (SELECT value FROM json_each(?))
) AS p ON true
"""
_ADD_ORDERS = """
INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_LINES = """
INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
VALUES (?, ?, ?, ?, ?, ?)
"""
_SET_STOCK = "UPDATE stock SET on_hand = ? WHERE product_id = ?"
_ADD_MOVEMENTS = """
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class SqliteBatch(BatchRepository):
    def __init__(self, unit_of_work: SqliteUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        wait_for: Collection[int] | None = None,
    ) -> Batch:
        """There is nothing to wait for: the transaction has the only write lock."""
        ids = json.dumps([order_id.hex for order_id in order_ids])
        rows = list(
            await self._driver.execute_fetchall(_LOCK, (ids, json.dumps(list(product_ids))))
        )
        known = [UUID(order_id) for order_id in json.loads(rows[0][0])]
        return Batch(
            # Nearly always there is none: only repeated requests have one.
            orders=await self._unit_of_work.orders.find(known) if known else {},
            products={row[1]: _product_from(row[1:]) for row in rows if row[1] is not None},
        )

    async def add(self, orders: Sequence[Order], movements: Sequence[StockMovement]) -> None:
        # Each is awaited before the next: when the disk is full SQLite gives the transaction up by
        # itself, and a statement that is on its way then would stand alone and be committed.
        balances = last_balances(movements)
        with refusing_unknown_user():
            await self._driver.executemany(_ADD_ORDERS, map(_order_row, orders))
        lines = [row for order in orders for row in _line_rows(order)]
        await self._driver.executemany(_ADD_LINES, lines)
        await self._driver.executemany(
            _SET_STOCK, [(balance, product_id) for product_id, balance in balances.items()]
        )
        await self._driver.executemany(_ADD_MOVEMENTS, map(_movement_row, movements))

    @property
    def _driver(self) -> aiosqlite.Connection:
        driver = self._unit_of_work.driver
        assert isinstance(driver, aiosqlite.Connection)
        return driver


def _order_row(order: Order) -> tuple[Any, ...]:
    return (
        order.id.hex,
        order.code,
        order.user_id,
        order.status.value,
        order.currency,
        order.digest,
        order.version,
        _stored_time(order.created_at),
        _stored_time(order.modified_at),
    )


def _line_rows(order: Order) -> Iterator[tuple[Any, ...]]:
    for position, line in enumerate(order.lines):
        yield (
            order.id.hex,
            position,
            line.product_id,
            line.name,
            line.price.amount,
            line.quantity,
        )


def _movement_row(movement: StockMovement) -> tuple[Any, ...]:
    return (
        movement.product_id,
        movement.quantity,
        movement.balance,
        movement.reason.value,
        movement.order_id and movement.order_id.hex,
        movement.actor_id,
        movement.note,
        _stored_time(movement.at),
    )


def _stored_time(time: datetime) -> str:
    """As SQLAlchemy stores it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _product_from(row: Any) -> Product:
    *columns, archived, version, created_at, modified_at = row
    times = (_read_time(created_at), _read_time(modified_at))
    return product_from((*columns, bool(archived), version, *times))


def _read_time(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)
