"""The books of a batch: what its requests are decided on, one by one, and what has come of it.

A change is queued by the intake like an order, and decided when its turn comes: what it needs is
locked by then, so deciding asks nobody and waits for nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from shop.domain.errors import (
    InvalidToken,
    KeyBusy,
    OrderBusy,
    OrderNotFound,
    ShopError,
    StockBusy,
)
from shop.domain.events import Event
from shop.domain.keys import KeyedAnswer, KeyedRequest
from shop.domain.orders import HistoryEntry, Order, OrderItem
from shop.domain.ports import Batch, Changes
from shop.domain.services.change_order import event_of, history_of
from shop.domain.services.check_user import may_change
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(ABC, Generic[T_co]):
    """A request to change an order or a stock, as the intake queues it."""

    caller: Caller
    order_id: UUID | None = None
    """The order that it changes, if any: it will be locked, and the stock of what is on it."""
    key: KeyedRequest | None = None

    @property
    def product_ids(self) -> Collection[int]:
        """What else is to be locked."""
        return ()

    @abstractmethod
    def decide(self, books: "Books") -> T_co:
        """What the use case returns, or raises."""


class ChangeIntake(Protocol):
    """Makes one change among others: raises what `decide` does, `OutcomeUnknown`, `Unavailable`."""

    def __call__(self, request: Change[T], /) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    before: Order
    entry: HistoryEntry


class Books:
    """A refused request leaves no trace in them."""

    def __init__(self, batch: Batch, now: datetime) -> None:
        self.batch, self.now = batch, now
        self.orders = dict(batch.orders)
        self.shelf = Shelf(batch.products)
        self.events: list[Event] = []
        self._changed: list[_Changed] = []
        self._stored = dict(batch.answers)
        self._answers: list[KeyedAnswer] = []

    # --- for who decides ---

    def decide(self, change: Change[T]) -> T:
        """Raises what refuses it, or `Busy`, and what `KeyedRequest.check` does for its key."""
        key = change.key
        if key is not None:
            key.check(self._stored.get(key.place))
            if key.place not in self.batch.claimed:
                raise KeyBusy(key.place)
        moved, changed, told = len(self.shelf.movements), len(self._changed), len(self.events)
        try:
            answer = change.decide(self)
        except ShopError:
            self.shelf.take_back(moved)
            for each in reversed(self._changed[changed:]):
                self.orders[each.before.id] = each.before
            del self._changed[changed:], self.events[told:]
            raise
        if key is not None:
            self._stored[key.place] = answered = key.answered(answer)
            self._answers.append(answered)
        return answer

    @property
    def new_orders(self) -> list[Order]:
        return [
            order for order_id, order in self.orders.items() if order_id not in self.batch.orders
        ]

    @property
    def has_entries(self) -> bool:
        """Whether there is something to write."""
        return bool(self.shelf.movements or self._changed or self._answers)

    @property
    def changes(self) -> Changes | None:
        """What is to be written besides new orders and movements, if anything is."""
        if not (self._changed or self.batch.claimed):
            return None
        ids = dict.fromkeys(each.before.id for each in self._changed)
        before = self.batch.orders
        orders = [self.orders[order_id] for order_id in ids if order_id in before]
        return Changes(
            orders=orders,
            relined=[order for order in orders if order.lines != before[order.id].lines],
            history=[each.entry for each in self._changed],
            answers=self._answers,
            unused=set(self.batch.claimed) - {answer.place for answer in self._answers},
        )

    # --- for what is decided ---

    def order_for(self, caller: Caller, order_id: UUID) -> Order:
        """The order, which nobody else changes meanwhile.

        Raises `OrderNotFound`, `InvalidToken`, and `OrderBusy`.
        """
        if order_id in self.batch.busy_orders:
            raise OrderBusy(order_id)
        order = self.orders.get(order_id)
        if order is None:
            raise OrderNotFound(order_id)
        self.require_active(caller)
        order.require_visible(caller)
        return order

    def require_active(self, caller: Caller) -> None:
        """As `check_user.require_active` does."""
        role = self.batch.roles.get(caller.actor_id or 0)
        disabled = caller.actor_id in self.batch.disabled
        if role is not None and not may_change(caller, role=role, disabled=disabled):
            raise InvalidToken

    def shelf_with(self, product_ids: Collection[int]) -> Shelf:
        """The shelf, with the stock of these products if there are such. Raises `StockBusy`."""
        for product_id in product_ids if self.batch.busy else ():
            if product_id in self.batch.busy:
                raise StockBusy(product_id)
        return self.shelf

    def change_order(
        self,
        before: Order,
        after: Order,
        *,
        name: str,
        caller: Caller,
        note: str,
        returned: tuple[OrderItem, ...] = (),
    ) -> None:
        """Enter the changed order, the line of its history, and the event of that name."""
        entry = history_of(before, after, caller=caller, note=note, returned=returned)
        self.orders[after.id] = after
        self._changed.append(_Changed(before=before, entry=entry))
        self.events.append(event_of(after, name=name, caller=caller))

    def give_back(
        self,
        quantities: Mapping[int, int],
        reason: Reason,
        *,
        order: Order,
        caller: Caller,
        restock: bool,
        note: str,
    ) -> None:
        """Put back what the changed order gave up. Raises `StockBusy`."""
        self.shelf_with(quantities).give_back(
            quantities,
            reason,
            restock=restock,
            at=order.modified_at,
            actor_id=caller.actor_id,
            order_id=order.id,
            note=note,
        )
