"""PostgreSQL's own write path: the driver's connection and array parameters, where it pays.

Through SQLAlchemy a batch of orders costs about 0.2 ms of Python for each order, nearly all of it
spent on one parameter set for each row; with arrays it is one statement and one parameter for each
column. So the statements that place orders go to asyncpg as they stand here, on the connection and
in the transaction that everything else of the unit of work shares. See docs/decisions/0002.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Self, TypeAlias
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql.engine import Engines
from shop.adapters.sql.errors import refusing_unknown_user, translating
from shop.adapters.sql.orders import SqlOrderRepository
from shop.adapters.sql.products import product_from
from shop.adapters.sql.stock import SqlStockRepository
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.orders import Order
from shop.domain.products import Product
from shop.domain.stock import StockMovement

# A string: asyncpg's class is generic for type checkers only.
DriverConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class PostgresUnitOfWork(SqlUnitOfWork):
    """A transaction that asyncpg and SQLAlchemy share.

    SQLAlchemy's connection is in autocommit mode, so it begins and ends nothing of its own.
    """

    def __init__(self, *, engines: Engines, read_only: bool = False) -> None:
        super().__init__(engines=engines, read_only=read_only)
        self._read_only = read_only
        self._engine = engines.read if read_only else engines.bare
        self._begin = engines.begin
        self._driver: DriverConnection | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if not self._read_only:
            with translating():
                try:
                    raw = await self._open.get_raw_connection()
                    driver = raw.driver_connection
                    assert isinstance(driver, asyncpg.Connection)
                    await driver.execute(self._begin)
                    self._driver = driver
                except BaseException:
                    await self._discard()
                    raise
        return self

    async def commit(self) -> None:
        driver, self._driver = self._driver, None
        assert driver is not None, "use it inside `async with`, and commit once"
        try:
            await driver.execute("COMMIT")
        except BaseException:
            # Whether it was committed is unknown, and so is the connection's state.
            await self._discard()
            raise

    async def _close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            try:
                await driver.execute("ROLLBACK")
            except Exception:
                # Nothing was committed either way, and what failed before is what matters.
                await self._discard()
            except BaseException:
                await self._discard()
                raise
        await super()._close()

    async def _discard(self) -> None:
        """Drop the connection instead of giving it back to the pool; the server then rolls back."""
        if self._connection is not None:
            await self._connection.invalidate()
        await super()._close()

    @property
    def orders(self) -> SqlOrderRepository:
        return PostgresOrderRepository(self._open, self._driver)

    @property
    def stock(self) -> SqlStockRepository:
        return PostgresStockRepository(self._open, self._driver)


_FIND_ORDERS = "SELECT id FROM orders WHERE id = ANY($1::uuid[])"

_ADD_ORDERS = """
WITH added AS (
    INSERT INTO orders
        (id, code, user_id, status, currency, digest, version, created_at, modified_at)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::int[],
        $8::timestamptz[], $9::timestamptz[]
    )
)
INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
SELECT * FROM unnest(
    $10::uuid[], $11::int[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[]
)
"""


class PostgresOrderRepository(SqlOrderRepository):
    def __init__(self, connection: AsyncConnection, driver: "DriverConnection | None") -> None:
        super().__init__(connection)
        self._writing_driver = driver

    @property
    def _driver(self) -> DriverConnection:
        assert self._writing_driver is not None, "a read-only unit of work does not write"
        return self._writing_driver

    async def find(self, order_ids: Collection[UUID]) -> Mapping[UUID, Order]:
        # Nearly always there is none: only repeated requests have one.
        known = await self._driver.fetch(_FIND_ORDERS, list(order_ids))
        return await super().find([row[0] for row in known]) if known else {}

    async def add(self, orders: Sequence[Order]) -> None:
        lines = [
            (order.id, position, line)
            for order in orders
            for position, line in enumerate(order.lines)
        ]
        with refusing_unknown_user():
            await self._driver.execute(
                _ADD_ORDERS,
                [order.id for order in orders],
                [order.code for order in orders],
                [order.user_id for order in orders],
                [order.status.value for order in orders],
                [order.currency for order in orders],
                [order.digest for order in orders],
                [order.version for order in orders],
                [order.created_at for order in orders],
                [order.modified_at for order in orders],
                [order_id for order_id, _, _ in lines],
                [position for _, position, _ in lines],
                [line.product_id for _, _, line in lines],
                [line.name for _, _, line in lines],
                [line.price.amount for _, _, line in lines],
                [line.quantity for _, _, line in lines],
            )


# NO KEY: a lock that the foreign-key checks of other orders need not wait for. In id order, so that
# two transactions that want the same products never wait for each other in a circle.
_LOCK_STOCK = """
SELECT p.id, p.sku, p.name, p.description, p.price, p.currency, s.on_hand, p.archived, p.version,
    p.created_at, p.modified_at
FROM stock s JOIN products p ON p.id = s.product_id
WHERE s.product_id = ANY($1::bigint[])
ORDER BY s.product_id
FOR NO KEY UPDATE OF s
"""

_RECORD_MOVEMENTS = """
WITH changed AS (
    UPDATE stock SET on_hand = new.balance
    FROM unnest($1::bigint[], $2::bigint[]) AS new (product_id, balance)
    WHERE stock.product_id = new.product_id
)
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
SELECT * FROM unnest(
    $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::uuid[], $8::bigint[], $9::text[],
    $10::timestamptz[]
)
"""


class PostgresStockRepository(SqlStockRepository):
    def __init__(self, connection: AsyncConnection, driver: "DriverConnection | None") -> None:
        super().__init__(connection)
        self._writing_driver = driver

    @property
    def _driver(self) -> DriverConnection:
        assert self._writing_driver is not None, "a read-only unit of work does not write"
        return self._writing_driver

    async def lock(self, product_ids: Collection[int]) -> dict[int, Product]:
        rows = await self._driver.fetch(_LOCK_STOCK, list(product_ids))
        return {row["id"]: product_from(tuple(row)) for row in rows}

    async def record(self, movements: Sequence[StockMovement]) -> None:
        if not movements:
            return
        balances = {movement.product_id: movement.balance for movement in movements}
        await self._driver.execute(
            _RECORD_MOVEMENTS,
            list(balances.keys()),
            list(balances.values()),
            [movement.product_id for movement in movements],
            [movement.quantity for movement in movements],
            [movement.balance for movement in movements],
            [movement.reason.value for movement in movements],
            [movement.order_id for movement in movements],
            [movement.actor_id for movement in movements],
            [movement.note for movement in movements],
            [movement.at for movement in movements],
        )
