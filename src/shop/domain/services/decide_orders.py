"""Deciding a batch of order requests: each all or nothing, with its stock, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shop.domain.errors import (
    IdempotencyKeyReused,
    InvalidFields,
    OrderIdTaken,
    OutOfStock,
    ShopError,
)
from shop.domain.events import Event
from shop.domain.orders import Order, OrderRequest, Placed, refusal_of
from shop.domain.ports import BatchRepository, Clock, NewOrderCode, UnitOfWorkFactory
from shop.domain.stock import Reason, Shelf


@dataclass(frozen=True, kw_only=True)
class DecideOrders:
    """The intake hands it what `PlaceOrder` asked for; requests are decided in arrival order.

    The answer to each request is its order or the error that refuses it: here errors are handed
    back instead of raised, so that one refusal does not undo its neighbours. When the batch fails
    as a whole the exception is raised and nothing was placed.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    new_order_code: NewOrderCode

    async def __call__(self, requests: Sequence[OrderRequest]) -> list[Placed | ShopError]:
        async with self.unit_of_work(batch=True) as uow:
            known, products = await uow.batch.lock(
                order_ids={request.order_id for request in requests},
                product_ids={product for request in requests for product in request.wanted},
            )
            orders, shelf, now = dict(known), Shelf(products), self.clock()
            answers = [self._decide(request, orders, shelf, now) for request in requests]
            answers = await _look_again(uow.batch, requests, answers)
            created = [a.order for a in answers if isinstance(a, Placed) and a.created]
            if created:
                await uow.batch.add(created, shelf.movements)
                for order in created:
                    uow.record(_placed(order))
                await uow.commit()
        return answers

    def _decide(
        self, request: OrderRequest, orders: dict[UUID, Order], shelf: Shelf, now: datetime
    ) -> Placed | ShopError:
        """The answer; a new order is one of `orders` from then on."""
        if request.order_id in orders:
            return _repeated(request, orders[request.order_id])
        if refusal := refusal_of(request.items, request.wanted, shelf):
            return refusal
        order = Order.place(request, shelf.products, code=self.new_order_code(), at=now)
        for product_id, quantity in request.wanted.items():
            shelf.move(
                product_id,
                -quantity,
                Reason.ORDER,
                at=now,
                actor_id=order.user_id,
                order_id=order.id,
            )
        orders[order.id] = order
        return Placed(order=order, created=True)


def _repeated(request: OrderRequest, order: Order) -> Placed | ShopError:
    """The answer to a request whose id is an order's already."""
    if order.is_repeat(request):
        return Placed(order=order, created=False)
    return IdempotencyKeyReused() if request.keyed else OrderIdTaken(request.order_id)


def _placed(order: Order) -> Event:
    return Event(
        name="order.placed", about={"user": order.user_id, "order": order.id}, security=False
    )


async def _look_again(
    batch: BatchRepository,
    requests: Sequence[OrderRequest],
    answers: Sequence[Placed | ShopError],
) -> list[Placed | ShopError]:
    """The answers, but no refusal of an order that was placed while its repeat waited for locks.

    A store may look for orders before that wait and at the stock after it: the repeat finds no
    order, and an empty shelf since its own order took the last pieces. Now nobody else can place
    it. Those that are not refused need no second look: no order can be stored twice.
    """
    refused = {
        request.order_id
        for request, answer in zip(requests, answers, strict=True)
        if isinstance(answer, OutOfStock | InvalidFields)
    }
    placed = (await batch.lock(order_ids=refused, product_ids=()))[0] if refused else {}
    return [
        _repeated(request, placed[request.order_id]) if request.order_id in placed else answer
        for request, answer in zip(requests, answers, strict=True)
    ]
