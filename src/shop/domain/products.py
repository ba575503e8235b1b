"""Products: what the catalogue offers, at which price, and how many are there."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from shop.domain.errors import InvalidField, ProductChanged
from shop.domain.money import Money
from shop.domain.text import clean, folded

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 5_000
SEARCH_LENGTH_MAX = 100
STOCK_MAX = 10**12
NO_MAX = 0
"""A `max_per_order` that takes the limit away, where None keeps it."""
SKU_LENGTH_MAX = 64
SKU_SIGNS = " -_./+#&()"
"""What a SKU may have beside letters, digits and marks of any script."""
# Unicode's letters, marks and numbers.
_SKU_KINDS = {"L", "M", "N"}
_SKU_KINDS_NEEDED = {"L", "N"}
# Few characters fold to more than two; what does not fit is no SKU that anybody has.
SKU_FOLDED_LENGTH_MAX = 2 * SKU_LENGTH_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    id: int
    """0 until a repository has stored the product and given it one."""
    sku: str
    name: str
    description: str
    price: Money
    stock: int
    archived: bool
    version: int
    """Rises with every change of the catalogue entry; the stock is not part of it."""
    created_at: datetime
    modified_at: datetime
    max_per_order: int | None = None
    """How many pieces one order may have; None if as many as there are."""

    def __post_init__(self) -> None:
        assert self.stock >= 0
        assert self.version >= 1
        assert self.max_per_order is None or self.max_per_order >= 1

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
        if not 0 <= stock <= STOCK_MAX:
            raise InvalidField("stock", f"must be from 0 to {STOCK_MAX}")
        return cls(
            id=0,
            sku=clean_sku(sku),
            name=_clean_name(name),
            description=_clean_description(description),
            price=price,
            stock=stock,
            archived=False,
            version=1,
            created_at=at,
            modified_at=at,
            max_per_order=_check_max(max_per_order),
        )

    @property
    def search_key(self) -> str:
        """What searching looks in and ordering by name goes by: case-folded, the name first."""
        return f"{self.name}\x1f{self.sku}".casefold()

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

        A `max_per_order` of `NO_MAX` takes the limit away.
        """
        return replace(
            self,
            sku=self.sku if sku is None else clean_sku(sku),
            name=self.name if name is None else _clean_name(name),
            description=self.description
            if description is None
            else _clean_description(description),
            price=self.price if price is None else price,
            max_per_order=self.max_per_order
            if max_per_order is None
            else _check_max(None if max_per_order == NO_MAX else max_per_order),
            version=self.version + 1,
            modified_at=at,
        )

    def archive(self, *, at: datetime) -> Self:
        return replace(self, archived=True, version=self.version + 1, modified_at=at)

    def restore(self, *, at: datetime) -> Self:
        return replace(self, archived=False, version=self.version + 1, modified_at=at)

    def check_version(self, expected: Collection[int] | None) -> None:
        """Raises `ProductChanged` unless it is one of the versions expected (None: any is)."""
        if expected is not None and self.version not in expected:
            raise ProductChanged


def clean_sku(sku: str) -> str:
    """The SKU as people have it, composed, with plain spaces and none at its ends.

    Raises `InvalidField` unless it is made of letters, digits and `SKU_SIGNS`; of the first two it
    has at least one.
    """
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


def _check_max(max_per_order: int | None) -> int | None:
    if max_per_order is not None and not 1 <= max_per_order <= STOCK_MAX:
        raise InvalidField("max_per_order", f"must be from 1 to {STOCK_MAX}")
    return max_per_order


def _clean_name(name: str) -> str:
    return clean("name", name, length_min=1, length_max=NAME_LENGTH_MAX)


def _clean_description(description: str) -> str:
    return clean("description", description, length_max=DESCRIPTION_LENGTH_MAX, lines=True)


class ProductSort(StrEnum):
    NAME = "name"
    PRICE = "price"
    CREATED = "created"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductQuery:
    """Which products, and in which order."""

    search: str = ""
    """Found anywhere in name or SKU, whatever the case."""
    archived: bool = False
    """The archived ones, which are for staff, or those for sale."""
    in_stock: bool | None = None
    price_min: int | None = None
    price_max: int | None = None
    """Prices in minor units, both included."""
    sort: ProductSort = ProductSort.CREATED
    descending: bool = False

    def __post_init__(self) -> None:
        search = clean("search", self.search, length_max=SEARCH_LENGTH_MAX)
        object.__setattr__(self, "search", search)

    def key(self, product: Product) -> tuple[str | int | datetime, int]:
        """The product's place in the order asked for; ties go by id."""
        match self.sort:
            case ProductSort.NAME:
                return product.search_key, product.id
            case ProductSort.PRICE:
                return product.price.amount, product.id
            case ProductSort.CREATED:
                return product.created_at, product.id
