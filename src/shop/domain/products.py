"""Products: what the catalogue offers, at which price, and how many are there."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from shop.domain.errors import InvalidField, ProductChanged
from shop.domain.money import Money
from shop.domain.search import plain, search_terms, search_text
from shop.domain.text import clean, folded
from shop.domain.values import value

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 5_000
SEARCH_LENGTH_MAX = 100
SEARCH_KEY_LENGTH_MAX = 500
"""A database's index has no room for what some characters become; the rest makes no difference."""
SKUS_MAX = 100
STOCK_MAX = 10**12
NO_MAX = 0
"""A `max_per_order` that takes the limit away, where None keeps it."""
SKU_LENGTH_MAX = 64
SKU_SIGNS = " -_./+#&()"
"""What a SKU may have beside letters, digits and marks of any script."""
_PLAIN_SKU = re.compile(
    rf"(?=[^A-Za-z0-9]*[A-Za-z0-9])[A-Za-z0-9{re.escape(SKU_SIGNS)}]{{1,{SKU_LENGTH_MAX}}}"
)
# Unicode's letters, marks and numbers.
_SKU_KINDS = {"L", "M", "N"}
_SKU_KINDS_NEEDED = {"L", "N"}
# Few characters fold to more than two; what does not fit is no SKU that anybody has.
SKU_FOLDED_LENGTH_MAX = 2 * SKU_LENGTH_MAX


@value
class Offer:
    """What of a product decides whether it is sold, and at which price."""

    id: int
    """0 until a repository has stored the product and given it one."""
    name: str
    price: Money
    stock: int
    archived: bool
    version: int
    """Rises with every change of the catalogue entry; the stock is not part of it."""
    max_per_order: int | None = None
    """How many pieces one order may have; None if as many as there are."""

    def __post_init__(self) -> None:
        assert self.stock >= 0
        assert self.version >= 1
        assert self.max_per_order is None or self.max_per_order >= 1


@value
class Product(Offer):
    sku: str
    description: str
    created_at: datetime
    modified_at: datetime

    @classmethod
    def new(
        cls,
        *,
        sku: str,
        name: str,
        description: str,
        price: Money,
        stock: int,
        at: datetime,
        max_per_order: int | None = None,
    ) -> Self:
        """A product that follows the rules, or `InvalidField`."""
        return cls.of_clean(
            sku=clean_sku(sku),
            name=clean_name(name),
            description=clean_description(description),
            price=price,
            stock=stock,
            at=at,
            max_per_order=check_max(max_per_order),
        )

    @classmethod
    def of_clean(
        cls,
        *,
        sku: str,
        name: str,
        description: str,
        price: Money,
        stock: int,
        at: datetime,
        max_per_order: int | None = None,
    ) -> Self:
        """The same for who has cleaned the texts and checked the limit, as rows have."""
        if not 0 <= stock <= STOCK_MAX:
            raise InvalidField("stock", f"must be from 0 to {STOCK_MAX}")
        return cls(
            id=0,
            sku=sku,
            name=name,
            description=description,
            price=price,
            stock=stock,
            archived=False,
            version=1,
            created_at=at,
            modified_at=at,
            max_per_order=max_per_order,
        )

    @property
    def search_key(self) -> str:
        """What ordering by name goes by, see `plain`: the name first."""
        return search_key(self.name, self.sku)

    @property
    def search_text(self) -> str:
        """What searching looks in, see `search`."""
        return search_text(self.name, self.sku, self.description)

    def changed(
        self,
        *,
        at: datetime,
        sku: str | None = None,
        name: str | None = None,
        description: str | None = None,
        price: Money | None = None,
        max_per_order: int | None = None,
    ) -> Self:
        """The product with the given fields replaced (None keeps one), or `InvalidField`.

        A `max_per_order` of `NO_MAX` takes the limit away. Where nothing becomes another, it is
        this very product: who mirrors the catalogue, or holds its version, need not look again.
        """
        changed: dict[str, Any] = {}
        if sku is not None:
            changed["sku"] = clean_sku(sku)
        if name is not None:
            changed["name"] = clean_name(name)
        if description is not None:
            changed["description"] = clean_description(description)
        if price is not None:
            changed["price"] = price
        if max_per_order is not None:
            changed["max_per_order"] = check_max(None if max_per_order == NO_MAX else max_per_order)
        return self.with_clean(at=at, **changed)

    def with_clean(self, *, at: datetime, **fields: Any) -> Self:
        """The same for who has cleaned the texts and checked the limit, as rows have."""
        if all(getattr(self, name) == value for name, value in fields.items()):
            return self
        return replace(self, **fields, version=self.version + 1, modified_at=at)

    def archive(self, *, at: datetime) -> Self:
        return replace(self, archived=True, version=self.version + 1, modified_at=at)

    def restore(self, *, at: datetime) -> Self:
        return replace(self, archived=False, version=self.version + 1, modified_at=at)

    def check_version(self, expected: Collection[int] | None) -> None:
        """Raises `ProductChanged` unless it is one of the versions expected (None: any is)."""
        if expected is not None and self.version not in expected:
            raise ProductChanged


