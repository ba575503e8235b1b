"""Moving an order along: paid, shipped, delivered."""

from collections.abc import Mapping
from uuid import UUID

from shop.domain.errors import PaymentReferenceTaken
from shop.domain.orders import (
    PAYMENT_REFERENCE_LENGTH_MAX,
    Order,
    OrderEvent,
    OrderStatus,
)
from shop.domain.ports import Audit, Clock, StockRepository, UnitOfWorkFactory
from shop.domain.services.read_orders import check_visible
from shop.domain.stock import NOTE_LENGTH_MAX, Reason, Shelf
from shop.domain.text import clean
from shop.domain.users import Caller


class MoveOrder:
    """Ship or deliver an order: a move that needs nothing but the order itself."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self, *, caller: Caller, order_id: UUID, to: OrderStatus, note: str = ""
    ) -> Order:
        """The moved order; one that is there already, as it is.

        Raises `OrderNotFound` and `MoveNotAllowed`.
        """
        note = clean_note(note)
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            if order.status is to:
                return order
            moved = order.moved(to, at=self._clock(), by_staff=caller.is_staff)
            await uow.orders.save(moved)
            await uow.history.add(event_of(order, moved, caller, note))
            await uow.commit()
        audit_change(self._audit, f"order.{to.value}", caller, moved)
        return moved


class PayOrder:
    """Record that an order is paid.

    The seam for a payment provider: it talks to the provider with no transaction open, since locks
    held during such a call would block all buyers, and calls this with the payment's reference.
    """

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self, *, caller: Caller, order_id: UUID, reference: str | None = None, note: str = ""
    ) -> Order:
        """The paid order; one paid before by the same payment, as it is by now.

        Providers tell of a payment more than once, and late. Raises `OrderNotFound`,
        `MoveNotAllowed`, and `PaymentReferenceTaken` when the order was paid by another payment, or
        the payment was for another order.
        """
        note = clean_note(note)
        if reference is not None:
            reference = clean(
                "reference", reference, length_min=1, length_max=PAYMENT_REFERENCE_LENGTH_MAX
            )
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            if reference is not None and reference == order.payment_reference:
                return order
            if order.status is OrderStatus.PAID:
                if reference is not None:
                    raise PaymentReferenceTaken(reference)
                return order
            paid = order.paid(reference=reference, at=self._clock(), by_staff=caller.is_staff)
            await uow.orders.save(paid)
            await uow.history.add(event_of(order, paid, caller, note))
            await uow.commit()
        audit_change(self._audit, "order.paid", caller, paid)
        return paid


def clean_note(note: str) -> str:
    return clean("note", note, length_max=NOTE_LENGTH_MAX)


def event_of(before: Order, after: Order, caller: Caller, note: str) -> OrderEvent:
    """What the history says of a change."""
    return OrderEvent(
        order_id=after.id,
        from_status=before.status,
        to_status=after.status,
        actor_id=caller.actor_id,
        note=note,
        at=after.modified_at,
    )


async def give_back(
    stock: StockRepository,
    quantities: Mapping[int, int],
    reason: Reason,
    *,
    order: Order,
    caller: Caller,
    restock: bool,
    note: str,
) -> None:
    """Put back what the changed order gave up, last of all: who buys it waits for the lock."""
    shelf = Shelf(await stock.lock(quantities))
    shelf.give_back(
        quantities,
        reason,
        restock=restock,
        at=order.modified_at,
        actor_id=caller.actor_id,
        order_id=order.id,
        note=note,
    )
    await stock.record(shelf.movements)


def audit_change(audit: Audit, event: str, caller: Caller, order: Order) -> None:
    """What staff do to orders is a security event; what owners do to their own is not."""
    if caller.is_staff:
        audit(event, user=caller.actor_id, order=str(order.id))
