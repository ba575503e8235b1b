"""Cancelling orders that were not paid in time, so that nobody holds stock for ever."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shop.domain.errors import TransitionNotAllowed
from shop.domain.orders import Order, OrderQuery, OrderStatus
from shop.domain.pages import Key, Window
from shop.domain.ports import UnitOfWorkFactory
from shop.domain.services.cancel_order import CancelOrder
from shop.domain.services.retrying import retrying
from shop.domain.users import Caller

ORDERS_PER_STEP = 100
NOTE = "not paid in time"


def unpaid(created_before: datetime) -> OrderQuery:
    return OrderQuery(status=OrderStatus.PLACED, created_before=created_before)


@dataclass(frozen=True, kw_only=True)
class CancelUnpaid:
    """Each order is cancelled by itself, as `CancelOrder` does it."""

    unit_of_work: UnitOfWorkFactory
    cancel_order: CancelOrder

    async def __call__(
        self, *, caller: Caller, created_before: datetime, dry_run: bool = False
    ) -> AsyncIterator[Order]:
        """Each order once it is cancelled; with `dry_run`, each that would be.

        One that is paid meanwhile is left out. Raises `OperatorOnly`.
        """
        caller.require_operator()
        after: Key | None = None
        while orders := await self._read(caller, created_before, after):
            for order in orders:
                done = order if dry_run else await self._cancelled(caller, order)
                if done is not None:
                    yield done
            after = orders[-1].key

    @retrying
    async def _read(
        self, caller: Caller, created_before: datetime, after: Key | None
    ) -> Sequence[Order]:
        window = Window(limit=ORDERS_PER_STEP, after=after)
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            return await uow.orders.read_window(unpaid(created_before), window)

    async def _cancelled(self, caller: Caller, order: Order) -> Order | None:
        try:
            return await self.cancel_order(
                caller=caller, order_id=order.id, unpaid_only=True, note=NOTE
            )
        except TransitionNotAllowed:
            return None
