"""Cancelling an order: its stock comes back, exactly once."""

from uuid import UUID

from shop.domain.orders import Order, OrderStatus
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.read_orders import check_visible
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller


class CancelOrder:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    async def __call__(self, *, caller: Caller, order_id: UUID) -> Order:
        """The cancelled order; one that was cancelled before, as it is.

        Raises `OrderNotFound` (also for somebody else's order) and `MoveNotAllowed`.
        """
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            if order.status is OrderStatus.CANCELLED:
                return order
            now = self._clock()
            cancelled = order.moved(OrderStatus.CANCELLED, at=now, by_staff=caller.is_staff)
            shelf = Shelf(await uow.stock.lock({line.product_id for line in order.lines}))
            for line in order.lines:
                shelf.move(
                    line.product_id,
                    line.quantity,
                    Reason.CANCEL,
                    at=now,
                    actor_id=caller.user_id,
                    order_id=order.id,
                )
            await uow.orders.save_status(cancelled)
            await uow.stock.record(shelf.movements)
            await uow.commit()
        return cancelled
