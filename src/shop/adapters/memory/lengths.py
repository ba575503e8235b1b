"""Lengths of lists in memory, where every list is counted whenever it is read."""

from collections.abc import Collection, Sequence

from shop.adapters.memory.database import Tables
from shop.adapters.system import utc_now
from shop.domain.pages import CountedList, ListLength
from shop.domain.ports import LengthRepository


class MemoryLengthRepository(LengthRepository):
    def __init__(self, tables: Tables) -> None:
        self._lengths = tables.lengths

    async def count(self) -> Sequence[ListLength]:
        """Pages need none."""
        return []

    async def store(self, lengths: Sequence[ListLength]) -> None:
        now = utc_now()
        for one in lengths:
            counted = CountedList(list=one.list, length=one.length, counted_at=now)
            self._lengths[one.list, one.user_id] = counted

    async def known(self, names: Collection[str]) -> Sequence[CountedList]:
        return [self._lengths[name, 0] for name in names if (name, 0) in self._lengths]
