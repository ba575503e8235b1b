"""Placing orders: all or nothing, with stock deducted in the order's own transaction."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from shop.domain.errors import (
    IdempotencyKeyReused,
    InvalidFields,
    OrderIdTaken,
    OutOfStock,
    ShopError,
)
from shop.domain.orders import (
    KEYED_ID_VERSION,
    Order,
    OrderItem,
    OrderLine,
    OrderRequest,
    OrderStatus,
    Placed,
    keyed_order_id,
    no_such_product,
)
from shop.domain.ports import (
    Clock,
    NewId,
    NewOrderCode,
    OrderIntake,
    PlacingRepository,
    RateLimit,
    UnitOfWorkFactory,
)
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller


class PlaceOrder:
    """Place one order, through the intake that batches it with whoever else is buying."""

    def __init__(self, *, intake: OrderIntake, new_id: NewId, limit: RateLimit) -> None:
        self._intake = intake
        self._new_id = new_id
        self._limit = limit

    async def __call__(
        self,
        *,
        caller: Caller,
        items: tuple[OrderItem, ...],
        order_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Placed:
        """The order, new or as placed before under the same id or key.

        Raises `OutOfStock`, `OrderIdTaken`, `IdempotencyKeyReused`, `InvalidFields`, `Unavailable`,
        `TooManyRequests`.
        """
        self._limit(caller.user_id)
        if order_id is not None:
            if order_id.version == KEYED_ID_VERSION:
                raise OrderIdTaken(order_id)
        elif idempotency_key is not None:
            order_id = keyed_order_id(caller.user_id, idempotency_key)
            return await self._intake(
                OrderRequest(order_id=order_id, user_id=caller.user_id, items=items, keyed=True)
            )
        return await self._intake(
            OrderRequest(order_id=order_id or self._new_id(), user_id=caller.user_id, items=items)
        )


class PlaceOrders:
    """Decide a batch of order requests in one transaction, each all or nothing, in arrival order.

    The answer to each request is its order or the error that refuses it: here errors are handed
    back instead of raised, so that one refusal does not undo its neighbours. When the batch fails
    as a whole the exception is raised and nothing was placed.
    """

    def __init__(
        self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, new_order_code: NewOrderCode
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._new_order_code = new_order_code

    async def __call__(self, requests: Sequence[OrderRequest]) -> list[Placed | ShopError]:
        async with self._unit_of_work() as uow:
            known, products = await uow.placing.lock(
                order_ids={request.order_id for request in requests},
                product_ids={product for request in requests for product in request.wanted},
            )
            orders, shelf, now = dict(known), Shelf(products), self._clock()
            answers = [self._decide(request, orders, shelf, now) for request in requests]
            answers = await _look_again(uow.placing, requests, answers)
            created = [a.order for a in answers if isinstance(a, Placed) and a.created]
            if created:
                await uow.placing.add(created, shelf.movements)
                await uow.commit()
        return answers

    def _decide(
        self, request: OrderRequest, orders: dict[UUID, Order], shelf: Shelf, now: datetime
    ) -> Placed | ShopError:
        """The answer; a new order is one of `orders` from then on."""
        if request.order_id in orders:
            return _repeated(request, orders[request.order_id])
        for_sale = shelf.products
        missing = {
            product_id
            for product_id in request.wanted
            if product_id not in for_sale or for_sale[product_id].archived
        }
        if missing:
            return no_such_product(request.items, missing)
        if shortages := shelf.shortages(request.wanted):
            return OutOfStock(shortages)
        order = orders[request.order_id] = self._take(request, shelf, now)
        return Placed(order=order, created=True)

    def _take(self, request: OrderRequest, shelf: Shelf, now: datetime) -> Order:
        """Take what is wanted off the shelf, at the prices of now."""
        lines = []
        for product_id, quantity in request.wanted.items():
            product = shelf.products[product_id]
            lines.append(
                OrderLine(
                    product_id=product_id,
                    name=product.name,
                    price=product.price,
                    quantity=quantity,
                )
            )
            shelf.move(
                product_id,
                -quantity,
                Reason.ORDER,
                at=now,
                actor_id=request.user_id,
                order_id=request.order_id,
            )
        return Order(
            id=request.order_id,
            code=self._new_order_code(),
            user_id=request.user_id,
            status=OrderStatus.PLACED,
            lines=tuple(lines),
            currency=lines[0].price.currency,
            digest=request.digest,
            version=1,
            created_at=now,
            modified_at=now,
        )


def _repeated(request: OrderRequest, order: Order) -> Placed | ShopError:
    """The answer to a request whose id is an order's already."""
    if order.is_repeat(request):
        return Placed(order=order, created=False)
    return IdempotencyKeyReused() if request.keyed else OrderIdTaken(request.order_id)


async def _look_again(
    placing: PlacingRepository,
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
    placed = (await placing.lock(order_ids=refused, product_ids=()))[0] if refused else {}
    return [
        _repeated(request, placed[request.order_id]) if request.order_id in placed else answer
        for request, answer in zip(requests, answers, strict=True)
    ]
