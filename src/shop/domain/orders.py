"""Orders: what was bought at which price, and where it stands."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from shop.domain.errors import (
    InvalidField,
    InvalidFields,
    MoveNotAllowed,
    NotAmendable,
    NotOut,
    OrderChanged,
    Shortage,
)
from shop.domain.money import Money

LINES_MAX = 100
QUANTITY_MAX = 1_000_000
IDEMPOTENCY_KEY_LENGTH_MAX = 255
PAYMENT_REFERENCE_LENGTH_MAX = 100
KEYED_ID_VERSION = 8


class OrderStatus(StrEnum):
    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"


# In these nothing of an order is out.
GIVEN_BACK = (OrderStatus.CANCELLED, OrderStatus.RETURNED)

# From each status, where staff may move an order.
MOVES: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.PLACED: (OrderStatus.PAID, OrderStatus.CANCELLED),
    OrderStatus.PAID: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED, OrderStatus.RETURNED),
    OrderStatus.DELIVERED: (OrderStatus.RETURNED,),
    OrderStatus.CANCELLED: (),
    OrderStatus.RETURNED: (),
}

# And where the owner of an order may.
OWNER_MOVES: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.PLACED: (OrderStatus.CANCELLED,)
}


def describe_moves() -> str:
    """The table of moves in words."""
    return "; ".join(f"{status} → {', '.join(moves)}" for status, moves in MOVES.items() if moves)


def draw_moves() -> str:
    """The table of moves as a Mermaid state diagram."""
    ends = (status for status, moves in MOVES.items() if not moves)
    return "\n".join(
        [
            "stateDiagram-v2",
            f"    [*] --> {OrderStatus.PLACED}",
            *(f"    {status} --> {to}" for status, moves in MOVES.items() for to in moves),
            *(f"    {status} --> [*]" for status in ends),
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderItem:
    """A wish: this many of that product."""

    product_id: int
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A request to place an order under a known id; the intake queues it, `PlaceOrders` decides."""

    order_id: UUID
    user_id: int
    items: tuple[OrderItem, ...]
    keyed: bool = False
    """Whether the id stands for an idempotency key."""
    wanted: dict[int, int] = field(init=False)
    """Quantity by product, in order of first mention, with repeated lines added up."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "wanted", add_up(self.items))

    @property
    def digest(self) -> bytes:
        """SHA-256 of what is wanted, in whatever order: the same content has the same digest."""
        canonical = ",".join(f"{product}:{self.wanted[product]}" for product in sorted(self.wanted))
        return hashlib.sha256(canonical.encode()).digest()


def no_such_product(items: Sequence[OrderItem], product_ids: set[int]) -> InvalidFields:
    """Names each line that asks for one of these products."""
    return InvalidFields(
        [
            (f"items.{position}.product_id", "no such product")
            for position, item in enumerate(items)
            if item.product_id in product_ids
        ]
    )


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


def keyed_order_id(user_id: int, key: str) -> UUID:
    """The order id that an idempotency key of this user stands for.

    A name-based UUID over SHA-256, version 8 (RFC 9562, appendix B.2). Order ids of this version
    are kept for keys, so that nobody can occupy the id behind another user's key.
    """
    digest = hashlib.sha256(f"shop idempotency key\x00{user_id}\x00{key}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | KEYED_ID_VERSION << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """A product as it was when ordered: name and price stay, whatever the catalogue says later."""

    product_id: int
    name: str
    price: Money
    quantity: int

    returned: int = 0
    """How many of the quantity came back."""

    def __post_init__(self) -> None:
        assert 0 <= self.returned <= self.quantity
        assert self.quantity >= 1

    @property
    def out(self) -> int:
        return self.quantity - self.returned

    @property
    def total(self) -> Money:
        return self.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: UUID
    code: str
    """12 characters for people to read out; unique."""
    user_id: int
    status: OrderStatus
    lines: tuple[OrderLine, ...]
    """At least one; each product once."""
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

    @property
    def total(self) -> Money:
        return Money(amount=sum(line.total.amount for line in self.lines), currency=self.currency)

    @property
    def key(self) -> tuple[datetime, UUID]:
        """Its place in lists, which show the newest first."""
        return self.created_at, self.id

    @property
    def out(self) -> dict[int, int]:
        """Quantity by product of what has not come back."""
        return {line.product_id: line.out for line in self.lines if line.out}

    def is_repeat(self, request: OrderRequest) -> bool:
        """Whether this order is the answer to the same request made before."""
        return self.user_id == request.user_id and self.digest == request.digest

    def moved(self, to: OrderStatus, *, at: datetime, by_staff: bool) -> Self:
        """The order in its next status, or `MoveNotAllowed`."""
        self._check_move(to, MOVES if by_staff else OWNER_MOVES)
        return replace(self, status=to, version=self.version + 1, modified_at=at)

    def paid(self, *, reference: str | None, at: datetime, by_staff: bool) -> Self:
        """The order paid for. Raises `MoveNotAllowed`."""
        paid = self.moved(OrderStatus.PAID, at=at, by_staff=by_staff)
        return replace(paid, payment_reference=reference)

    def amended(self, lines: tuple[OrderLine, ...], *, at: datetime) -> Self:
        """The order with other lines. Raises `NotAmendable` when it is past that."""
        self.check_amendable()
        return replace(self, lines=lines, version=self.version + 1, modified_at=at)

    def check_amendable(self) -> None:
        if self.status is not OrderStatus.PLACED:
            raise NotAmendable(status=self.status)

    def given_back(self, quantities: Mapping[int, int], *, at: datetime, by_staff: bool) -> Self:
        """The order after so many of each product came back; returned when nothing is out any more.

        Raises `MoveNotAllowed`, and `NotOut` when more comes back than is out.
        """
        self._check_move(OrderStatus.RETURNED, MOVES if by_staff else OWNER_MOVES)
        out = self.out
        wrong = [
            Shortage(product_id=product_id, requested=quantity, available=available)
            for product_id, quantity in quantities.items()
            if quantity > (available := out.get(product_id, 0))
        ]
        if wrong:
            raise NotOut(wrong)
        lines = tuple(
            replace(line, returned=line.returned + quantities.get(line.product_id, 0))
            for line in self.lines
        )
        is_all_back = not any(line.out for line in lines)
        return replace(
            self,
            status=OrderStatus.RETURNED if is_all_back else self.status,
            lines=lines,
            version=self.version + 1,
            modified_at=at,
        )

    def check_version(self, expected: Collection[int] | None) -> None:
        """Raises `OrderChanged` unless it is one of the versions expected (None: any is)."""
        if expected is not None and self.version not in expected:
            raise OrderChanged

    def _check_move(
        self, to: OrderStatus, moves: Mapping[OrderStatus, tuple[OrderStatus, ...]]
    ) -> None:
        allowed = moves.get(self.status, ())
        if to not in allowed:
            raise MoveNotAllowed(status=self.status, to=to, allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """A line of an order's history: a move; or, from a status to the same, what else changed it."""

    id: int = 0
    """Its place in the history; 0 until a repository has stored it."""
    order_id: UUID
    from_status: OrderStatus
    to_status: OrderStatus
    actor_id: int | None
    note: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The answer to an order request."""

    order: Order
    created: bool
    """False when the order had been placed before by the same request."""
