"""Taking an order back, whole or in part."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderItem, OrderStatus, add_up
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.change_order import clean_note, give_back, lock_order, record_change
from shop.domain.services.retrying import retrying
from shop.domain.stock import Reason
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class ReturnOrder:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: Sequence[OrderItem] | None = None,
        restock: bool = True,
        note: str = "",
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Order:
        """The order without what came back, which is all that is out when no items are named.

        It is `returned` when nothing is out any more; taking back all of a returned order again
        answers with it as it is. Without `restock`, what comes back is written off. Raises
        `StaffOnly`, `OrderNotFound`, `TransitionNotAllowed`, `NotOut`, `OrderChanged`,
        `InvalidField`.
        """
        caller.require_staff()
        note = clean_note(note)
        wanted = None if items is None else add_up(items)
        async with self.unit_of_work(key=key) as uow:
            order = await lock_order(uow, order_id, caller)
            if wanted is None and order.status is OrderStatus.RETURNED:
                await uow.commit(order)
                return order
            order.check_version(expected_versions)
            quantities = order.out if wanted is None else wanted
            after = order.given_back(quantities, at=self.clock())
            await record_change(
                uow,
                order,
                after,
                name="order.returned",
                caller=caller,
                note=note or _summary(quantities),
                returned=tuple(
                    OrderItem(product_id=product_id, quantity=quantity)
                    for product_id, quantity in quantities.items()
                ),
            )
            await give_back(
                uow,
                quantities,
                Reason.RETURN,
                order=after,
                caller=caller,
                restock=restock,
                note=note,
            )
            await uow.commit(after)
        return after


def _summary(quantities: dict[int, int]) -> str:
    """What came back, as far as a note has room for it."""
    parts = [f"{quantity} of product {product}" for product, quantity in quantities.items()]
    return f"returned {', '.join(parts[:3])}" + (", and more" if len(parts) > 3 else "")
