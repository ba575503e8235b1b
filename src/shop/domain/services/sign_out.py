"""Signing out: ending the session that a refresh token belongs to."""

from shop.domain.ports import Clock, UnitOfWorkFactory
from shop.domain.sessions import hash_token


class SignOut:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock

    async def __call__(self, *, refresh_token: str) -> None:
        """Says nothing about unknown tokens: there is nothing to sign out of."""
        async with self._unit_of_work() as uow:
            found = await uow.sessions.lock(hash_token(refresh_token))
            if found is not None:
                await uow.sessions.end(found[0].id, self._clock())
                await uow.commit()
