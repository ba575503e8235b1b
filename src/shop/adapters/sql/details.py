"""What many ask for at once by ids, in SQL: one statement for each kind, through the driver."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from sqlalchemy import select

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import Driver, ReadByIds
from shop.adapters.sql.orders import LINE_COLUMNS, orders_from
from shop.adapters.sql.products import product_from, select_products
from shop.adapters.sql.rows import ReadRow
from shop.adapters.sql.trips import Trip
from shop.adapters.work import Seen
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
    """`seen` is what the server is to have, if that is not known.

    What is read tells it: `at_replica` is called if it has, else `at_primary` leads to who has.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        seen: Seen | None = None,
        at_primary: Callable[[], Awaitable[Driver]] | None = None,
        at_replica: Callable[[], None] = lambda: None,
    ) -> None:
        self._driver = driver
        self._seen = seen
        self._at_primary = at_primary
        self._at_replica = at_replica

    async def products(self, ids: Collection[int]) -> dict[int, Product]:
        rows = await self._read_products(list(ids))
        return {row["id"]: product_from(row) for row in rows}

    async def _read_products(self, ids: list[int]) -> Sequence[ReadRow]:
        if self._seen is not None and self._at_primary is not None:
            rows = await _read_products.if_seen(self._driver, ids, self._seen)
            if rows is not None:
                self._at_replica()
                return rows
            self._driver = await self._at_primary()
        return await _read_products(self._driver, ids)

    async def orders(self, ids: Collection[UUID]) -> dict[UUID, Order]:
        return _orders_by_id(await _read_orders(self._driver, list(ids)))


def fetch_orders(trip: Trip, ids: Collection[UUID]) -> dict[UUID, Order]:
    """What `SqlDetailRepository.orders` reads, in a trip to the thread of SQLite's connection."""
    return _orders_by_id(_read_orders.fetch(trip, list(ids)))


def _orders_by_id(rows: Sequence[ReadRow]) -> dict[UUID, Order]:
    return {order.id: order for order in orders_from(rows)}
