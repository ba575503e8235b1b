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
from sqlalchemy import LargeBinary, Table, make_url

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.orders import line_rows, order_row
from shop.adapters.sql.products import PRODUCT_COLUMNS, product_from
from shop.adapters.sql.rows import written_columns
from shop.adapters.sql.stock import last_balances
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import InvalidToken
from shop.domain.orders import Order
from shop.domain.ports import PlacingRepository
from shop.domain.products import Product
from shop.domain.stock import StockMovement


class PostgresUnitOfWork(SqlUnitOfWork):
    @property
    def placing(self) -> PlacingRepository:
        return PostgresPlacing(self)


def _insert(table: Table, parameter: str) -> str:
    """Rows from a JSON array of objects, which have a value for each column by its name."""
    dialect = make_url("postgresql+asyncpg://").get_dialect()()
    names, values, types = [], [], []
    for column in written_columns(table):
        is_binary = isinstance(column.type, LargeBinary)
        names.append(column.name)
        values.append(f"decode({column.name}, 'base64')" if is_binary else column.name)
        # A column of binary data comes as text, since JSON has nothing else for it.
        sql_type = "text" if is_binary else column.type.compile(dialect=dialect)
        types.append(f"{column.name} {sql_type}")
    return f"""
    INSERT INTO {table.name} ({", ".join(names)})
    SELECT {", ".join(values)} FROM json_to_recordset({parameter}::json) AS new ({", ".join(types)})
    """  # noqa: S608 - names of our own tables


# The left join gives a row even if no product is there. For the lock and its order see
# `SqlStockRepository.lock`.
_LOCK = f"""
WITH locked AS (
    SELECT {", ".join(map(str, PRODUCT_COLUMNS))}
    FROM stock JOIN products ON products.id = stock.product_id
    WHERE stock.product_id = ANY($2::bigint[])
    ORDER BY stock.product_id
    FOR NO KEY UPDATE OF stock
)
SELECT known.order_ids, locked.*
FROM (SELECT ARRAY(SELECT id FROM orders WHERE id = ANY($1::uuid[])) AS order_ids) AS known
LEFT JOIN locked ON true
"""  # noqa: S608

# Balances are an array: its length is guessed low enough for a plan that looks rows up by key.
_ADD = f"""
WITH added_orders AS ({_insert(tables.orders, "$1")}),
added_lines AS ({_insert(tables.order_lines, "$2")}),
changed_stock AS (
    UPDATE stock SET on_hand = new.balance
    FROM unnest($3::bigint[], $4::bigint[]) AS new (product_id, balance)
    WHERE stock.product_id = new.product_id
)
{_insert(tables.stock_movements, "$5")}
"""  # noqa: S608


class PostgresPlacing(PlacingRepository):
    def __init__(self, unit_of_work: PostgresUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self, *, order_ids: Collection[UUID], product_ids: Collection[int]
    ) -> tuple[Mapping[UUID, Order], Mapping[int, Product]]:
        rows = await self._driver.fetch(_LOCK, list(order_ids), list(product_ids))
        known = rows[0]["order_ids"]
        # Nearly always there is none: only repeated requests have one.
        orders = await self._unit_of_work.orders.find(known) if known else {}
        return orders, {row["id"]: product_from(row) for row in rows if row["id"] is not None}

    async def add(self, orders: Sequence[Order], movements: Sequence[StockMovement]) -> None:
        balances = last_balances(movements)
        with refusing(InvalidToken()):
            await self._driver.execute(
                _ADD,
                _json([order_row(order) for order in orders]),
                _json([row for order in orders for row in line_rows(order)]),
                list(balances.keys()),
                list(balances.values()),
                # As they are: their fields are the columns.
                _json(movements),
            )

    @property
    def _driver(self) -> "asyncpg.Connection[asyncpg.Record]":
        driver = self._unit_of_work.driver
        assert isinstance(driver, asyncpg.Connection)
        return driver


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode()
