"""Cancelling an order: its stock comes back, exactly once."""

from uuid import UUID

from shop.domain.errors import StaffOnly
from shop.domain.orders import Order, OrderStatus
from shop.domain.ports import Audit, Clock, UnitOfWorkFactory
from shop.domain.services.move_order import audit_change, clean_note, event_of, give_back
from shop.domain.services.read_orders import check_visible
from shop.domain.stock import Reason
from shop.domain.users import Caller


class CancelOrder:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self, *, caller: Caller, order_id: UUID, restock: bool = True, note: str = ""
    ) -> Order:
        """The cancelled order; one that was cancelled before, as it is.

        Without `restock`, which is for staff, what comes back is written off. Raises
        `OrderNotFound` (also for somebody else's order), `MoveNotAllowed`, `StaffOnly`.
        """
        note = clean_note(note)
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            if not restock and not caller.is_staff:
                raise StaffOnly
            if order.status is OrderStatus.CANCELLED:
                return order
            cancelled = order.moved(
                OrderStatus.CANCELLED, at=self._clock(), by_staff=caller.is_staff
            )
            await uow.orders.save(cancelled)
            await uow.history.add(event_of(order, cancelled, caller, note))
            await give_back(
                uow.stock,
                order.out,
                Reason.CANCEL,
                order=cancelled,
                caller=caller,
                restock=restock,
                note=note,
            )
            await uow.commit()
        audit_change(self._audit, "order.cancelled", caller, cancelled)
        return cancelled
