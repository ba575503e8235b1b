"""Cancelling an order: its stock comes back, exactly once."""

from dataclasses import dataclass
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderStatus
from shop.domain.services.books import Books, Change, ChangeIntake
from shop.domain.services.change_order import clean_note
from shop.domain.stock import Reason
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class CancelOrder:
    intake: ChangeIntake

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
        return await self.intake(
            Cancellation(
                caller=caller,
                order_id=order_id,
                restock=restock,
                unpaid_only=unpaid_only,
                note=clean_note(note),
                key=key,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation(Change[Order]):
    order_id: UUID
    restock: bool
    unpaid_only: bool
    note: str

    def decide(self, books: Books) -> Order:
        caller = self.caller
        order = books.order_for(caller, self.order_id)
        if not self.restock:
            caller.require_staff()
        if order.status is OrderStatus.CANCELLED:
            return order
        cancelled = order.advanced(
            OrderStatus.CANCELLED,
            at=books.now,
            by_staff=caller.is_staff and not self.unpaid_only,
        )
        books.change_order(order, cancelled, name="order.cancelled", caller=caller, note=self.note)
        books.give_back(
            order.out,
            Reason.CANCEL,
            order=cancelled,
            caller=caller,
            restock=self.restock,
            note=self.note,
        )
        return cancelled
