"""Purging what makes no difference any more, in short transactions."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from shop.domain.ports import Clock, UnitOfWork, UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.users import Caller

PURGED_PER_STEP = 1_000


@dataclass(frozen=True, kw_only=True)
class PurgeSessions:
    """Forget all sessions that expired."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, *, caller: Caller) -> int:
        """How many there were. Raises `OperatorOnly`."""
        caller.require_operator()
        return await _purge(
            self.unit_of_work,
            lambda uow: uow.sessions.purge(self.clock(), limit=PURGED_PER_STEP),
        )


@dataclass(frozen=True, kw_only=True)
class PurgeAttempts:
    """Forget attempts to sign in that count no more."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, *, caller: Caller) -> int:
        """How many there were. Raises `OperatorOnly`."""
        caller.require_operator()
        return await _purge(
            self.unit_of_work,
            lambda uow: uow.attempts.purge(self.clock(), limit=PURGED_PER_STEP),
        )


@dataclass(frozen=True, kw_only=True)
class PurgeKeys:
    """Forget idempotency keys that were kept for long enough."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    kept_for: timedelta

    async def __call__(self, *, caller: Caller) -> int:
        """How many there were. Raises `OperatorOnly`."""
        caller.require_operator()
        return await _purge(
            self.unit_of_work,
            lambda uow: uow.keys.purge(self.clock() - self.kept_for, limit=PURGED_PER_STEP),
        )


async def _purge(
    unit_of_work: UnitOfWorkFactory, purge_some: Callable[[UnitOfWork], Awaitable[int]]
) -> int:
    purged = 0
    while True:
        step = await _step(unit_of_work, purge_some)
        purged += step
        if step < PURGED_PER_STEP:
            return purged


@retrying
async def _step(
    unit_of_work: UnitOfWorkFactory, purge_some: Callable[[UnitOfWork], Awaitable[int]]
) -> int:
    async with unit_of_work() as uow:
        step = await purge_some(uow)
        await uow.commit()
    return step
