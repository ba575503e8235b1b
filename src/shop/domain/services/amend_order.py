"""Amending an order: other lines, with the stock moved by the difference, all or nothing."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from shop.domain.errors import OutOfStock, Shortage
from shop.domain.orders import Order, OrderItem, OrderLine, add_up, no_such_product
from shop.domain.ports import Audit, Clock, UnitOfWorkFactory
from shop.domain.products import Product
from shop.domain.services.move_order import audit_change, event_of
from shop.domain.services.read_orders import check_visible
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller


class AmendOrder:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(
        self,
        *,
        caller: Caller,
        order_id: UUID,
        items: tuple[OrderItem, ...],
        expected_versions: Collection[int] | None = None,
    ) -> Order:
        """The order with these lines in place of its own.

        A product that was on it keeps its price, a new one has today's. Lines that change nothing
        leave the order as it is. Raises `OrderNotFound`, `NotAmendable`, `OrderChanged`,
        `OutOfStock`, `InvalidFields`.
        """
        wanted = add_up(items)
        async with self._unit_of_work() as uow:
            order = await uow.orders.lock(order_id)
            check_visible(order, caller)
            order.check_version(expected_versions)
            order.check_amendable()
            held = order.out
            if wanted == held:
                return order
            shelf = Shelf(await uow.stock.lock({*wanted, *held}))
            _check_for_sale(items, wanted, held, shelf.products)
            _check_stock(wanted, held, shelf)
            now = self._clock()
            amended = order.amended(_lines(wanted, order, shelf.products), at=now)
            for product_id in {**held, **wanted}:
                change = held.get(product_id, 0) - wanted.get(product_id, 0)
                if change:
                    shelf.move(
                        product_id,
                        change,
                        Reason.AMEND,
                        at=now,
                        actor_id=caller.actor_id,
                        order_id=order.id,
                    )
            await uow.orders.save(amended)
            await uow.orders.save_lines(amended)
            await uow.history.add(event_of(order, amended, caller, "amended"))
            await uow.stock.record(shelf.movements)
            await uow.commit()
        audit_change(self._audit, "order.amended", caller, amended)
        return amended


def _check_for_sale(
    items: Sequence[OrderItem],
    wanted: Mapping[int, int],
    held: Mapping[int, int],
    products: Mapping[int, Product],
) -> None:
    """What is archived may stay on the order, but no more of it may come to it."""
    missing = {
        product_id
        for product_id, quantity in wanted.items()
        if quantity > held.get(product_id, 0)
        and (product_id not in products or products[product_id].archived)
    }
    if missing:
        raise no_such_product(items, missing)


def _check_stock(wanted: Mapping[int, int], held: Mapping[int, int], shelf: Shelf) -> None:
    """What the order holds is there for it, beside what is on the shelf."""
    shortages = [
        Shortage(product_id=product_id, requested=quantity, available=available)
        for product_id, quantity in wanted.items()
        if quantity > (available := shelf.on_hand(product_id) + held.get(product_id, 0))
    ]
    if shortages:
        raise OutOfStock(shortages)


def _lines(
    wanted: Mapping[int, int], order: Order, products: Mapping[int, Product]
) -> tuple[OrderLine, ...]:
    kept = {line.product_id: line for line in order.lines}
    return tuple(
        OrderLine(
            product_id=product_id,
            name=kept[product_id].name if product_id in kept else products[product_id].name,
            price=kept[product_id].price if product_id in kept else products[product_id].price,
            quantity=quantity,
        )
        for product_id, quantity in wanted.items()
    )
