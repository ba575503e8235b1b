"""Products in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from shop.adapters.memory.database import Tables
from shop.adapters.memory.pages import cut_window
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.pages import Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery
from shop.domain.text import folded


class MemoryProductRepository(ProductRepository):
    def __init__(self, tables: Tables) -> None:
        self._products = tables.products
        self._ids = tables.ids["products"]

    async def get(self, product_id: int) -> Product:
        try:
            return self._products[product_id]
        except KeyError:
            raise ProductNotFound(product_id) from None

    async def lock(self, product_id: int) -> Product:
        return await self.get(product_id)

    async def find(self, sku: str) -> Product | None:
        return next((p for p in self._products.values() if p.sku == sku), None)

    async def save(self, product: Product) -> None:
        taken_by = await self.find(product.sku)
        if taken_by is not None and taken_by.id != product.id:
            raise SkuTaken(product.sku)
        stock = self._products[product.id].stock
        self._products[product.id] = replace(product, stock=stock)

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        return {product.sku for product in self._products.values()} & set(skus)

    async def read_window(self, query: ProductQuery, window: Window) -> Sequence[Product]:
        return cut_window(self._matching(query), window, query.key, descending=query.descending)

    async def count(self, query: ProductQuery) -> int:
        return len(self._matching(query))

    async def add(self, products: Sequence[Product]) -> list[Product]:
        taken = {product.sku for product in self._products.values()}
        added = []
        for product in products:
            if product.sku in taken:
                raise SkuTaken(product.sku)
            taken.add(product.sku)
            stored = replace(product, id=next(self._ids), stock=0)
            self._products[stored.id] = stored
            added.append(stored)
        return added

    async def make_searchable(self, *, limit: int) -> int:
        """There is no older program here."""
        return 0

    def _matching(self, query: ProductQuery) -> Sequence[Product]:
        return [
            product
            for product in self._products.values()
            if not product.archived
            and (query.skus is None or folded(product.sku) in query.skus)
            and (query.created_after is None or product.created_at > query.created_after)
            and (query.modified_after is None or product.modified_at > query.modified_after)
            and (not query.terms or _has_all(product.search_text, query.terms))
            and (query.in_stock is None or query.in_stock == (product.stock > 0))
            and (query.price_min is None or product.price.amount >= query.price_min)
            and (query.price_max is None or product.price.amount <= query.price_max)
        ]


def _has_all(text: str, terms: Sequence[str]) -> bool:
    return all(term in text for term in terms)
