"""Products in SQL."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import Any

import aiosqlite
from sqlalchemy import Select, Subquery, bindparam, case, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.drivers import driver_of, read_from
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.lengths import IN_STOCK, PRODUCTS, SOLD_OUT
from shop.adapters.sql.marks import lock_row, mark_of, note_mark
from shop.adapters.sql.pages import (
    Bound,
    SqlList,
    length_kept_as,
    parameter,
    read_counted_list,
    read_list,
)
from shop.adapters.sql.rows import ReadRow, Row, read_row, read_rows, written
from shop.adapters.sql.search import RANGES, SORT_COLUMNS, Search, Terms, filters
from shop.adapters.windows import cut_window
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.money import Money
from shop.domain.pages import Count, Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Offer, Product, ProductQuery, ProductSort
from shop.domain.text import folded, the_one_called

_products, _stock, _listings = tables.products, tables.stock, tables.listings

_KEPT_AS = {None: PRODUCTS, True: IN_STOCK, False: SOLD_OUT}

# Made of other columns, for finding and ordering only.
_SEARCHED = ("search_key", "search_text", "search_version")
_MADE = (*_SEARCHED, "sku_folded", "sku_clash")
PRODUCT_COLUMNS = (
    *(column for column in _products.columns if column.name not in _MADE),
    _stock.c.on_hand,
)
# A description may have thousands of characters, and nobody asks for it while something is sold.
_NOT_OFFERED = ("sku", "description", "created_at", "modified_at")
OFFER_COLUMNS = [column for column in PRODUCT_COLUMNS if column.name not in _NOT_OFFERED]

# The products with some folded SKUs, or with some SKUs. Each is looked up by itself, by an index
# (OFFSET keeps it so): PostgreSQL takes a table of which it has no statistics yet for a small one,
# reads all of it, and compares each row with each of a thousand values. They come as JSON, since
# the driver looks an array through element by element.
POSTGRESQL_ALIKE = """
SELECT found.id, found.sku FROM json_array_elements_text($1::json) AS given (sku_folded)
CROSS JOIN LATERAL (
    SELECT id, sku FROM products WHERE products.sku_folded = given.sku_folded OFFSET 0
) AS found
UNION
SELECT found.id, found.sku FROM json_array_elements_text($2::json) AS given (sku)
CROSS JOIN LATERAL (SELECT id, sku FROM products WHERE products.sku = given.sku OFFSET 0) AS found
"""
_SQLITE_ALIKE = """
SELECT id, sku FROM products
WHERE sku_folded IN (SELECT value FROM json_each(?)) OR sku IN (SELECT value FROM json_each(?))
"""


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
        # Its stock, which orders lock as well: `SqlStockRepository.lock`. The entry is written to
        # `listings`, too, of which nobody changes a row without this lock.
        if not await lock_row(self._connection, _stock.c.product_id, product_id):
            raise ProductNotFound(product_id)
        return await self.get(product_id)

    async def find(self, sku: str) -> Product | None:
        return the_one_called(sku, await self.find_alike(sku), attrgetter("sku"))

    async def find_alike(self, sku: str) -> Sequence[Product]:
        is_alike = or_(_products.c.sku == sku, _products.c.sku_folded == folded(sku))
        rows = await read_rows(self._connection, select_products().where(is_alike))
        return by_folded_sku(map(product_from, rows)).get(folded(sku), ())

    async def save(self, product: Product) -> None:
        # A new SKU must be nobody else's; one that clashes since before may stay.
        clash = case((_products.c.sku == product.sku, _products.c.sku_clash), else_=0)
        with refusing(SkuTaken(product.sku)):
            await self._connection.execute(
                update(_products)
                .where(_products.c.id == product.id)
                .values(product_row(product) | {"sku_clash": clash})
            )

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        keys = {sku: folded(sku) for sku in skus}
        given = [json.dumps(each) for each in ([*{*keys.values()}], [*keys])]
        driver = driver_of(self._connection)
        rows: Iterable[Any]
        if isinstance(driver, aiosqlite.Connection):
            rows = await driver.execute_fetchall(_SQLITE_ALIKE, given)
        else:
            rows = await driver.fetch(POSTGRESQL_ALIKE, *given)
        taken = {folded(sku) for _, sku in rows}
        return {sku for sku, key in keys.items() if key in taken}

    async def read_window(self, query: ProductQuery, window: Window) -> Sequence[Product]:
        if query.skus is not None:
            return cut_window(
                await self._read_named(query), window, query.key, descending=query.descending
            )
        rows: Sequence[ReadRow]
        if query.terms:
            rows = await Search(self._connection, query, window, *_listed(query)).read()
        else:
            rows = await read_list(self._connection, *_listed(query), window)
        return [product_from(row) for row in rows]

    async def read_counted(
        self, query: ProductQuery, window: Window
    ) -> tuple[Sequence[Product], Count]:
        if query.skus is not None:
            named = await self._read_named(query)
            page = cut_window(named, window, query.key, descending=query.descending)
            return page, Count(len(named))
        rows: Sequence[ReadRow]
        if query.terms:
            search = Search(self._connection, query, window, *_listed(query))
            rows, count = await search.read_counted()
        else:
            rows, count = await read_counted_list(self._connection, *_listed(query), window)
        return [product_from(row) for row in rows], count

    async def _read_named(self, query: ProductQuery) -> list[Product]:
        """All that a query with SKUs is about: they are few."""
        _, values = _listed(query)
        terms, found_by = Terms.of(query.terms)
        statement = (
            select_products()
            .join(_listings, _listings.c.product_id == _products.c.id)
            .where(_products.c.sku_folded.in_(query.skus or ()))
            .where(*filters(frozenset(values), _listings.c))
        )
        if query.terms:
            statement = statement.where(terms.fit(self._connection.dialect.name))
        rows = await read_rows(self._connection, statement, values | found_by)
        return [product_from(row) for row in rows]

    async def add(self, products: Sequence[Product]) -> list[Product]:
        if not products:
            return []
        with refusing(SkuTaken(products[0].sku if len(products) == 1 else None)):
            mark = mark_of(self._connection)
            added = await self._connection.execute(
                insert(_products).returning(_products.c.id, *mark, sort_by_parameter_order=True),
                [product_row(product) for product in products],
            )
        rows = added.mappings().all()
        if mark:
            note_mark(rows[0])
        ids = [row["id"] for row in rows]
        await self._connection.execute(
            insert(_stock), [{"product_id": product_id, "on_hand": 0} for product_id in ids]
        )
        return [
            replace(product, id=product_id, stock=0)
            for product_id, product in zip(ids, products, strict=True)
        ]

    async def list_all(self, *, after: int, limit: int) -> Sequence[Product]:
        statement = _next_products(limit)
        rows = await read_from(driver_of(self._connection), statement, {"after": after})
        return [product_from(row) for row in rows]

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
                .values({name: bindparam(name) for name in _SEARCHED}),
                [{"of_product": row["id"], **_made_of(product_from(row))} for row in rows],
            )
        return len(rows)


def select_products() -> Select[Any]:
    """Products with their stock: what `product_from` reads."""
    return select(*PRODUCT_COLUMNS).join_from(_products, _stock)


@lru_cache
def _next_products(limit: int) -> Select[Any]:
    is_next = _products.c.id > parameter("after", _products.c.id)
    return select_products().where(is_next).order_by(_products.c.id).limit(written(limit))


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
        max_per_order=row["max_per_order"],
    )


def offer_from(row: ReadRow) -> Offer:
    """The offer of a row that has `OFFER_COLUMNS`."""
    return Offer(
        id=row["id"],
        name=row["name"],
        price=Money(amount=row["price"], currency=row["currency"]),
        stock=row["on_hand"],
        archived=row["archived"],
        version=row["version"],
        max_per_order=row["max_per_order"],
    )


def by_folded_sku(found: Iterable[Product]) -> Mapping[str, Sequence[Product]]:
    """What was found by SKU or by folded SKU; some may be of another.

    An older program may have changed a SKU, and left its folded form as it was.
    """
    alike = defaultdict(list)
    for product in found:
        alike[folded(product.sku)].append(product)
    return alike


def product_row(product: Product) -> Row:
    return {
        "sku": product.sku,
        "sku_folded": folded(product.sku),
        "name": product.name,
        "description": product.description,
        "price": product.price.amount,
        "currency": product.price.currency,
        **_made_of(product),
        "archived": product.archived,
        "version": product.version,
        "created_at": product.created_at,
        "modified_at": product.modified_at,
        "max_per_order": product.max_per_order,
    }


def _listed(query: ProductQuery) -> tuple[SqlList, Row]:
    """The list that a query asks for, and the values of its parameters."""
    values: Row = {
        "archived": query.archived,
        "in_stock": query.in_stock,
        "price_min": query.price_min,
        "price_max": query.price_max,
        "created_after": query.created_after,
        "modified_after": query.modified_after,
    }
    given = {name: value for name, value in values.items() if value is not None}
    # Searches by relevance have orders of their own.
    sort = ProductSort.CREATED if query.sort is ProductSort.RELEVANCE else query.sort
    listed = _list_of(sort, query.descending, query.archived, frozenset(given))
    return listed, given | length_kept_as(_KEPT_AS[query.in_stock])


@lru_cache(maxsize=1_000)
def _list_of(
    sort: ProductSort, descending: bool, archived: bool, filters: frozenset[str]
) -> SqlList:
    order = [SORT_COLUMNS[sort], _listings.c.product_id]
    where = [_listings.c.archived == parameter("archived", _listings.c.archived)]
    if "in_stock" in filters:
        where.append(_listings.c.in_stock == parameter("in_stock", _listings.c.in_stock))
    lowest: Bound | None = None
    highest: Bound | None = None
    rest, gathered_by = [], order
    for column, low, high in RANGES:
        at_least, at_most = low if low.parameter in filters else None, None
        if high is not None and high.parameter in filters:
            at_most = high
        if column is order[0]:
            lowest, highest = at_least, at_most
        elif at_least or at_most:
            rest += [at_least.at_least(column)] if at_least else []
            rest += [at_most.at_most(column)] if at_most else []
            gathered_by = [column, _listings.c.product_id]
    return SqlList(
        source=_listings,
        order=order,
        descending=descending,
        where=where,
        lowest=lowest,
        highest=highest,
        rest=rest,
        gathered_by=gathered_by if rest else None,
        details=_details,
        is_length_kept=not (archived or rest or lowest or highest),
    )


def _details(part: Subquery) -> Select[Any]:
    product_id = part.c.order_1
    return (
        select(*PRODUCT_COLUMNS)
        .join_from(part, _products, _products.c.id == product_id)
        .join(_stock, _stock.c.product_id == product_id)
    )


def new_product_row(product: Product) -> Row:
    """With the id, for who has taken one before."""
    return {"id": product.id, **product_row(product), "sku_clash": 0}


# What of a product is there for good, or goes by its SKU, which a change of many does not touch.
_KEPT = ("id", "sku", "sku_folded", "sku_clash", "created_at")
CHANGED_COLUMNS = [column for column in _products.columns if column.name not in _KEPT]


def changed_row(product: Product) -> Row:
    """What `CHANGED_COLUMNS` store of it, and its id at the end."""
    row = product_row(product)
    return {column.name: row[column.name] for column in CHANGED_COLUMNS} | {"id": product.id}


def stock_row(product: Product) -> Row:
    return {"product_id": product.id, "on_hand": product.stock}


def _made_of(product: Product) -> Row:
    return {
        "search_key": product.search_key,
        "search_text": product.search_text,
        "search_version": product.version,
    }