def search_key(name: str, sku: str) -> str:
    return f"{plain(name)}\x1f{plain(sku)}"[:SEARCH_KEY_LENGTH_MAX]


def clean_sku(sku: str) -> str:
    """The SKU as people have it, composed, with plain spaces and none at its ends.

    Raises `InvalidField` unless it is made of letters, digits and `SKU_SIGNS`; of the first two it
    has at least one.
    """
    if _PLAIN_SKU.fullmatch(stripped := sku.strip()):
        # As nearly all are: there is nothing to compose, and nothing to look up.
        return stripped
    sku = unicodedata.normalize("NFC", sku).strip()
    sku = "".join(" " if unicodedata.category(each) == "Zs" else each for each in sku)
    # A full-width sign is as good as the one that it stands for.
    kinds = {
        unicodedata.category(each)[0]
        for each in sku
        if unicodedata.normalize("NFKC", each) not in SKU_SIGNS
    }
    if not (
        len(sku) <= SKU_LENGTH_MAX
        and kinds <= _SKU_KINDS
        and kinds & _SKU_KINDS_NEEDED
        and 1 <= len(folded(sku)) <= SKU_FOLDED_LENGTH_MAX
    ):
        raise InvalidField(
            "sku",
            f"must be 1 to {SKU_LENGTH_MAX} letters, digits, spaces or any of . - _ / + # & ( )",
        )
    return sku


def check_max(max_per_order: int | None) -> int | None:
    if max_per_order is not None and not 1 <= max_per_order <= STOCK_MAX:
        raise InvalidField("max_per_order", f"must be from 1 to {STOCK_MAX}")
    return max_per_order


def clean_name(name: str) -> str:
    return clean("name", name, length_min=1, length_max=NAME_LENGTH_MAX)


def clean_description(description: str) -> str:
    return clean("description", description, length_max=DESCRIPTION_LENGTH_MAX, lines=True)


class ProductSort(StrEnum):
    NAME = "name"
    PRICE = "price"
    CREATED = "created"
    MODIFIED = "modified"
    RELEVANCE = "relevance"
    """The one with just this SKU, then names that begin so, by name, then the others by id."""


# How well a product fits a search: the lower, the better.
EXACT, BEGINS_SO, FITS = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuery:
    """Which products, and in which order."""

    search: str = ""
    """Words, all of which are found in name, SKU or description, see `search`."""
    archived: bool = False
    """The archived ones, which are for staff, or those for sale."""
    in_stock: bool | None = None
    price_min: int | None = None
    price_max: int | None = None
    """Prices in minor units, both included."""
    skus: Collection[str] | None = None
    """Those with one of these SKUs, whatever the case; what is no SKU is none of a product."""
    created_after: datetime | None = None
    modified_after: datetime | None = None
    """Exclusive. A change of stock alone does not modify."""
    sort: ProductSort = ProductSort.CREATED
    descending: bool = False
    terms: tuple[str, ...] = field(init=False)
    """What the search text of a product must have for the search."""
    sku: str = field(init=False)
    """The search as a whole, as it would be a SKU."""
    beginning: str = field(init=False)
    """The search as a whole, as search keys begin with it."""

    def __post_init__(self) -> None:
        search = clean("search", self.search, length_max=SEARCH_LENGTH_MAX)
        object.__setattr__(self, "search", search)
        object.__setattr__(self, "terms", search_terms(search))
        object.__setattr__(self, "sku", folded(search))
        object.__setattr__(self, "beginning", plain(search)[:SEARCH_KEY_LENGTH_MAX])
        if self.skus is not None:
            if len(self.skus) > SKUS_MAX:
                raise InvalidField("sku", f"may be given at most {SKUS_MAX} times")
            object.__setattr__(self, "skus", frozenset(_folded_skus(self.skus)))
        if self.sort is ProductSort.RELEVANCE and not self.terms:
            # Nothing is more relevant than anything else.
            object.__setattr__(self, "sort", ProductSort.NAME)

    def rank(self, product: Product) -> int:
        if folded(product.sku) == self.sku:
            return EXACT
        return BEGINS_SO if product.search_key.startswith(self.beginning) else FITS

    def key(self, product: Product) -> tuple[str | int | datetime, ...]:
        """The product's place in the order asked for; ties go by id."""
        match self.sort:
            case ProductSort.NAME:
                return product.search_key, product.id
            case ProductSort.PRICE:
                return product.price.amount, product.id
            case ProductSort.CREATED:
                return product.created_at, product.id
            case ProductSort.MODIFIED:
                return product.modified_at, product.id
            case ProductSort.RELEVANCE:
                rank = self.rank(product)
                return rank, product.search_key if rank == BEGINS_SO else "", product.id


def _folded_skus(skus: Collection[str]) -> Iterator[str]:
    for sku in skus:
        with suppress(InvalidField):
            yield folded(clean("sku", sku, length_max=SEARCH_LENGTH_MAX))
