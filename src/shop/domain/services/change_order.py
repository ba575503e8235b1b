"""What all changes of an order have in common: finding it, recording them, giving stock back."""

from collections.abc import Mapping
from uuid import UUID

from shop.domain.events import Event
from shop.domain.orders import HistoryEntry, Order, OrderItem
from shop.domain.ports import UnitOfWork
from shop.domain.services.check_user import require_active
from shop.domain.stock import NOTE_LENGTH_MAX, Reason, Shelf
from shop.domain.text import clean
from shop.domain.users import Caller


def clean_note(note: str) -> str:
    return clean("note", note, length_max=NOTE_LENGTH_MAX)


async def lock_order(uow: UnitOfWork, order_id: UUID, caller: Caller) -> Order:
    """The order, which nobody else changes meanwhile. Raises `OrderNotFound`, `InvalidToken`."""
    order = await uow.orders.lock(order_id)
    await require_active(uow, caller)
    order.require_visible(caller)
    return order


async def record_change(
    uow: UnitOfWork,
    before: Order,
    after: Order,
    *,
    name: str,
    caller: Caller,
    note: str,
    returned: tuple[OrderItem, ...] = (),
) -> None:
    """Store the changed order, the line of its history, and the event of that name.

    What staff do to orders is a security event; what owners do to their own is not.
    """
    await uow.orders.save(after)
    if after.lines != before.lines:
        await uow.orders.save_lines(after)
    await uow.history.add(
        HistoryEntry(
            order_id=after.id,
            from_status=before.status,
            to_status=after.status,
            actor_id=caller.actor_id,
            note=note,
            at=after.modified_at,
            returned=returned,
        )
    )
    uow.record(Event(name=name, by=caller, about={"order": after.id}, security=caller.is_staff))


async def give_back(
    uow: UnitOfWork,
    quantities: Mapping[int, int],
    reason: Reason,
    *,
    order: Order,
    caller: Caller,
    restock: bool,
    note: str,
) -> None:
    """Put back what the changed order gave up, last of all: who buys it waits for the lock."""
    shelf = Shelf(await uow.stock.lock(quantities))
    shelf.give_back(
        quantities,
        reason,
        restock=restock,
        at=order.modified_at,
        actor_id=caller.actor_id,
        order_id=order.id,
        note=note,
    )
    await uow.stock.record(shelf.movements)
