"""Stock: how many of each product are there, and the ledger of movements that proves it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from uuid import UUID

from shop.domain.errors import InvalidField, OutOfStock, OverMax, Shortage, StockChanged
from shop.domain.products import STOCK_MAX, Offer
from shop.domain.text import clean
from shop.domain.values import value

NOTE_LENGTH_MAX = 200
"""Of a movement, and of an order's event: one note may go into both."""


class Reason(StrEnum):
    INITIAL = "initial"
    ORDER = "order"
    AMEND = "amend"
    CANCEL = "cancel"
    RETURN = "return"
    RESTOCK = "restock"
    CORRECTION = "correction"
    IMPORT = "import"
    WRITE_OFF = "write_off"
    """Given back by an order, and not fit to be sold again."""


# A movement's reason may be named by staff; these are the ones that are theirs to give.
STAFF_REASONS = (Reason.RESTOCK, Reason.CORRECTION)
_STAFF_REASONS_BY_NAME = {reason.value: reason for reason in STAFF_REASONS}

# What an order takes and gives back; over these, its movements sum to what is out.
ORDER_REASONS = (Reason.ORDER, Reason.AMEND, Reason.CANCEL, Reason.RETURN)
# What says so in the ledger; what an order that was moved in had taken is a movement as well.
TAKING_REASONS = (*ORDER_REASONS, Reason.IMPORT)


@value
class StockMovement:
    """One line of the ledger; never changed, never deleted."""

    id: int = 0
    """Its place in the ledger; 0 until a repository has stored it."""
    product_id: int
    quantity: int
    """Signed: what left the shelf is negative."""
    balance: int
    """The stock after this movement."""
    reason: Reason
    order_id: UUID | None
    actor_id: int | None
    note: str
    at: datetime

    def __post_init__(self) -> None:
        assert self.quantity != 0
        assert self.balance >= 0


class Shelf:
    """The locked stock of one transaction's products. Every change of it is a movement."""

    def __init__(self, products: Mapping[int, Offer]) -> None:
        self.products = products
        self.movements: list[StockMovement] = []
        self._on_hand = {product.id: product.stock for product in products.values()}

    def on_hand(self, product_id: int) -> int:
        return self._on_hand[product_id]

    def not_for_sale(self, wanted: Mapping[int, int], held: Mapping[int, int]) -> set[int]:
        """The products of which more is wanted than held, and that are unknown or archived."""
        products = self.products
        return {
            product_id
            for product_id, quantity in wanted.items()
            if (product_id not in products or products[product_id].archived)
            and quantity > held.get(product_id, 0)
        }

    def over_max(self, wanted: Mapping[int, int], held: Mapping[int, int]) -> list[OverMax]:
        """The products of which an order would get more than it may, in the order wanted.

        What an order holds already, it may keep.
        """
        return [
            OverMax(
                product_id=product_id,
                requested=quantity,
                available=min(may_have, self._on_hand[product_id] + held.get(product_id, 0)),
                max_per_order=most,
            )
            for product_id, quantity in wanted.items()
            if (most := self.products[product_id].max_per_order) is not None
            and quantity > (may_have := max(most, held.get(product_id, 0)))
        ]

    def shortages(self, wanted: Mapping[int, int], held: Mapping[int, int]) -> list[Shortage]:
        """The products of which fewer are there than wanted, in the order wanted.

        What an order holds already is there for it.
        """
        return [
            Shortage(product_id=product_id, requested=quantity, available=available)
            for product_id, quantity in wanted.items()
            if quantity > (available := self._on_hand[product_id] + held.get(product_id, 0))
        ]

    def give_back(
        self,
        quantities: Mapping[int, int],
        reason: Reason,
        *,
        restock: bool,
        at: datetime,
        actor_id: int | None,
        order_id: UUID,
        note: str = "",
    ) -> None:
        """Put back what an order gives back; what cannot be sold again is written off at once."""
        for product_id, quantity in quantities.items():
            move = partial(
                self.move, product_id, at=at, actor_id=actor_id, order_id=order_id, note=note
            )
            move(quantity, reason)
            if not restock:
                move(-quantity, Reason.WRITE_OFF)

    def take_back(self, number: int) -> None:
        """Forget all movements but so many, the first, as if they had not been made."""
        while len(self.movements) > number:
            movement = self.movements.pop()
            self._on_hand[movement.product_id] -= movement.quantity

    def move(
        self,
        product_id: int,
        quantity: int,
        reason: Reason,
        *,
        at: datetime,
        actor_id: int | None = None,
        order_id: UUID | None = None,
        note: str = "",
    ) -> None:
        """Change one product's stock by a signed quantity.

        Below zero is `OutOfStock`. Above the limit is `InvalidField`, but for what an order gives
        back: that may always come home.
        """
        on_hand = self._on_hand[product_id]
        balance = on_hand + quantity
        if balance < 0:
            raise OutOfStock(
                [Shortage(product_id=product_id, requested=-quantity, available=on_hand)]
            )
        if quantity > 0 and balance > STOCK_MAX and reason not in ORDER_REASONS:
            raise InvalidField("quantity", f"the stock would be above {STOCK_MAX}")
        self._on_hand[product_id] = balance
        self.movements.append(
            StockMovement(
                product_id=product_id,
                quantity=quantity,
                balance=balance,
                reason=reason,
                order_id=order_id,
                actor_id=actor_id,
                note=note,
                at=at,
            )
        )


