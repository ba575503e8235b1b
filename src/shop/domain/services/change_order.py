"""What all changes of orders have in common: their notes, their history and their events."""

from uuid import UUID

from shop.domain.events import Event
from shop.domain.orders import HistoryEntry, Order, OrderItem
from shop.domain.ports import UnitOfWork
from shop.domain.services.check_user import require_active
from shop.domain.stock import NOTE_LENGTH_MAX
from shop.domain.text import clean
from shop.domain.users import Caller


def clean_note(note: str) -> str:
    return clean("note", note, length_max=NOTE_LENGTH_MAX)


def history_of(
    before: Order,
    after: Order,
    *,
    caller: Caller,
    note: str,
    returned: tuple[OrderItem, ...] = (),
) -> HistoryEntry:
    return HistoryEntry(
        order_id=after.id,
        from_status=before.status,
        to_status=after.status,
        actor_id=caller.actor_id,
        note=note,
        at=after.modified_at,
        returned=returned,
    )


def event_of(order: Order, *, name: str, caller: Caller) -> Event:
    """What staff do to orders is a security event; what owners do to their own is not."""
    return Event(name=name, by=caller, about={"order": order.id}, security=caller.is_staff)


# --- where nothing but the order changes: it needs no batch ---


async def lock_order(uow: UnitOfWork, order_id: UUID, caller: Caller) -> Order:
    """The order, which nobody else changes meanwhile. Raises `OrderNotFound`, `InvalidToken`."""
    order = await uow.orders.lock(order_id)
    await require_active(uow, caller)
    order.require_visible(caller)
    return order


async def record_change(
    uow: UnitOfWork, before: Order, after: Order, *, name: str, caller: Caller, note: str
) -> None:
    """Store the changed order, whose lines stay, the line of its history, and its event."""
    await uow.orders.save(after)
    await uow.history.add(history_of(before, after, caller=caller, note=note))
    uow.record(event_of(after, name=name, caller=caller))
