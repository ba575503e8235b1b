"""Products in SQL."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import violates
from shop.adapters.sql.pages import select_part
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.money import Money
from shop.domain.pages import Part
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery, ProductSort

_products, _stock = tables.products, tables.stock

_SORT_COLUMNS: dict[ProductSort, ColumnElement[Any]] = {
    ProductSort.NAME: _products.c.search_key,
    ProductSort.PRICE: _products.c.price,
    ProductSort.CREATED: _products.c.created_at,
}


class SqlProductRepository(ProductRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, product_id: int) -> Product:
        rows = await self._connection.execute(select_products().where(_products.c.id == product_id))
        row = rows.one_or_none()
        if row is None:
            raise ProductNotFound(product_id)
        return product_from(row)

    async def lock(self, product_id: int) -> Product:
        locked = await self._connection.scalar(
            select(_products.c.id)
            .where(_products.c.id == product_id)
            .with_for_update(key_share=True)
        )
        if locked is None:
            raise ProductNotFound(product_id)
        return await self.get(product_id)

    async def find(self, sku: str) -> Product | None:
        rows = await self._connection.execute(select_products().where(_products.c.sku == sku))
        row = rows.one_or_none()
        return None if row is None else product_from(row)

    async def save(self, product: Product) -> None:
        with _sku_taken(product.sku):
            await self._connection.execute(
                update(_products).where(_products.c.id == product.id).values(_values(product))
            )

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        rows = await self._connection.scalars(
            select(_products.c.sku).where(_products.c.sku.in_(skus))
        )
        return set(rows)

    async def read_part(self, query: ProductQuery, part: Part) -> Sequence[Product]:
        statement = select_part(
            select_products().where(*_conditions(query)),
            part,
            [_SORT_COLUMNS[query.sort], _products.c.id],
            descending=query.descending,
        )
        items = [product_from(row) for row in await self._connection.execute(statement)]
        return items[::-1] if part.before is not None else items

    async def count(self, query: ProductQuery) -> int:
        statement = select(func.count()).select_from(_products)
        if query.in_stock is not None:
            statement = statement.join(_stock)
        return await self._connection.scalar(statement.where(*_conditions(query))) or 0

    async def add(self, products: Sequence[Product]) -> list[Product]:
        if not products:
            return []
        with _sku_taken(products[0].sku if len(products) == 1 else None):
            rows = await self._connection.execute(
                insert(_products).returning(_products.c.id, sort_by_parameter_order=True),
                [_values(product) for product in products],
            )
        ids = rows.scalars().all()
        await self._connection.execute(
            insert(_stock), [{"product_id": product_id, "on_hand": 0} for product_id in ids]
        )
        return [
            replace(product, id=product_id, stock=0)
            for product_id, product in zip(ids, products, strict=True)
        ]


@contextmanager
def _sku_taken(sku: str | None) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if violates(error, constraint="products_sku_key", sqlite_columns="products.sku"):
            raise SkuTaken(sku) from error
        raise


def select_products() -> Select[Any]:
    """Products with their stock: what `product_from` reads."""
    return select(
        _products.c.id,
        _products.c.sku,
        _products.c.name,
        _products.c.description,
        _products.c.price,
        _products.c.currency,
        _stock.c.on_hand,
        _products.c.archived,
        _products.c.version,
        _products.c.created_at,
        _products.c.modified_at,
    ).join_from(_products, _stock)


def product_from(row: Sequence[Any]) -> Product:
    """The product of a row with the columns of `select_products`, in their order."""
    (
        product_id,
        sku,
        name,
        description,
        price,
        currency,
        on_hand,
        archived,
        version,
        created_at,
        modified_at,
    ) = row
    return Product(
        id=product_id,
        sku=sku,
        name=name,
        description=description,
        price=Money(amount=price, currency=currency),
        stock=on_hand,
        archived=archived,
        version=version,
        created_at=created_at,
        modified_at=modified_at,
    )


def _values(product: Product) -> dict[str, Any]:
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
