"""Verifying stock: the ledger against what is on hand, on a live database."""

from collections.abc import AsyncIterator, Sequence

from shop.domain.ports import UnitOfWorkFactory
from shop.domain.stock import StockAudit

PRODUCTS_PER_STEP = 1_000


class VerifyStock:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self) -> AsyncIterator[Sequence[StockAudit]]:
        """Every product's audit, in keyset steps by id; no step blocks a sale."""
        after = 0
        while True:
            async with self._unit_of_work(read_only=True) as uow:
                audits = await uow.stock.audit(after=after, limit=PRODUCTS_PER_STEP)
            if not audits:
                return
            yield audits
            after = audits[-1].product_id
