"""Taking an order back, whole or in part."""

from collections.abc import Collection, Sequence
from uuid import UUID

from shop.domain.orders import Order, OrderItem, OrderStatus, add_up
from shop.domain.ports import Audit, Clock, UnitOfWorkFactory
from shop.domain.services.move_order import audit_change, clean_note, event_of, give_back
from shop.domain.services.read_orders import check_visible
from shop.domain.stock import Reason
from shop.domain.users import Caller


class ReturnOrder:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: Sequence[OrderItem] | None = None,
        restock: bool = True,
        note: str = "",
        expected_versions: Collection[int] | None = None,
    ) -> Order:
        """The order without what came back, which is all that is out when no items are named.

        It is `returned` when nothing is out any more; taking back all of a returned order again
        answers with it as it is. Without `restock`, what comes back is written off. Raises
        `OrderNotFound`, `MoveNotAllowed`, `NotOut`, `OrderChanged`, `InvalidField`.
        """
        note = clean_note(note)
        wanted = None if items is None else add_up(items)
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            if wanted is None and order.status is OrderStatus.RETURNED:
                return order
            order.check_version(expected_versions)
            quantities = order.out if wanted is None else wanted
            after = order.given_back(quantities, at=self._clock(), by_staff=caller.is_staff)
            await uow.orders.save(after)
            await uow.orders.save_lines(after)
            await uow.history.add(event_of(order, after, caller, note or _summary(quantities)))
            await give_back(
                uow.stock,
                quantities,
                Reason.RETURN,
                order=after,
                caller=caller,
                restock=restock,
                note=note,
            )
            await uow.commit()
        audit_change(self._audit, "order.returned", caller, after)
        return after


def _summary(quantities: dict[int, int]) -> str:
    """What came back, as far as a note has room for it."""
    parts = [f"{quantity} of product {product}" for product, quantity in quantities.items()]
    return f"returned {', '.join(parts[:3])}" + (", and more" if len(parts) > 3 else "")
