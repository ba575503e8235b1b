"""Cancelling an order: its stock comes back, exactly once."""

from dataclasses import dataclass
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderStatus
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.change_order import clean_note, give_back, lock_order, record_change
from shop.domain.services.retrying import retrying
from shop.domain.stock import Reason
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class CancelOrder:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        restock: bool = True,
        unpaid_only: bool = False,
        note: str = "",
        key: KeyedRequest | None = None,
    ) -> Order:
        """The cancelled order; one that was cancelled before, as it is.

        Without `restock`, which is for staff, what comes back is written off; with `unpaid_only`
        a paid order is refused to staff, too. Raises `OrderNotFound` (also for somebody else's
        order), `TransitionNotAllowed`, `StaffOnly`.
        """
        note = clean_note(note)
        async with self.unit_of_work(key=key) as uow:
            order = await lock_order(uow, order_id, caller)
            if not restock:
                caller.require_staff()
            if order.status is OrderStatus.CANCELLED:
                await uow.commit(order)
                return order
            cancelled = order.advanced(
                OrderStatus.CANCELLED,
                at=self.clock(),
                by_staff=caller.is_staff and not unpaid_only,
            )
            await record_change(
                uow, order, cancelled, name="order.cancelled", caller=caller, note=note
            )
            await give_back(
                uow,
                order.out,
                Reason.CANCEL,
                order=cancelled,
                caller=caller,
                restock=restock,
                note=note,
            )
            await uow.commit(cancelled)
        return cancelled
