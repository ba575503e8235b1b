"""Products in SQL."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.pages import count_rows, read_window
from shop.adapters.sql.rows import ReadRow, Row, lock_row, read_row, read_rows
from shop.adapters.sql.search import SORT_COLUMNS, Search, filters, is_in_stock
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.money import Money
from shop.domain.pages import Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery
from shop.domain.text import folded

COUNTED_MAX = 1_000
"""Found products are counted exactly up to here."""

_products, _stock = tables.products, tables.stock

# Made of other columns, for finding and ordering only.
_MADE = ("search_key", "search_text", "search_version", "sku_folded")
PRODUCT_COLUMNS = (
    *(column for column in _products.columns if column.name not in _MADE),
    _stock.c.on_hand,
)


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
        if not await lock_row(self._connection, _products.c.id, product_id):
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
        if query.terms:
            rows = await Search(self._connection, query, window).read(select_products())
        else:
            rows = await read_window(
                self._connection,
                select_products().where(*self._conditions(query)),
                window,
                [SORT_COLUMNS[query.sort], _products.c.id],
                descending=query.descending,
            )
        return [product_from(row) for row in rows]

    async def count(self, query: ProductQuery) -> int:
        if query.terms:
            number, _ = await Search(self._connection, query, Window(limit=0)).count(COUNTED_MAX)
            return number
        source = _products if query.in_stock is None else _products.join(_stock)
        return await count_rows(self._connection, source, self._conditions(query))

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

    async def make_searchable(self, *, limit: int) -> int:
        rows = await read_rows(
            self._connection,
            select_products()
            .where(_products.c.search_version != _products.c.version)
            .order_by(_products.c.id)
            .limit(limit)
            .with_for_update(key_share=True, skip_locked=True, of=_products),
        )
        if rows:
            await self._connection.execute(
                update(_products)
                .where(_products.c.id == bindparam("of_product"))
                .values({name: bindparam(name) for name in _MADE}),
                [{"of_product": row["id"], **_made_of(product_from(row))} for row in rows],
            )
        return len(rows)

    def _conditions(self, query: ProductQuery) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = [_products.c.archived.is_(False)]
        if query.in_stock is not None:
            conditions.append(is_in_stock(query.in_stock))
        return [*conditions, *filters(query, _products.c, self._connection.dialect.name)]


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
        **_made_of(product),
        "archived": product.archived,
        "version": product.version,
        "created_at": product.created_at,
        "modified_at": product.modified_at,
    }


def new_product_row(product: Product) -> Row:
    """With the id, for who has taken one before."""
    return {"id": product.id, **product_row(product)}


def stock_row(product: Product) -> Row:
    return {"product_id": product.id, "on_hand": product.stock}


def _made_of(product: Product) -> Row:
    return {
        "search_key": product.search_key,
        "search_text": product.search_text,
        "search_version": product.version,
        "sku_folded": folded(product.sku),
    }
