"""Orders: what was bought at which price, and where it stands."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self
from uuid import UUID

from shop.domain.errors import (
    InvalidField,
    InvalidFields,
    MixedCurrencies,
    NotAmendable,
    NotOut,
    OrderChanged,
    OrderNotFound,
    OutOfStock,
    OverMaxPerOrder,
    PaymentReferenceTaken,
    PriceChanged,
    PricedLine,
    Shortage,
    TransitionNotAllowed,
)
from shop.domain.money import Money
from shop.domain.products import Offer
from shop.domain.stock import Shelf
from shop.domain.users import Caller
from shop.domain.values import value

LINES_MAX = 100
QUANTITY_MAX = 1_000_000
IDEMPOTENCY_KEY_LENGTH_MAX = 255
PAYMENT_REFERENCE_LENGTH_MAX = 100
CODE_LENGTH = 12
KEPT_ID_VERSION = 8
"""Ids of this version are made by the shop alone, see `keyed_order_id` and `moved_order_id`."""
MOVED_NUMBER_MAX = 2**53 - 1
"""Clients read numbers as floating-point ones."""
_MOVED_BEGINNING = int.from_bytes(b"django")


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"


# In these nothing of an order is out.
GIVEN_BACK = (OrderStatus.CANCELLED, OrderStatus.RETURNED)

# From each status, the ones that staff may bring an order to.
TRANSITIONS: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.PLACED: (OrderStatus.PAID, OrderStatus.CANCELLED),
    OrderStatus.PAID: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED, OrderStatus.RETURNED),
    OrderStatus.DELIVERED: (OrderStatus.RETURNED,),
    OrderStatus.CANCELLED: (),
    OrderStatus.RETURNED: (),
}

# And those that its owner may.
OWNER_TRANSITIONS: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.PLACED: (OrderStatus.CANCELLED,)
}


def describe_transitions() -> str:
    """The table of transitions in words."""
    return "; ".join(f"{status} → {', '.join(to)}" for status, to in TRANSITIONS.items() if to)


def draw_transitions() -> str:
    """The table of transitions as a Mermaid state diagram."""
    ends = (status for status, following in TRANSITIONS.items() if not following)
    return "\n".join(
        [
            "stateDiagram-v2",
            f"    [*] --> {OrderStatus.PLACED}",
            *(
                f"    {status} --> {to}"
                for status, following in TRANSITIONS.items()
                for to in following
            ),
            *(f"    {status} --> [*]" for status in ends),
        ]
    )


def code_from(text: str) -> str | None:
    """The order code in what somebody has read out or typed; None if it can be none.

    Codes have no I, L and O, so these are the digits they look like (Crockford's base 32).
    """
    code = "".join(text.replace("-", " ").split()).upper().translate(_MISREAD)
    return code if len(code) == CODE_LENGTH and code.isascii() and code.isalnum() else None


_MISREAD = str.maketrans("ILO", "110")


@value
class OrderItem:
    """A wish: this many of that product."""

    product_id: int
    quantity: int


@value
class OrderRequest:
    """A request for an order under a known id; the intake queues it, `DecideOrders` decides.

    A new field of what is wanted goes into `digest` where it is not its default: else a repeat with
    another value of it is answered with the first order. Orders placed before keep their digests.
    """

    order_id: UUID
    user_id: int
    items: tuple[OrderItem, ...]
    keyed: bool = False
    """Whether the id stands for an idempotency key."""
    lost: bool = False
    """Whether a COMMIT for it was lost: an order that is found then is the one it placed."""
    expected_total: Decimal | None = None
    """What the buyer saw it come to, if they say so; it says nothing of what is wanted."""
    wanted: dict[int, int] = field(init=False)
    """Quantity by product, in order of first mention, with repeated lines added up."""
    digest: bytes = field(init=False)
    """SHA-256 of what is wanted, in whatever order: the same content has the same digest."""

    def __post_init__(self) -> None:
        wanted = add_up(self.items)
        canonical = ",".join([f"{product}:{wanted[product]}" for product in sorted(wanted)])
        object.__setattr__(self, "wanted", wanted)
        # Not when it is decided: now Python may have time, while the batch before is written.
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).digest())


_NOTHING: Mapping[int, int] = {}


def refusal_of(
    items: Sequence[OrderItem],
    wanted: Mapping[int, int],
    shelf: Shelf,
    *,
    held: Mapping[int, int] = _NOTHING,
) -> InvalidFields | MixedCurrencies | OverMaxPerOrder | OutOfStock | None:
    """Why an order cannot have what it wants, beside what it holds already; None if it can.

    What is archived may stay on an order, but no more of it may come to it. `wanted` is the items
    added up.
    """
    if missing := shelf.not_for_sale(wanted, held):
        return InvalidFields(
            [
                (f"items.{position}.product_id", "no such product")
                for position, item in enumerate(items)
                if item.product_id in missing
            ]
        )
    if len(currencies := {shelf.products[product_id].price.currency for product_id in wanted}) > 1:
        return MixedCurrencies(*currencies)
    if over := shelf.over_max(wanted, held):
        return OverMaxPerOrder(over)
    if shortages := shelf.shortages(wanted, held):
        return OutOfStock(shortages)
    return None


def add_up(items: Sequence[OrderItem]) -> dict[int, int]:
    """Quantity by product; `InvalidField` for too few or many lines, or a quantity out of range."""
    if not 1 <= len(items) <= LINES_MAX:
        raise InvalidField("items", f"must have 1 to {LINES_MAX} lines")
    wanted: dict[int, int] = {}
    for position, item in enumerate(items):
        if not 1 <= item.quantity <= QUANTITY_MAX:
            raise InvalidField(f"items.{position}.quantity", f"must be from 1 to {QUANTITY_MAX}")
        wanted[item.product_id] = wanted.get(item.product_id, 0) + item.quantity
    return wanted


def products_on(orders: "Iterable[Order]") -> set[int]:
    return {line.product_id for order in orders for line in order.lines}


def keyed_order_id(user_id: int, key: str) -> UUID:
    """The order id that an idempotency key of this user stands for.

    A name-based UUID over SHA-256, version 8 (RFC 9562, appendix B.2). Order ids of this version
    are kept, so that nobody can occupy the id behind another user's key.
    """
    digest = hashlib.sha256(f"shop idempotency key\x00{user_id}\x00{key}".encode()).digest()
    return _kept_id(_not_moved(int.from_bytes(digest[:16], "big")))


def moved_order_id(number: int) -> UUID:
    """The id of an order that was moved in, from its number (1 to `MOVED_NUMBER_MAX`) before.

    Also of version 8, where the 62 bits behind the variant are the number, those between it and
    the version are 0, and the 48 before that spell `django`: ids sort by their numbers, and no key
    stands for one of them.
    """
    assert 1 <= number <= MOVED_NUMBER_MAX
    return _kept_id(_MOVED_BEGINNING << 80 | number)


def moved_order_number(order_id: UUID) -> int:
    """The number of an order that was moved in, from its id."""
    return order_id.int & MOVED_NUMBER_MAX


def _not_moved(number: int) -> int:
    """The same but for a bit, if it begins as the id of a moved order does."""
    return number ^ 1 << 127 if number >> 80 == _MOVED_BEGINNING else number


def _kept_id(number: int) -> UUID:
    number = number & ~(0xF << 76) | KEPT_ID_VERSION << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=number)


@value
class OrderLine:
    """Pieces of a product, at the price it had when they were ordered.

    Name and price stay, whatever the catalogue says later.
    """

    product_id: int
    name: str
    price: Money
    quantity: int

    returned: int = 0
    """How many of the quantity came back."""

    def __post_init__(self) -> None:
        assert 0 <= self.returned <= self.quantity
        assert self.quantity >= 1

    @classmethod
    def of(cls, product: Offer, quantity: int) -> Self:
        """The product at its price of now."""
        return cls(product_id=product.id, name=product.name, price=product.price, quantity=quantity)

    @property
    def out(self) -> int:
        return self.quantity - self.returned

    @property
    def total(self) -> Money:
        return self.price * self.quantity


@value
class Order:
    id: UUID
    code: str
    """12 characters for people to read out; unique."""
    user_id: int
    status: OrderStatus
    lines: tuple[OrderLine, ...]
    """1 to `LINES_MAX`. One for each price of a product, the one that was last added to last."""
    currency: str
    digest: bytes
    """Of the request that placed it: tells a repeated request from another one."""
    version: int
    """Rises with every change."""
    created_at: datetime
    modified_at: datetime
    payment_reference: str | None = None
    """What the payment is called where it was made; no two orders have the same."""

    def __post_init__(self) -> None:
        assert self.lines
        assert self.version >= 1
        for line in self.lines:
            line.price.require_currency(self.currency)

    @classmethod
    def place(
        cls, request: OrderRequest, products: Mapping[int, Offer], *, code: str, at: datetime
    ) -> Self:
        """A new order of what is wanted, at the prices of now."""
        lines = tuple(
            OrderLine.of(products[product_id], quantity)
            for product_id, quantity in request.wanted.items()
        )
        return cls(
            id=request.order_id,
            code=code,
            user_id=request.user_id,
            status=OrderStatus.PLACED,
            lines=lines,
            currency=lines[0].price.currency,
            digest=request.digest,
            version=1,
            created_at=at,
            modified_at=at,
        )

    @property
    def total(self) -> Money:
        amount = sum([line.price.amount * line.quantity for line in self.lines])
        return Money(amount=amount, currency=self.currency)

    @property
    def key(self) -> tuple[datetime, UUID]:
        """Its place in lists, which show the newest first."""
        return self.created_at, self.id

    @property
    def out(self) -> dict[int, int]:
        """Quantity by product of what has not come back."""
        out: dict[int, int] = {}
        for line in self.lines if self.status not in GIVEN_BACK else ():
            if line.out:
                out[line.product_id] = out.get(line.product_id, 0) + line.out
        return out

    @property
    def kept_total(self) -> Money:
        """What comes to be paid for what has not come back."""
        is_given_back = self.status in GIVEN_BACK
        amount = 0 if is_given_back else sum(line.price.amount * line.out for line in self.lines)
        return Money(amount=amount, currency=self.currency)

    def refusal_unless(self, expected_total: Decimal | None) -> PriceChanged | None:
        """Why its buyer does not want it as it is; None if it comes to what they expect."""
        if expected_total is None or expected_total == self.total.decimal:
            return None
        lines = [
            PricedLine(
                product_id=line.product_id,
                quantity=line.quantity,
                price=str(line.price),
                total=str(line.total),
            )
            for line in self.lines
        ]
        return PriceChanged(lines, total=str(self.total), currency=self.currency)

    def is_repeat(self, request: OrderRequest) -> bool:
        """Whether this order is the answer to the same request made before."""
        return self.user_id == request.user_id and self.digest == request.digest

    def require_visible(self, caller: Caller) -> None:
        """Raises `OrderNotFound` unless the caller owns the order or is staff."""
        if self.user_id != caller.user_id and not caller.is_staff:
            raise OrderNotFound(self.id)

    def advanced(self, to: OrderStatus, *, at: datetime, by_staff: bool = True) -> Self:
        """The order in its next status, or `TransitionNotAllowed`."""
        self._check_transition(to, TRANSITIONS if by_staff else OWNER_TRANSITIONS)
        return replace(self, status=to, version=self.version + 1, modified_at=at)

    def paid(self, *, reference: str | None, at: datetime) -> Self:
        """The order paid for. Raises `TransitionNotAllowed`."""
        return replace(self.advanced(OrderStatus.PAID, at=at), payment_reference=reference)

    def is_paid_by(self, reference: str | None) -> bool:
        """Whether it is paid, or was, by this very payment; None stands for whichever it was.

        Raises `PaymentReferenceTaken` if it was paid by another one.
        """
        if reference is not None and reference == self.payment_reference:
            return True
        if self.status is not OrderStatus.PAID:
            return False
        if reference is not None:
            raise PaymentReferenceTaken(reference)
        return True

    def amended(
        self, wanted: Mapping[int, int], products: Mapping[int, Offer], *, at: datetime
    ) -> Self:
        """The order with what is wanted in place of its lines.

        Pieces that were on it keep their name and price, those that come to it have the ones of
        now. Raises `NotAmendable`, and `InvalidField` when it would have too many lines.
        """
        self.check_amendable()
        lines: list[OrderLine] = []
        for product_id, quantity in wanted.items():
            had = [line for line in self.lines if line.product_id == product_id]
            kept = _first_pieces(had, quantity)
            added = quantity - sum(line.quantity for line in kept)
            lines += _with_more(kept, products[product_id], added) if added else kept
        if len(lines) > LINES_MAX:
            raise InvalidField(
                "items",
                f"would make {len(lines)} lines, since what is added at another price is a line of "
                f"its own; an order has at most {LINES_MAX}",
            )
        return replace(self, lines=tuple(lines), version=self.version + 1, modified_at=at)

    def check_amendable(self) -> None:
        if self.status is not OrderStatus.PLACED:
            raise NotAmendable(status=self.status)

    def given_back(self, quantities: Mapping[int, int], *, at: datetime) -> Self:
        """The order after so many of each product came back; returned when nothing is out any more.

        What was added last comes back first. Raises `TransitionNotAllowed`, and `NotOut` when more
        comes back than is out.
        """
        self._check_transition(OrderStatus.RETURNED, TRANSITIONS)
        out = self.out
        wrong = [
            Shortage(product_id=product_id, requested=quantity, available=available)
            for product_id, quantity in quantities.items()
            if quantity > (available := out.get(product_id, 0))
        ]
        if wrong:
            raise NotOut(wrong)
        left, lines = dict(quantities), list(self.lines)
        for position, line in reversed(list(enumerate(self.lines))):
            back = min(line.out, left.get(line.product_id, 0))
            if back:
                left[line.product_id] -= back
                lines[position] = replace(line, returned=line.returned + back)
        is_all_back = not any(line.out for line in lines)
        return replace(
            self,
            status=OrderStatus.RETURNED if is_all_back else self.status,
            lines=tuple(lines),
            version=self.version + 1,
            modified_at=at,
        )

    def check_version(self, expected: Collection[int] | None) -> None:
        """Raises `OrderChanged` unless it is one of the versions expected (None: any is)."""
        if expected is not None and self.version not in expected:
            raise OrderChanged

    def _check_transition(
        self, to: OrderStatus, transitions: Mapping[OrderStatus, tuple[OrderStatus, ...]]
    ) -> None:
        allowed = transitions.get(self.status, ())
        if to not in allowed:
            raise TransitionNotAllowed(status=self.status, to=to, allowed=allowed)


def _first_pieces(lines: Sequence[OrderLine], quantity: int) -> list[OrderLine]:
    """So many pieces of these lines, or all there are, from the first line on."""
    kept = []
    for line in lines:
        if quantity > 0:
            kept.append(replace(line, quantity=min(line.quantity, quantity)))
        quantity -= line.quantity
    return kept


def _with_more(lines: Sequence[OrderLine], product: Offer, added: int) -> list[OrderLine]:
    """The lines of a product and pieces at its price of now, which join those of the same price.

    They do so under another name, too: what tells the lines of a product apart is what they cost.
    Their line is the last, so that what was just added is what leaves first.
    """
    others = [line for line in lines if line.price != product.price]
    for line in lines:
        if line.price == product.price:
            return [*others, replace(line, quantity=line.quantity + added)]
    return [*others, OrderLine.of(product, added)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A line of an order's history: a new status or, from one to the same, another change."""

    id: int = 0
    """Its place in the history; 0 until a repository has stored it."""
    order_id: UUID
    from_status: OrderStatus
    to_status: OrderStatus
    actor_id: int | None
    note: str
    at: datetime
    returned: tuple[OrderItem, ...] = ()
    """What came back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """One order's history; the oldest comes first."""

    order_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderQuery:
    """Which orders; the newest come first."""

    user_id: int | None = None
    """None lists everybody's."""
    status: OrderStatus | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    """Both exclusive."""
    code: str | None = None


@value
class Placed:
    """The answer to an order request."""

    order: Order
    created: bool
    """False when the order had been placed before by the same request."""
