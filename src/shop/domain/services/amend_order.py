"""Amending an order: other lines, with the stock moved by the difference, all or nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderItem, add_up, refusal_of
from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.services.change_order import lock_order, record_change
from shop.domain.services.retrying import retrying
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class AmendOrder:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: tuple[OrderItem, ...],
        expected_total: Decimal | None = None,
        expected_versions: Collection[int] | None = None,
        key: KeyedRequest | None = None,
    ) -> Order:
        """The order with these lines in place of its own.

        Pieces that were on it keep their price, those that are added have today's; what is taken
        away are those that were added last. Lines that change nothing leave the order as it is. It
        comes to `expected_total`, if that is given. Raises `OrderNotFound`, `NotAmendable`,
        `OrderChanged`, `OutOfStock`, `PriceChanged`, `InvalidFields`.
        """
        wanted = add_up(items)
        async with self.unit_of_work(key=key) as uow:
            order = await lock_order(uow, order_id, caller)
            order.check_version(expected_versions)
            order.check_amendable()
            held = order.out
            if wanted == held:
                if unexpected := order.refusal_unless(expected_total):
                    raise unexpected
                await uow.commit(order)
                return order
            shelf = Shelf(await uow.stock.lock({*wanted, *held}))
            if refusal := refusal_of(items, wanted, shelf, held=held):
                raise refusal
            amended = order.amended(wanted, shelf.products, at=self.clock())
            if unexpected := amended.refusal_unless(expected_total):
                raise unexpected
            for product_id in {**held, **wanted}:
                change = held.get(product_id, 0) - wanted.get(product_id, 0)
                if change:
                    shelf.move(
                        product_id,
                        change,
                        Reason.AMEND,
                        at=amended.modified_at,
                        actor_id=caller.actor_id,
                        order_id=order.id,
                    )
            await record_change(
                uow, order, amended, name="order.amended", caller=caller, note="amended"
            )
            await uow.stock.record(shelf.movements)
            await uow.commit(amended)
        return amended
