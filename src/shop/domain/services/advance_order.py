"""Advancing an order to its next status: paid, shipped, delivered."""

from dataclasses import dataclass
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import PAYMENT_REFERENCE_LENGTH_MAX, Order, OrderStatus
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.change_order import clean_note, lock_order, record_change
from shop.domain.services.retrying import retrying
from shop.domain.text import clean
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class AdvanceOrder:
    """Ship or deliver an order: a step that needs nothing but the order itself."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        to: OrderStatus,
        note: str = "",
        key: KeyedRequest | None = None,
    ) -> Order:
        """The order in its new status; one that has it already, as it is.

        Raises `StaffOnly`, `OrderNotFound` and `TransitionNotAllowed`.
        """
        caller.require_staff()
        note = clean_note(note)
        async with self.unit_of_work(key=key) as uow:
            order = await lock_order(uow, order_id, caller)
            if order.status is to:
                await uow.commit(order)
                return order
            advanced = order.advanced(to, at=self.clock())
            await record_change(
                uow, order, advanced, name=f"order.{to.value}", caller=caller, note=note
            )
            await uow.commit(advanced)
        return advanced


@dataclass(frozen=True, kw_only=True)
class PayOrder:
    """Record that an order is paid.

    The seam for a payment provider: it talks to the provider with no transaction open, since locks
    held during such a call would block all buyers, and calls this with the payment's reference.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        reference: str | None = None,
        note: str = "",
        key: KeyedRequest | None = None,
    ) -> Order:
        """The paid order; one paid before by the same payment, as it is by now.

        Providers tell of a payment more than once, and late. Raises `StaffOnly`, `OrderNotFound`,
        `TransitionNotAllowed`, and `PaymentReferenceTaken` when the order was paid by another
        payment, or the payment was for another order.
        """
        caller.require_staff()
        note = clean_note(note)
        if reference is not None:
            reference = clean(
                "reference", reference, length_min=1, length_max=PAYMENT_REFERENCE_LENGTH_MAX
            )
        async with self.unit_of_work(key=key) as uow:
            order = await lock_order(uow, order_id, caller)
            if order.is_paid_by(reference):
                await uow.commit(order)
                return order
            paid = order.paid(reference=reference, at=self.clock())
            await record_change(uow, order, paid, name="order.paid", caller=caller, note=note)
            await uow.commit(paid)
        return paid
