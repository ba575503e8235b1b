"""Signing out: ending sessions, and looking at those that are open."""

from collections.abc import Sequence

from shop.domain.ports import Audit, Clock, UnitOfWorkFactory
from shop.domain.sessions import SessionFamily, hash_token
from shop.domain.users import Caller

PURGED_PER_STEP = 1_000


class SignOut:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, refresh_token: str) -> None:
        """End the session of this token. Says nothing of unknown ones: there is nothing to end."""
        async with self._unit_of_work() as uow:
            found = await uow.sessions.lock(hash_token(refresh_token))
            if found is None:
                return
            family, _ = found
            await uow.sessions.end(family.id, self._clock())
            await uow.commit()
        self._audit("session.revoked", user=family.user_id)


class SignOutEverywhere:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, caller: Caller) -> None:
        """End all sessions of the caller."""
        async with self._unit_of_work() as uow:
            await uow.sessions.end_all(caller.user_id, self._clock())
            await uow.commit()
        self._audit("session.revoked_all", user=caller.user_id)


class ListSessions:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    async def __call__(self, *, caller: Caller) -> Sequence[SessionFamily]:
        """The caller's open sessions, the last used first."""
        async with self._unit_of_work(read_only=True) as uow:
            return await uow.sessions.list_open(caller.user_id, self._clock())


class PurgeSessions:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    async def __call__(self) -> int:
        """Forget all sessions that expired; how many there were."""
        purged = 0
        while True:
            async with self._unit_of_work() as uow:
                step = await uow.sessions.purge(self._clock(), limit=PURGED_PER_STEP)
                await uow.commit()
            purged += step
            if step < PURGED_PER_STEP:
                return purged
