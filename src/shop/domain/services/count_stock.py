"""Figures about the whole stock, for who watches over the shop: found out once, told by all."""

from dataclasses import dataclass
from datetime import datetime

from shop.domain.pages import ListLength
from shop.domain.ports import UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.stock import StockLevels
from shop.domain.users import Caller

PER_STEP = 50_000
"""Products that are counted in one statement."""

# As lists whose lengths are kept.
_OUT_OF_STOCK, _LOW, _BELOW_ZERO = "stock: none left", "stock: low", "stock: below zero"
_DIFFERENCES = "stock: differences"


@dataclass(frozen=True, kw_only=True)
class CountStock:
    """Count the products for sale that are sold out, or soon will be."""

    unit_of_work: UnitOfWorkFactory
    low: int
    """So many pieces are few."""

    async def __call__(self, *, caller: Caller) -> None:
        """Goes in steps, each of one moment. Raises `OperatorOnly`."""
        caller.require_operator()
        out_of_stock = low = below_zero = 0
        after: int | None = 0
        while after is not None:
            step = await self._count(caller, after)
            out_of_stock += step.out_of_stock
            low += step.low
            below_zero += step.below_zero
            after = step.last
        await _store(
            self.unit_of_work, {_OUT_OF_STOCK: out_of_stock, _LOW: low, _BELOW_ZERO: below_zero}
        )

    @retrying
    async def _count(self, caller: Caller, after: int) -> StockLevels:
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            return await uow.stock.count_levels(after, low=self.low, limit=PER_STEP)


@dataclass(frozen=True, kw_only=True)
class RecordDifferences:
    """Keep what verifying the stock came to."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller, differences: int) -> None:
        """Raises `OperatorOnly`."""
        caller.require_operator()
        await _store(self.unit_of_work, {_DIFFERENCES: differences})


@dataclass(frozen=True, slots=True, kw_only=True)
class StockCounts:
    """What is not known yet is 0, at no time."""

    out_of_stock: int
    low: int
    below_zero: int
    counted_at: datetime | None
    differences: int
    verified_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ReadCounts:
    """What was counted, and found out, last."""

    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, *, caller: Caller) -> StockCounts:
        """Raises `OperatorOnly`."""
        caller.require_operator()
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            known = {
                counted.list: counted
                for counted in await uow.lengths.known(
                    [_OUT_OF_STOCK, _LOW, _BELOW_ZERO, _DIFFERENCES]
                )
            }

        def length(name: str) -> int:
            return known[name].length if name in known else 0

        def at(name: str) -> datetime | None:
            return known[name].counted_at if name in known else None

        return StockCounts(
            out_of_stock=length(_OUT_OF_STOCK),
            low=length(_LOW),
            below_zero=length(_BELOW_ZERO),
            counted_at=at(_OUT_OF_STOCK),
            differences=length(_DIFFERENCES),
            verified_at=at(_DIFFERENCES),
        )


@retrying
async def _store(unit_of_work: UnitOfWorkFactory, lengths: dict[str, int]) -> None:
    async with unit_of_work() as uow:
        await uow.lengths.store(
            [ListLength(list=name, user_id=0, length=number) for name, number in lengths.items()]
        )
        await uow.commit()
