"""SQLite's own write path: the statements that place orders, straight to the driver.

Every statement through SQLAlchemy and aiosqlite costs about 0.6 ms of Python, and each row's
parameters cost more on top; see `postgresql.py`, whose twin this is, and docs/decisions/0002.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import refusing_unknown_user
from shop.adapters.sql.orders import SqlOrderRepository
from shop.adapters.sql.products import product_from
from shop.adapters.sql.stock import SqlStockRepository
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.orders import Order
from shop.domain.products import Product
from shop.domain.stock import StockMovement


class SqliteUnitOfWork(SqlUnitOfWork):
    """SQLAlchemy begins, commits and rolls back; the driver's connection works in between."""

    def __init__(self, *, engines: Engines, read_only: bool = False) -> None:
        super().__init__(engines=engines, read_only=read_only)
        self._read_only = read_only
        self._driver: aiosqlite.Connection | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if not self._read_only:
            raw = await self._open.get_raw_connection()
            assert isinstance(raw.driver_connection, aiosqlite.Connection)
            self._driver = raw.driver_connection
        return self

    @property
    def orders(self) -> SqlOrderRepository:
        return SqliteOrderRepository(self._open, self._driver)

    @property
    def stock(self) -> SqlStockRepository:
        return SqliteStockRepository(self._open, self._driver)


_ADD_ORDERS = """
INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_LINES = """
INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
VALUES (?, ?, ?, ?, ?, ?)
"""


class SqliteOrderRepository(SqlOrderRepository):
    def __init__(self, connection: AsyncConnection, driver: aiosqlite.Connection | None) -> None:
        super().__init__(connection)
        self._writing_driver = driver

    @property
    def _driver(self) -> aiosqlite.Connection:
        assert self._writing_driver is not None, "a read-only unit of work does not write"
        return self._writing_driver

    async def find(self, order_ids: Collection[UUID]) -> Mapping[UUID, Order]:
        # Nearly always there is none: only repeated requests have one.
        known = await self._driver.execute_fetchall(
            f"SELECT id FROM orders WHERE id IN ({_places(order_ids)})",  # noqa: S608
            [order_id.hex for order_id in order_ids],
        )
        return await super().find([UUID(row[0]) for row in known]) if known else {}

    async def add(self, orders: Sequence[Order]) -> None:
        with refusing_unknown_user():
            await self._driver.executemany(
                _ADD_ORDERS,
                [
                    (
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
                    for order in orders
                ],
            )
        await self._driver.executemany(
            _ADD_LINES,
            [
                (
                    order.id.hex,
                    position,
                    line.product_id,
                    line.name,
                    line.price.amount,
                    line.quantity,
                )
                for order in orders
                for position, line in enumerate(order.lines)
            ],
        )


_LOCK_STOCK = """
SELECT p.id, p.sku, p.name, p.description, p.price, p.currency, s.on_hand, p.archived, p.version,
    p.created_at, p.modified_at
FROM stock s JOIN products p ON p.id = s.product_id
WHERE s.product_id IN ({places})
"""
_SET_STOCK = "UPDATE stock SET on_hand = ? WHERE product_id = ?"
_ADD_MOVEMENTS = """
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class SqliteStockRepository(SqlStockRepository):
    def __init__(self, connection: AsyncConnection, driver: aiosqlite.Connection | None) -> None:
        super().__init__(connection)
        self._writing_driver = driver

    @property
    def _driver(self) -> aiosqlite.Connection:
        assert self._writing_driver is not None, "a read-only unit of work does not write"
        return self._writing_driver

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        # The transaction holds the only write lock there is from its start.
        rows = await self._driver.execute_fetchall(
            _LOCK_STOCK.format(places=_places(product_ids)), list(product_ids)
        )
        return {row[0]: _product_from(row) for row in rows}

    async def record(self, movements: Sequence[StockMovement]) -> None:
        if not movements:
            return
        balances = {movement.product_id: movement.balance for movement in movements}
        await self._driver.executemany(
            _SET_STOCK, [(balance, product_id) for product_id, balance in balances.items()]
        )
        await self._driver.executemany(
            _ADD_MOVEMENTS,
            [
                (
                    movement.product_id,
                    movement.quantity,
                    movement.balance,
                    movement.reason.value,
                    movement.order_id and movement.order_id.hex,
                    movement.actor_id,
                    movement.note,
                    _stored_time(movement.at),
                )
                for movement in movements
            ],
        )


def _places(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)


def _stored_time(time: datetime) -> str:
    """As SQLAlchemy stores it."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _product_from(row: Any) -> Product:
    *columns, archived, version, created_at, modified_at = row
    times = (_read_time(created_at), _read_time(modified_at))
    return product_from((*columns, bool(archived), version, *times))


def _read_time(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)
