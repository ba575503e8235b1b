"""Purging attempts to sign in that make no difference any more."""

from dataclasses import dataclass

from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.users import Caller

PURGED_PER_STEP = 1_000


@dataclass(frozen=True, kw_only=True)
class PurgeAttempts:
    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, *, caller: Caller) -> int:
        """Delete all that are forgotten, in short transactions; how many there were.

        Raises `OperatorOnly`.
        """
        caller.require_operator()
        purged = 0
        while True:
            async with self.unit_of_work() as uow:
                step = await uow.attempts.purge(self.clock(), limit=PURGED_PER_STEP)
                await uow.commit()
            purged += step
            if step < PURGED_PER_STEP:
                return purged
