"""Counting the lists that are too long to be counted whenever they are read."""

from dataclasses import dataclass

from shop.domain.ports import UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.users import Caller


@dataclass(frozen=True, kw_only=True)
class CountLists:
    """Keep the lengths that pages of long lists tell."""

    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, *, caller: Caller) -> None:
        """Raises `OperatorOnly`."""
        caller.require_operator()
        # Counted in a transaction of its own: who writes does not wait for it.
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            lengths = await uow.lengths.count()
        async with self.unit_of_work() as uow:
            await uow.lengths.store(lengths)
            await uow.commit()
