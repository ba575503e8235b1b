"""Looking up what many ask for at the same moment, by ids: one read for all of them.

Who may see it is not asked here, but by the use case of each who asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shop.domain.orders import Order
from shop.domain.ports import UnitOfWorkFactory
from shop.domain.products import Product
from shop.domain.services.retrying import retrying
from shop.domain.users import OPERATOR


@dataclass(frozen=True, kw_only=True)
class LookUpProducts:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, ids: Sequence[int]) -> Sequence[Product | None]:
        async with self.unit_of_work(
            read_only=True, caller=OPERATOR, batch=True, may_lag=True
        ) as uow:
            found = await uow.details.products(set(ids))
        return [found.get(product_id) for product_id in ids]


@dataclass(frozen=True, kw_only=True)
class LookUpOrders:
    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, ids: Sequence[UUID]) -> Sequence[Order | None]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR, batch=True) as uow:
            found = await uow.details.orders(set(ids))
        return [found.get(order_id) for order_id in ids]
