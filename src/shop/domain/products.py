"""Products: what the catalogue offers, at which price, and how many are there."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from shop.domain.errors import InvalidField, ProductChanged
from shop.domain.money import Money
from shop.domain.text import clean

NAME_LENGTH_MAX = 200
DESCRIPTION_LENGTH_MAX = 5_000
SEARCH_LENGTH_MAX = 100
STOCK_MAX = 10**12
SKU_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_SKU = re.compile(SKU_PATTERN, re.ASCII)


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

    def __post_init__(self) -> None:
        assert self.stock >= 0
        assert self.version >= 1

    @classmethod
    def new(
        cls, *, sku: str, name: str, description: str, price: Money, stock: int, at: datetime
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
    ) -> Self:
        """The product with the given fields replaced (None keeps one), or `InvalidField`."""
        return replace(
            self,
            sku=self.sku if sku is None else clean_sku(sku),
            name=self.name if name is None else _clean_name(name),
            description=self.description
            if description is None
            else _clean_description(description),
            price=self.price if price is None else price,
            version=self.version + 1,
            modified_at=at,
        )

    def archive(self, *, at: datetime) -> Self:
        return replace(self, archived=True, version=self.version + 1, modified_at=at)

    def check_version(self, expected: Collection[int] | None) -> None:
        """Raises `ProductChanged` unless it is one of the versions expected (None: any is)."""
        if expected is not None and self.version not in expected:
            raise ProductChanged


def clean_sku(sku: str) -> str:
    if not _SKU.fullmatch(sku):
        raise InvalidField("sku", "must be 1 to 64 letters, digits, dots, dashes or underscores")
    return sku


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
    """Which products, and in which order. Archived ones are never listed."""

    search: str = ""
    """Found anywhere in name or SKU, whatever the case."""
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
