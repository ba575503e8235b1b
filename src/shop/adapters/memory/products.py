"""Products in memory."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from operator import attrgetter

from shop.adapters.memory.database import Tables
from shop.adapters.windows import cut_window
from shop.domain.errors import ProductNotFound, SkuTaken
from shop.domain.pages import Count, Window
from shop.domain.ports import ProductRepository
from shop.domain.products import Product, ProductQuery
from shop.domain.text import folded, the_one_called


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
        return the_one_called(sku, await self.find_alike(sku), attrgetter("sku"))

    async def find_alike(self, sku: str) -> Sequence[Product]:
        key = folded(sku)
        return [product for product in self._products.values() if folded(product.sku) == key]

    async def save(self, product: Product) -> None:
        if any(other.id != product.id for other in await self.find_alike(product.sku)):
            raise SkuTaken(product.sku)
        stock = self._products[product.id].stock
        self._products[product.id] = replace(product, stock=stock)

    async def find_skus(self, skus: Collection[str]) -> set[str]:
        taken = self._folded_skus()
        return {sku for sku in skus if folded(sku) in taken}

    async def read_window(self, query: ProductQuery, window: Window) -> Sequence[Product]:
        return cut_window(self._matching(query), window, query.key, descending=query.descending)

    async def read_counted(
        self, query: ProductQuery, window: Window
    ) -> tuple[Sequence[Product], Count]:
        return await self.read_window(query, window), Count(len(self._matching(query)))

    async def add(self, products: Sequence[Product]) -> list[Product]:
        taken = self._folded_skus()
        added = []
        for product in products:
            if folded(product.sku) in taken:
                raise SkuTaken(product.sku)
            taken.add(folded(product.sku))
            stored = replace(product, id=next(self._ids), stock=0)
            self._products[stored.id] = stored
            added.append(stored)
        return added

    def _folded_skus(self) -> set[str]:
        return {folded(product.sku) for product in self._products.values()}

    async def list_all(self, *, after: int, limit: int) -> Sequence[Product]:
        ids = sorted(id_ for id_ in self._products if id_ > after)
        return [self._products[id_] for id_ in ids[:limit]]

    async def make_searchable(self, *, limit: int) -> int:
        """There is no older program here."""
        return 0

    def _matching(self, query: ProductQuery) -> Sequence[Product]:
        return [
            product
            for product in self._products.values()
            if product.archived == query.archived
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
