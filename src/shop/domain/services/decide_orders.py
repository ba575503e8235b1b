"""Deciding a batch of orders and changes in one transaction, each all or nothing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from shop.domain.errors import (
    AlreadyDone,
    Busy,
    IdempotencyKeyReused,
    InvalidToken,
    OrderIdTaken,
    OutcomeUnknown,
    Overloaded,
    ShopError,
    StaleProducts,
    StockBusy,
    WriteConflict,
)
from shop.domain.events import Event
from shop.domain.keys import Place
from shop.domain.orders import Order, OrderRequest, Placed, refusal_of
from shop.domain.ports import Batch, Clock, NewOrderCode, UnitOfWork, UnitOfWorkFactory
from shop.domain.services.books import Books, Change
from shop.domain.stock import Reason

COMMITTED_WITHIN = timedelta(seconds=10)
"""An order's COMMIT is sent within this time of its `created`: docs/api.md, for who polls by it."""

Request: TypeAlias = OrderRequest | Change[Any]
Answer: TypeAlias = Any
"""Of an order request a `Placed`, of a change what its use case returns; or what refuses it."""
WaitFor: TypeAlias = Collection[int | UUID | Place] | None
StillWanted = Callable[[], Sequence[bool]]
"""Asked when all is locked: whose callers have not given up. Who gives up later is served all the
same."""

_GIVEN_UP = Overloaded("Its caller has given up; nothing was done.")


@dataclass(frozen=True, kw_only=True)
class DecideOrders:
    """The intake hands it what use cases asked for; requests are decided in arrival order.

    They are orders and changes of orders and stock. The answer to each is what its use case returns
    or the error that refuses it: here errors are handed back instead of raised, so that one refusal
    does not undo its neighbours. When the batch fails as a whole the exception is raised and
    nothing was done.
    """

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    new_order_code: NewOrderCode

    async def __call__(
        self,
        requests: Sequence[Request],
        *,
        wait_for: WaitFor = None,
        still_wanted: StillWanted | None = None,
    ) -> list[Answer]:
        """For `wait_for` see `BatchRepository.lock`; None of `still_wanted` says that all are.

        Besides refusals: `Busy` where somebody else holds what is needed, `OutcomeUnknown` for what
        was done if its COMMIT was, which is lost, and `WriteConflict` for what was refused beside
        it. Raises `LockTimeout`.
        """
        try:
            return await self._decide_all(requests, wait_for, still_wanted)
        except StaleProducts as stale:
            # Whoever changed a product while this batch waited for it is done with it. Others may
            # wait to do so as well, so it is read again when nobody can.
            return await self._decide_all(requests, wait_for, still_wanted, hold=stale.product_ids)

    async def _decide_all(
        self,
        requests: Sequence[Request],
        wait_for: WaitFor,
        still_wanted: StillWanted | None,
        *,
        hold: Collection[int] = (),
    ) -> list[Answer]:
        """What is to `hold` is locked before it is read, and so before keys and orders, which
        nobody waits for while they hold stock."""
        async with self.unit_of_work(batch=True) as uow:
            if hold:
                await uow.batch.lock(order_ids=[], product_ids=hold, user_ids=[], wait_for=wait_for)
            books = await self._open_books(uow, requests, wait_for)
            wanted = [True] * len(requests) if still_wanted is None else still_wanted()
            answers = [
                self._decide(request, books) if is_wanted else _GIVEN_UP
                for request, is_wanted in zip(requests, wanted, strict=True)
            ]
            if books.has_entries:
                new = books.new_orders
                await uow.batch.add(
                    new,
                    books.shelf.movements,
                    products=books.batch.products,
                    changes=books.changes,
                )
                for event in books.events:
                    uow.record(event)
                if new and self.clock() - books.now > COMMITTED_WITHIN:
                    raise WriteConflict("It took too long; decide it again.")
                try:
                    await uow.commit()
                except OutcomeUnknown as unknown:
                    return [_undecided(answer, books.batch, unknown) for answer in answers]
        return answers

    async def _open_books(
        self,
        uow: UnitOfWork,
        requests: Sequence[Request],
        wait_for: WaitFor,
    ) -> Books:
        """With what the requests need locked, as far as nobody else holds it."""
        orders = [request for request in requests if isinstance(request, OrderRequest)]
        products = {product for order in orders for product in order.wanted}
        users = {order.user_id for order in orders}
        if len(orders) == len(requests):
            batch = await uow.batch.lock(
                order_ids={order.order_id for order in orders},
                product_ids=products,
                user_ids=users,
                wait_for=wait_for,
            )
            return Books(batch, self.clock())
        changes = [request for request in requests if isinstance(request, Change)]
        batch = await uow.batch.lock(
            order_ids={order.order_id for order in orders},
            product_ids=products.union(*(change.product_ids for change in changes)),
            user_ids=users | {change.caller.user_id for change in changes},
            changing={change.order_id for change in changes if change.order_id is not None},
            keys=[change.key for change in changes if change.key is not None],
            wait_for=wait_for,
        )
        return Books(batch, self.clock())

    def _decide(self, request: Request, books: Books) -> Answer:
        if isinstance(request, OrderRequest):
            return self._place(request, books)
        try:
            return books.decide(request)
        except (ShopError, AlreadyDone) as refusal:
            return refusal

    def _place(self, request: OrderRequest, books: Books) -> Placed | ShopError:
        """The answer; a new order is in the books from then on."""
        batch, orders, shelf, now = books.batch, books.orders, books.shelf, books.now
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
        books.events.append(_placed(order))
        return Placed(order=order, created=True)


def mark_lost(request: Request) -> Request | None:
    """The request to repeat when its COMMIT was lost; None of a change, which has no id.

    Who made it under a key repeats it by themselves, and is answered with what was done.
    """
    return replace(request, lost=True) if isinstance(request, OrderRequest) else None


def _repeated(request: OrderRequest, order: Order) -> Placed | ShopError:
    """The answer to a request whose id is an order's already."""
    if order.is_repeat(request):
        return Placed(order=order, created=request.lost)
    return IdempotencyKeyReused() if request.keyed else OrderIdTaken(request.order_id)


def _undecided(answer: Answer, batch: Batch, unknown: OutcomeUnknown) -> Answer:
    """What an answer is worth when the COMMIT was lost.

    Only that of an order from before still holds. A refusal does not: it may have been for what was
    not done either.
    """
    match answer:
        case Placed() if answer.order is batch.orders.get(answer.order.id):
            return answer
        case Busy():
            return answer
        case Placed(created=False) | Exception():
            return WriteConflict("Decide it again.")
        case _:
            return unknown


def _placed(order: Order) -> Event:
    return Event(
        name="order.placed",
        about={"user": order.user_id, "order": order.id},
        security=False,
        pieces=sum(line.quantity for line in order.lines),
    )
