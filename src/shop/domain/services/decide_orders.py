"""Deciding a batch of order requests: each all or nothing, with its stock, in one transaction."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from shop.domain.errors import (
    IdempotencyKeyReused,
    InvalidToken,
    OrderIdTaken,
    OutcomeUnknown,
    ShopError,
    StaleProducts,
    StockBusy,
    WriteConflict,
)
from shop.domain.events import Event
from shop.domain.orders import Order, OrderRequest, Placed, refusal_of
from shop.domain.ports import Batch, Clock, NewOrderCode, UnitOfWorkFactory
from shop.domain.stock import Reason, Shelf

COMMITTED_WITHIN = timedelta(seconds=10)
"""An order's COMMIT is sent within this time of its `created`: docs/api.md, for who polls by it."""


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

    async def __call__(
        self, requests: Sequence[OrderRequest], *, wait_for: Collection[int] | None = None
    ) -> list[Placed | ShopError]:
        """For `wait_for` see `BatchRepository.lock`.

        Besides refusals: `StockBusy` where a product is held by somebody else, `OutcomeUnknown` for
        an order whose COMMIT was lost, and `WriteConflict` for what was refused beside such an
        order. Raises `LockTimeout`.
        """
        try:
            return await self._decide_all(requests, wait_for)
        except StaleProducts:
            # Whoever changed a product while this batch waited for it is done with it. If another
            # one was as fast, that is a race lost like any other.
            return await self._decide_all(requests, wait_for)

    async def _decide_all(
        self, requests: Sequence[OrderRequest], wait_for: Collection[int] | None
    ) -> list[Placed | ShopError]:
        async with self.unit_of_work(batch=True) as uow:
            batch = await uow.batch.lock(
                order_ids={request.order_id for request in requests},
                product_ids={product for request in requests for product in request.wanted},
                user_ids={request.user_id for request in requests},
                wait_for=wait_for,
            )
            orders, shelf, now = dict(batch.orders), Shelf(batch.products), self.clock()
            answers = [self._decide(request, batch, orders, shelf, now) for request in requests]
            new = [order for order_id, order in orders.items() if order_id not in batch.orders]
            if new:
                await uow.batch.add(new, shelf.movements, products=batch.products)
                for order in new:
                    uow.record(_placed(order))
                if self.clock() - now > COMMITTED_WITHIN:
                    raise WriteConflict("It took too long; decide it again.")
                try:
                    await uow.commit()
                except OutcomeUnknown as unknown:
                    return [_undecided(answer, batch, unknown) for answer in answers]
        return answers

    def _decide(
        self,
        request: OrderRequest,
        batch: Batch,
        orders: dict[UUID, Order],
        shelf: Shelf,
        now: datetime,
    ) -> Placed | ShopError:
        """The answer; a new order is one of `orders` from then on."""
        if request.order_id in orders:
            return _repeated(request, orders[request.order_id])
        if request.user_id in batch.disabled:
            # Their access token lives on for its minutes, but changes nothing.
            return InvalidToken()
        for product_id in request.wanted if batch.busy else ():
            if product_id in batch.busy:
                return StockBusy(product_id)
        if refusal := refusal_of(request.items, request.wanted, shelf):
            return refusal
        order = Order.place(request, shelf.products, code=self.new_order_code(), at=now)
        if unexpected := order.refusal_unless(request.expected_total):
            return unexpected
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


def mark_lost(request: OrderRequest) -> OrderRequest:
    """The request to repeat when its COMMIT was lost."""
    return replace(request, lost=True)


def _repeated(request: OrderRequest, order: Order) -> Placed | ShopError:
    """The answer to a request whose id is an order's already."""
    if order.is_repeat(request):
        return Placed(order=order, created=request.lost)
    return IdempotencyKeyReused() if request.keyed else OrderIdTaken(request.order_id)


def _undecided(
    answer: Placed | ShopError, batch: Batch, unknown: OutcomeUnknown
) -> Placed | ShopError:
    """What an answer is worth when the COMMIT was lost.

    Only that of an order from before still holds. A refusal does not: it may have been for orders
    that were not placed either.
    """
    match answer:
        case Placed(created=True) if answer.order.id not in batch.orders:
            return unknown
        case Placed() if answer.order.id in batch.orders:
            return answer
        case StockBusy():
            return answer
        case _:
            return WriteConflict("Decide it again.")


def _placed(order: Order) -> Event:
    return Event(
        name="order.placed",
        about={"user": order.user_id, "order": order.id},
        security=False,
        pieces=sum(line.quantity for line in order.lines),
    )
