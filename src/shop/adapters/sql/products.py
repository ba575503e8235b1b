"""Products in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.pages import count_rows, read_window
from shop.adapters.sql.rows import ReadRow, Row, lock_row, read_row
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.money import Money
from shop.domain.pages import Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery, ProductSort

_products, _stock = tables.products, tables.stock

# The search key is made from other columns, and only searched in.
PRODUCT_COLUMNS = (
    *(column for column in _products.columns if column.name != "search_key"),
    _stock.c.on_hand,
)

_SORT_COLUMNS: dict[ProductSort, ColumnElement[Any]] = {
    ProductSort.NAME: _products.c.search_key,
    ProductSort.PRICE: _products.c.price,
    ProductSort.CREATED: _products.c.created_at,
}


class SqlProductRepository(ProductRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, product_id: int) -> Product:
        row = await read_row(
            self._connection, select_products().where(_products.c.id == product_id)
        )
        if row is None:
            raise ProductNotFound(product_id)
        return product_from(row)

    async def lock(self, product_id: int) -> Product:
        # Its stock, which orders lock as well: `SqlStockRepository.lock`.
        if not await lock_row(self._connection, _stock.c.product_id, product_id):
            raise ProductNotFound(product_id)
        return await self.get(product_id)

    async def find(self, sku: str) -> Product | None:
        row = await read_row(self._connection, select_products().where(_products.c.sku == sku))
        return None if row is None else product_from(row)

    async def save(self, product: Product) -> None:
        with refusing(SkuTaken(product.sku)):
            await self._connection.execute(
                update(_products).where(_products.c.id == product.id).values(product_row(product))
            )

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        rows = await self._connection.scalars(
            select(_products.c.sku).where(_products.c.sku.in_(skus))
        )
        return set(rows)

    async def read_window(self, query: ProductQuery, window: Window) -> Sequence[Product]:
        rows = await read_window(
            self._connection,
            select_products().where(*_conditions(query)),
            window,
            [_SORT_COLUMNS[query.sort], _products.c.id],
            descending=query.descending,
        )
        return [product_from(row) for row in rows]

    async def count(self, query: ProductQuery) -> int:
        source = _products if query.in_stock is None else _products.join(_stock)
        return await count_rows(self._connection, source, _conditions(query))

    async def add(self, products: Sequence[Product]) -> list[Product]:
        if not products:
            return []
        with refusing(SkuTaken(products[0].sku if len(products) == 1 else None)):
            rows = await self._connection.execute(
                insert(_products).returning(_products.c.id, sort_by_parameter_order=True),
                [product_row(product) for product in products],
            )
        ids = rows.scalars().all()
        await self._connection.execute(
            insert(_stock), [{"product_id": product_id, "on_hand": 0} for product_id in ids]
        )
        return [
            replace(product, id=product_id, stock=0)
            for product_id, product in zip(ids, products, strict=True)
        ]


def select_products() -> Select[Any]:
    """Products with their stock: what `product_from` reads."""
    return select(*PRODUCT_COLUMNS).join_from(_products, _stock)


def product_from(row: ReadRow) -> Product:
    """The product of a row that has `PRODUCT_COLUMNS`."""
    return Product(
        id=row["id"],
        sku=row["sku"],
        name=row["name"],
        description=row["description"],
        price=Money(amount=row["price"], currency=row["currency"]),
        stock=row["on_hand"],
        archived=row["archived"],
        version=row["version"],
        created_at=row["created_at"],
        modified_at=row["modified_at"],
    )


def product_row(product: Product) -> Row:
    return {
        "sku": product.sku,
        "name": product.name,
        "description": product.description,
        "price": product.price.amount,
        "currency": product.price.currency,
        "search_key": product.search_key,
        "archived": product.archived,
        "version": product.version,
        "created_at": product.created_at,
        "modified_at": product.modified_at,
    }


def _conditions(query: ProductQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_products.c.archived.is_(False)]
    if query.search:
        conditions.append(_products.c.search_key.contains(query.search.casefold(), autoescape=True))
    if query.in_stock is not None:
        conditions.append(_stock.c.on_hand > 0 if query.in_stock else _stock.c.on_hand == 0)
    if query.price_min is not None:
        conditions.append(_products.c.price >= query.price_min)
    if query.price_max is not None:
        conditions.append(_products.c.price <= query.price_max)
    return conditions
