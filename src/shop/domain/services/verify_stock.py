"""Verifying stock: the ledger against what is on hand and what orders hold, on a live database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from shop.domain.ports import Audit, Clock, UnitOfWorkFactory
from shop.domain.stock import OrderAudit, Reason, Shelf, StockAudit, StockMovement

PER_STEP = 2_000
REPAIR_NOTE = "stock verify --repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductsChecked:
    """A step through the products by id."""

    count: int
    differences: Sequence[StockAudit]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersChecked:
    """A step through the orders by id."""

    count: int
    """At most, for the last step."""
    differences: Sequence[OrderAudit]


class VerifyStock:
    """Goes in keyset steps, each of one moment, so that no sale is blocked or mistaken."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def products(self) -> AsyncIterator[ProductsChecked]:
        """Each product's stock is the sum of its movements and its last balance."""
        after = 0
        while True:
            async with self._unit_of_work(read_only=True) as uow:
                audits = await uow.stock.audit(after=after, limit=PER_STEP)
            if not audits:
                return
            yield ProductsChecked(
                count=len(audits),
                differences=[audit for audit in audits if not audit.is_sound],
            )
            after = audits[-1].product_id

    async def orders(self) -> AsyncIterator[OrdersChecked]:
        """Each order's movements sum to what its status and lines say is taken."""
        after: UUID | None = None
        while True:
            async with self._unit_of_work(read_only=True) as uow:
                differences, after = await uow.stock.audit_orders(after=after, limit=PER_STEP)
            if after is None:
                return
            yield OrdersChecked(count=PER_STEP, differences=differences)


class RepairStock:
    """Write corrections into the ledger, so that it agrees again; the stock stays as it is."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def order(self, *, order_id: UUID, product_id: int) -> None:
        """Write what an order's movements lack, and against it a correction of the same size."""
        async with self._unit_of_work() as uow:
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
                    at=self._clock(),
                    order_id=order_id,
                    note=REPAIR_NOTE,
                )
            await uow.stock.record(shelf.movements)
            await uow.commit()
        self._audit("stock.repaired", order=str(order_id), product=product_id)

    async def product(self, *, product_id: int) -> None:
        """Write the correction that makes the ledger's sum and last balance what is on hand."""
        async with self._unit_of_work() as uow:
            await uow.stock.lock([product_id])
            [audit] = await uow.stock.audit(after=product_id - 1, limit=1)
            if audit.is_sound:
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
                        actor_id=None,
                        note=REPAIR_NOTE,
                        at=self._clock(),
                    )
                )
            await uow.stock.record(movements)
            await uow.commit()
        self._audit("stock.repaired", product=product_id)