@value
class StockChange:
    """A change of a product's stock by hand: by a difference, or to a quantity.

    A quantity is for stock that is as `expected`, or `absolute`: whatever is there, also what was
    sold since it was counted. Raises `InvalidField`.
    """

    reason: str
    """One of `STAFF_REASONS`, or own words, which become the movement's note."""
    delta: int | None = None
    quantity: int | None = None
    expected: int | None = None
    absolute: bool = False

    def __post_init__(self) -> None:
        for field, must in wrong_together(
            delta=self.delta,
            quantity=self.quantity,
            expected=self.expected,
            absolute=self.absolute,
        ):
            raise InvalidField(field, must)
        if self.quantity is not None and not 0 <= self.quantity <= STOCK_MAX:
            raise InvalidField("quantity", f"must be from 0 to {STOCK_MAX}")
        reason = clean("reason", self.reason, length_min=1, length_max=NOTE_LENGTH_MAX)
        if reason != self.reason:
            object.__setattr__(self, "reason", reason)

    def difference(self, on_hand: int) -> int:
        """By how much the stock is to change. Raises `StockChanged` if it is not as expected."""
        if self.delta is not None:
            return self.delta
        assert self.quantity is not None
        if self.expected is not None and on_hand != self.expected:
            raise StockChanged(expected=self.expected, actual=on_hand)
        return self.quantity - on_hand

    def make(self, shelf: Shelf, product_id: int, *, at: datetime, actor_id: int | None) -> int:
        """Move the stock of a product on the shelf; by how much, which may be nothing.

        Raises `StockChanged`, and what `Shelf.move` does.
        """
        difference = self.difference(shelf.on_hand(product_id))
        if difference:
            reason, note = self._entry(difference)
            shelf.move(product_id, difference, reason, at=at, actor_id=actor_id, note=note)
        return difference

    def _entry(self, difference: int) -> tuple[Reason, str]:
        """The ledger's reason and note: a staff reason stands for itself, else it is the note."""
        if (reason := _STAFF_REASONS_BY_NAME.get(self.reason)) is not None:
            return reason, ""
        is_restock = self.delta is not None and difference > 0
        return Reason.RESTOCK if is_restock else Reason.CORRECTION, self.reason


def wrong_together(
    *,
    delta: int | None = None,
    quantity: int | None = None,
    expected: int | None = None,
    absolute: bool | None = None,
) -> list[tuple[str, str]]:
    """What is wrong with a change of stock although each of its fields may be right.

    An `absolute` of None says that there is no such field.
    """
    is_count = quantity is not None and (expected is not None) != bool(absolute)
    is_difference = quantity is None and expected is None and not absolute
    if not (is_difference if delta is not None else is_count):
        or_absolute = "" if absolute is None else ", or quantity and absolute"
        return [("delta", f"give either delta, or quantity and expected{or_absolute}")]
    return [("delta", "must not be 0")] if delta == 0 else []


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementQuery:
    """One product's ledger; the newest comes first."""

    product_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StockAudit:
    """What is stored about one product's stock, thrice; the three agree, or something is wrong."""

    product_id: int
    sku: str
    on_hand: int
    movements_sum: int
    last_balance: int

    @property
    def is_sound(self) -> bool:
        return self.on_hand == self.movements_sum == self.last_balance and self.on_hand >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLevels:
    """How much there is of some products, of which those for sale are counted."""

    out_of_stock: int
    low: int
    """Some, but few."""
    below_zero: int
    """Of all products: it must never be."""
    last: int | None
    """The id of the last product looked at; None if there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPosition:
    """How far the ledger was read: all of the products before this one, and a part of its own."""

    product_id: int = 0
    movement_id: int = 0
    """The last of its movements that was read."""
    movements_sum: int = 0
    last_balance: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAudit:
    """An order and a product of which its lines and its movements say different things."""

    order_id: UUID
    product_id: int
    taken: int
    """By the order's status and lines."""
    moved: int
    """By the ledger."""
