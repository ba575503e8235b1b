"""Placing an order, through the intake that batches it with whoever else is buying."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shop.domain.errors import OrderIdTaken
from shop.domain.orders import (
    KEPT_ID_VERSION,
    OrderItem,
    OrderRequest,
    Placed,
    keyed_order_id,
)
from shop.domain.ports import NewId, OrderIntake, RateLimit
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class PlaceOrder:
    intake: OrderIntake
    new_id: NewId
    limit: RateLimit

    async def __call__(
        self,
        *,
        caller: Caller,
        items: tuple[OrderItem, ...],
        order_id: UUID | None = None,
        idempotency_key: str | None = None,
        expected_total: Decimal | None = None,
    ) -> Placed:
        """The order, new or as placed before under the same id or key.

        A new one comes to `expected_total`, if that is given. Raises `OutOfStock`, `PriceChanged`,
        `OrderIdTaken`, `IdempotencyKeyReused`, `InvalidFields`, `Unavailable`, `TooManyRequests`.
        """
        self.limit(caller.user_id)
        keyed = False
        if order_id is not None:
            if order_id.version == KEPT_ID_VERSION:
                raise OrderIdTaken(order_id)
        elif idempotency_key is not None:
            order_id, keyed = keyed_order_id(caller.user_id, idempotency_key), True
        return await self.intake(
            OrderRequest(
                order_id=order_id or self.new_id(),
                user_id=caller.user_id,
                items=items,
                keyed=keyed,
                expected_total=expected_total,
            )
        )
