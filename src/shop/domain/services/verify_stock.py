"""Verifying stock: the ledger against what is on hand and what orders hold, on a live database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from shop.domain.events import Event
from shop.domain.ports import Clock, UnitOfWork, UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.stock import LedgerPosition, OrderAudit, Reason, Shelf, StockAudit, StockMovement
from shop.domain.users import OPERATOR, Caller

PER_STEP = 2_000
"""Products, or orders."""
MOVEMENTS_PER_STEP = 20_000
SAMPLED_MOVEMENTS = 1_000
"""The newest ones, whose products are sampled."""
SAMPLED_STEPS_MAX = 5
"""Through the ledger of a product that is sampled."""
REPAIR_NOTE = "stock verify --repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsChecked:
    """A step through the products by id, and through each one's movements."""

    count: int
    """Of those whose last movement was reached: none, within a product that takes many steps."""
    differences: Sequence[StockAudit]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersChecked:
    """A step through the orders by id."""

    count: int
    """At most, for the last step."""
    differences: Sequence[OrderAudit]


@dataclass(frozen=True, kw_only=True)
class VerifyStock:
    """Goes in keyset steps, each of one moment, so that no sale is blocked or mistaken."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> AsyncIterator[ProductsChecked | OrdersChecked]:
        """All products, then all orders, step by step. Raises `OperatorOnly`.

        Each product's stock is the sum of its movements and its last balance; each order's
        movements sum to what its status and lines say is taken.
        """
        caller.require_operator()
        position: LedgerPosition | None = LedgerPosition()
        while position is not None:
            audits, position = await self._audit_products(position)
            yield ProductsChecked(
                count=len(audits), differences=[audit for audit in audits if not audit.is_sound]
            )
        differences, last_order = await self._audit_orders(None)
        while last_order is not None:
            yield OrdersChecked(count=PER_STEP, differences=differences)
            differences, last_order = await self._audit_orders(last_order)

    @retrying
    async def _audit_products(
        self, start: LedgerPosition
    ) -> tuple[Sequence[StockAudit], LedgerPosition | None]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.stock.audit(start, products=PER_STEP, movements=MOVEMENTS_PER_STEP)

    @retrying
    async def _audit_orders(self, after: UUID | None) -> tuple[Sequence[OrderAudit], UUID | None]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.stock.audit_orders(after=after, limit=PER_STEP)


@dataclass(frozen=True, kw_only=True)
class SampleStock:
    """Looks at the products that moved last as `VerifyStock` does at all: it may be run often."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller, products: int) -> ProductsChecked:
        """So many products at most; one with a long ledger is left out. Raises `OperatorOnly`."""
        caller.require_operator()
        audits = [await self._audit(product_id) for product_id in await self._moved_last(products)]
        looked_at = [audit for audit in audits if audit is not None]
        return ProductsChecked(
            count=len(looked_at), differences=[audit for audit in looked_at if not audit.is_sound]
        )

    @retrying
    async def _moved_last(self, products: int) -> Sequence[int]:
        async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
            return await uow.stock.moved_last(products=products, movements=SAMPLED_MOVEMENTS)

    @retrying
    async def _audit(self, product_id: int) -> StockAudit | None:
        position = LedgerPosition(product_id=product_id)
        for _ in range(SAMPLED_STEPS_MAX):
            async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
                audit, more = await _audit_product(uow, position)
            if audit is not None or more is None:
                return audit
            position = more
        return None


@dataclass(frozen=True, kw_only=True)
class RepairStock:
    """Write corrections into the ledger, so that it agrees again; the stock stays as it is."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, *, caller: Caller, difference: StockAudit | OrderAudit) -> None:
        """Looks again before it writes: what agrees by now is left alone. Raises `OperatorOnly`."""
        caller.require_operator()
        if isinstance(difference, OrderAudit):
            await self._repair_order(caller, difference.order_id, difference.product_id)
        else:
            await self._repair_product(caller, difference.product_id)

    @retrying
    async def _repair_order(self, caller: Caller, order_id: UUID, product_id: int) -> None:
        """Write what an order's movements lack, and against it a correction of the same size."""
        async with self.unit_of_work() as uow:
            await uow.orders.lock(order_id)
            shelf = Shelf(await uow.stock.lock([product_id]))
            audit = await uow.stock.audit_order(order_id=order_id, product_id=product_id)
            if audit.taken == audit.moved:
                return
            lacking = audit.moved - audit.taken
            # What comes back first keeps the balance from going below zero in between.
            for quantity, reason in sorted(
                [(lacking, Reason.ORDER), (-lacking, Reason.CORRECTION)], reverse=True
            ):
                shelf.move(
                    product_id,
                    quantity,
                    reason,
                    at=self.clock(),
                    actor_id=caller.actor_id,
                    order_id=order_id,
                    note=REPAIR_NOTE,
                )
            await uow.stock.record(shelf.movements)
            uow.record(_repaired(caller, product_id, order_id))
            await uow.commit()

    @retrying
    async def _repair_product(self, caller: Caller, product_id: int) -> None:
        """Write the correction that makes the ledger's sum and last balance what is on hand."""
        position = await self._near_the_end(product_id)
        async with self.unit_of_work() as uow:
            await uow.stock.lock([product_id])
            audit, more = await _audit_product(uow, position)
            while audit is None and more is not None:
                audit, more = await _audit_product(uow, more)
            if audit is None or audit.is_sound:
                return
            lacking = audit.on_hand - audit.movements_sum
            # A wrong last balance over a right sum: two corrections that cancel out set it right.
            quantities = [lacking] if lacking else [1, -1]
            balance = audit.on_hand - sum(quantities)
            movements = []
            for quantity in quantities:
                balance += quantity
                movements.append(
                    StockMovement(
                        product_id=product_id,
                        quantity=quantity,
                        balance=balance,
                        reason=Reason.CORRECTION,
                        order_id=None,
                        actor_id=caller.actor_id,
                        note=REPAIR_NOTE,
                        at=self.clock(),
                    )
                )
            await uow.stock.record(movements)
            uow.record(_repaired(caller, product_id))
            await uow.commit()

    async def _near_the_end(self, product_id: int) -> LedgerPosition:
        """Read most of a ledger while sales go on: under the lock it would hold them up."""
        position = LedgerPosition(product_id=product_id)
        while True:
            async with self.unit_of_work(read_only=True, caller=OPERATOR) as uow:
                audit, more = await _audit_product(uow, position)
            if audit is not None or more is None:
                return position
            position = more


async def _audit_product(
    uow: UnitOfWork, start: LedgerPosition
) -> tuple[StockAudit | None, LedgerPosition | None]:
    """The product at this position, or how far this step came."""
    audits, position = await uow.stock.audit(start, products=1, movements=MOVEMENTS_PER_STEP)
    return audits[0] if audits else None, position


def _repaired(caller: Caller, product_id: int, order_id: UUID | None = None) -> Event:
    about = {"order": order_id} if order_id else {}
    return Event(name="stock.repaired", by=caller, about={**about, "product": product_id})
