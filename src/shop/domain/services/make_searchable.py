"""Making products searchable that a program stored which did not know how."""

from dataclasses import dataclass

from shop.domain.ports import UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.users import Caller

PER_STEP = 500


@dataclass(frozen=True, kw_only=True)
class MakeSearchable:
    """Of those that an older program stored while it served beside this one."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> int:
        """How many there were. Raises `OperatorOnly`."""
        caller.require_operator()
        total = 0
        while number := await self._step():
            total += number
        return total

    @retrying
    async def _step(self) -> int:
        async with self.unit_of_work() as uow:
            number = await uow.products.make_searchable(limit=PER_STEP)
            await uow.commit()
        return number
