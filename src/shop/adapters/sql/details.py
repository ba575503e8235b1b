"""What many ask for at once by ids, in SQL: one statement for each kind, through the driver."""

from collections.abc import Collection
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from sqlalchemy import select

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import Driver, ReadByIds
from shop.adapters.sql.orders import LINE_COLUMNS, order_from
from shop.adapters.sql.products import product_from, select_products
from shop.domain.orders import Order
from shop.domain.ports import DetailRepository
from shop.domain.products import Product

_products = tables.products
_orders, _lines = tables.orders, tables.order_lines

_read_products = ReadByIds(select_products(), _products.c.id)
_read_orders = ReadByIds(
    select(*_orders.columns, *LINE_COLUMNS)
    .join_from(_orders, _lines)
    .order_by(_orders.c.id, _lines.c.position),
    _orders.c.id,
)


class SqlDetailRepository(DetailRepository):
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def products(self, ids: Collection[int]) -> dict[int, Product]:
        rows = await _read_products(self._driver, list(ids))
        return {row["id"]: product_from(row) for row in rows}

    async def orders(self, ids: Collection[UUID]) -> dict[UUID, Order]:
        rows = await _read_orders(self._driver, list(ids))
        return {
            order_id: order_from(list(group)) for order_id, group in groupby(rows, itemgetter("id"))
        }
