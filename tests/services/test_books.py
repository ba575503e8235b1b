"""What is refused after a part of it was done leaves no trace in its batch."""

from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from shop.domain.errors import Conflict
from shop.domain.orders import Order, OrderStatus
from shop.domain.ports import Batch
from shop.domain.services.books import Books, Change
from shop.domain.stock import Reason
from shop.domain.users import OPERATOR
from tests.builders import NOON, order, order_id, order_line, product


@dataclass(frozen=True, slots=True, kw_only=True)
class Indecisive(Change[None]):
    """Sells and cancels, and then thinks better of it."""

    order_id: UUID
    then: type[Exception] | None = Conflict

    def decide(self, books: Books) -> None:
        before = books.order_for(self.caller, self.order_id)
        after = replace(before, status=OrderStatus.CANCELLED, version=before.version + 1)
        books.change_order(before, after, name="x", caller=self.caller, note="")
        books.shelf.move(1, -3, Reason.CORRECTION, at=NOON)
        books.shelf.move(1, +1, Reason.CORRECTION, at=NOON)
        if self.then is not None:
            raise self.then("after all")


def opened() -> tuple[Books, Order]:
    tea = replace(product(1), stock=9)
    sold = order(1, lines=(order_line(tea.id),))
    return Books(Batch(orders={sold.id: sold}, products={tea.id: tea}), NOON), sold


def test_a_refusal_undoes_what_was_entered_before_it() -> None:
    books, sold = opened()
    assert books.decide(Indecisive(caller=OPERATOR, order_id=sold.id, then=None)) is None
    amended = books.orders[sold.id]
    entered = (list(books.events), list(books.shelf.movements), books.changes)
    with pytest.raises(Conflict):
        books.decide(Indecisive(caller=OPERATOR, order_id=order_id(1)))
    assert books.orders == {sold.id: amended}
    assert amended.version == 2
    assert books.shelf.on_hand(1) == 7
    assert (books.events, books.shelf.movements, books.changes) == entered


def test_nothing_entered_is_nothing_to_write() -> None:
    books, sold = opened()
    with pytest.raises(Conflict):
        books.decide(Indecisive(caller=OPERATOR, order_id=sold.id))
    assert not books.has_entries
    assert books.changes is None
    assert books.orders == {sold.id: sold}
