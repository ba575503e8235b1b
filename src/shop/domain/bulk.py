"""Many products at once, as those write them who have their own list of them: rows, by SKU."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeAlias

from shop.domain.errors import (
    InvalidField,
    InvalidFields,
    ProductArchived,
    ProductNotFound,
    RowsRefused,
    ShopError,
    SkuTaken,
)
from shop.domain.money import Money
from shop.domain.products import (
    NO_MAX,
    Product,
    check_max,
    clean_description,
    clean_name,
    clean_sku,
)
from shop.domain.stock import Shelf, StockChange
from shop.domain.text import folded, the_one_called
from shop.domain.values import value

ROWS_MAX = 1_000
"""In one transaction: its locks are held until all are written."""


class Policy(StrEnum):
    """What becomes of the other rows when one is refused."""

    ALL = "all"
    """Nothing is written."""
    EACH = "each"
    """They are written."""


class Outcome(StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    """It is so already: nothing was written."""
    REFUSED = "refused"
    HELD_BACK = "held_back"
    """There is nothing wrong with it, and it was not written, since others were refused."""


@value
class ProductRow:
    """A product as it is to be, whether it is there or not; None keeps what is there.

    Its texts become what they are stored as. Raises `InvalidFields`, which names all that are
    wrong.
    """

    sku: str
    name: str | None = None
    price: Money | None = None
    description: str | None = None
    max_per_order: int | None = None
    """`NO_MAX` takes the limit away."""
    archived: bool | None = None
    stock: StockChange | None = None

    def __post_init__(self) -> None:
        problems = []
        for name, read in _READERS.items():
            value = getattr(self, name)
            if value is not None:
                try:
                    object.__setattr__(self, name, read(value))
                except InvalidFields as error:
                    problems += [
                        (each["field"], each["message"]) for each in error.context["errors"]
                    ]
        if problems:
            raise InvalidFields(problems)

    @property
    def fields(self) -> dict[str, Any]:
        """What it says of the product that the catalogue shows, but for `archived`."""
        said = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}
        if self.max_per_order == NO_MAX:
            said["max_per_order"] = None
        return said

    def entry(self, product: Product | None, *, at: datetime, currency: str) -> Product:
        """The product as it is to be, but for the stock of one that is there.

        Raises `ProductArchived` for one of which the row does not say that it is, or is not to be
        any more; `InvalidFields`, and `MixedCurrencies` as for restoring one.
        """
        fields = self.fields
        if product is None:
            entry = self._new_product(fields, at=at)
        else:
            if product.archived and self.archived is None and fields:
                raise ProductArchived(product.id)
            entry = product.with_clean(at=at, **fields)
        if self.archived is None or self.archived is entry.archived:
            return entry
        if self.archived:
            return entry.archive(at=at)
        entry.price.require_currency(currency)
        return entry.restore(at=at)

    def _new_product(self, fields: Mapping[str, Any], *, at: datetime) -> Product:
        missing = [name for name in ("name", "price") if name not in fields]
        if missing:
            raise InvalidFields([(name, "is required of a new product") for name in missing])
        stock = 0 if self.stock is None else self.stock.difference(0)
        return Product.of_clean(**{"description": "", **fields}, sku=self.sku, stock=stock, at=at)


_FIELDS = ("name", "price", "description", "max_per_order")


def _check_new_max(max_per_order: int) -> int:
    if max_per_order != NO_MAX:
        check_max(max_per_order)
    return max_per_order


_READERS: Mapping[str, Callable[..., object]] = {
    "sku": clean_sku,
    "name": clean_name,
    "description": clean_description,
    "max_per_order": _check_new_max,
}


@value
class StockRow:
    """A change of the stock of a product that is there. Raises `InvalidField`."""

    sku: str
    stock: StockChange

    def __post_init__(self) -> None:
        sku = clean_sku(self.sku)
        if sku != self.sku:
            object.__setattr__(self, "sku", sku)

    def entry(self, product: Product | None, *, at: datetime, currency: str) -> Product:
        """The product, as it is. Raises `ProductNotFound`."""
        if product is None:
            raise ProductNotFound(self.sku)
        return product


@value
class RefusedRow:
    """In the place of a row that its reader could not make one of."""

    error: ShopError
    sku: str = ""
    """As far as it is known."""


Row: TypeAlias = ProductRow | StockRow | RefusedRow


@value
class RowAnswer:
    """What became of a row."""

    sku: str
    outcome: Outcome
    before: Product | None = None
    """None if it was not there."""
    entry: Product | None = None
    """As it is to be, but for the stock that it has `moved`; None for a row that was refused."""
    moved: int = 0
    error: ShopError | None = None
    """Why it was refused."""

    @property
    def after(self) -> Product | None:
        """With its stock; None for a row that was refused."""
        # Not made for each row beforehand: of a change of stock only the two numbers are asked for.
        entry = self.entry
        if entry is None or not self.moved:
            return entry
        return replace(entry, stock=entry.stock + self.moved)

    @property
    def stock(self) -> int | None:
        """What there is after it; None for a row that was refused."""
        return None if self.entry is None else self.entry.stock + self.moved


@dataclass(kw_only=True)
class RowDecisions:
    """Decides rows one after the other, on what is locked; each is done whole, or not at all."""

    stored: Mapping[str, Sequence[Product]]
    """All whose SKUs the rows name, whatever their case: by folded SKU, and locked."""
    at: datetime
    currency: str
    actor_id: int | None
    answers: list[RowAnswer] = field(default_factory=list, init=False)
    shelf: Shelf = field(init=False)

    def __post_init__(self) -> None:
        alike = (product for products in self.stored.values() for product in products)
        self.shelf = Shelf({product.id: product for product in alike})

    def decide(self, rows: Sequence[Row]) -> None:
        keys = [folded(row.sku) for row in rows]
        times = Counter(keys)
        for row, key in zip(rows, keys, strict=True):
            self.answers.append(self._answer(row, self.stored.get(key, ()), times=times[key]))

    def _answer(self, row: Row, alike: Sequence[Product], *, times: int) -> RowAnswer:
        # There is one at most, but for those from before SKUs were folded.
        before = alike[0] if len(alike) == 1 else the_one_called(row.sku, alike, attrgetter("sku"))
        try:
            if isinstance(row, RefusedRow):
                raise row.error
            if times > 1:
                raise InvalidField("sku", "is that of several rows")
            if before is None and alike:
                # Of several none is spelt just so.
                raise SkuTaken(alike[0].sku, product_id=alike[0].id, archived=alike[0].archived)
            entry = row.entry(before, at=self.at, currency=self.currency)
            moved = 0
            if before is not None and row.stock is not None:
                # Last of all, since it is what is noted at once.
                moved = row.stock.make(self.shelf, before.id, at=self.at, actor_id=self.actor_id)
        except ShopError as error:
            return RowAnswer(sku=row.sku, outcome=Outcome.REFUSED, before=before, error=error)
        if before is None:
            outcome = Outcome.CREATED
        else:
            outcome = Outcome.CHANGED if moved or entry is not before else Outcome.UNCHANGED
        return RowAnswer(sku=row.sku, outcome=outcome, before=before, entry=entry, moved=moved)

    def require_all(self) -> None:
        """Raises `RowsRefused` if one is; its answers say that the others were held back."""
        refused = sum(answer.outcome is Outcome.REFUSED for answer in self.answers)
        if refused:
            raise RowsRefused(
                [
                    answer
                    if answer.outcome is Outcome.REFUSED
                    else replace(answer, outcome=Outcome.HELD_BACK)
                    for answer in self.answers
                ],
                refused=refused,
            )

    @property
    def created(self) -> list[Product]:
        """The new products, which have no ids yet."""
        return [
            answer.entry
            for answer in self.answers
            if answer.before is None and answer.entry is not None
        ]

    @property
    def changed(self) -> list[tuple[Product, Product]]:
        """The products whose entries became others, as they were and as they are.

        Their stock is of no account.
        """
        return [
            (before, entry)
            for answer in self.answers
            if (before := answer.before) is not None
            and (entry := answer.entry) is not None
            and entry is not before
        ]
