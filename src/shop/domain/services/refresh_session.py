"""Refreshing a session: a refresh token for its successor, by the rotation rule of `sessions`."""

from dataclasses import dataclass

from shop.domain.errors import InvalidToken
from shop.domain.events import Event
from shop.domain.ports import Clock, NewRefreshToken, RateLimit, UnitOfWorkFactory
from shop.domain.services.retrying import retrying
from shop.domain.services.sign_in import SignedIn
from shop.domain.sessions import RefreshToken, SessionLifetimes, hash_token


@dataclass(frozen=True, kw_only=True)
class RefreshSession:
    unit_of_work: UnitOfWorkFactory
    clock: Clock
    new_refresh_token: NewRefreshToken
    lifetimes: SessionLifetimes
    limit: RateLimit

    @retrying
    async def __call__(self, *, refresh_token: str) -> SignedIn:
        """Raises `InvalidToken` and `TooManyRequests`.

        A retired token also ends its family: a thief may hold it.
        """
        async with self.unit_of_work() as uow:
            found = await uow.sessions.lock(hash_token(refresh_token))
            now = self.clock()
            if found is None:
                raise InvalidToken
            family, token = found
            if family.is_over(now) or now >= token.expires_at:
                raise InvalidToken
            if token.retired:
                await uow.sessions.end(family.id, now)
                uow.record(Event(name="token.reused", about={"user": family.user_id}))
                await uow.commit()
                raise InvalidToken
            self.limit(family.user_id)
            user = await uow.users.get(family.user_id)
            if user.disabled:
                raise InvalidToken
            secret = self.new_refresh_token()
            successor = RefreshToken(
                token_hash=hash_token(secret),
                family_id=family.id,
                predecessor=token.token_hash,
                issued_at=now,
                expires_at=min(now + self.lifetimes.refresh, family.ends_at),
            )
            await uow.sessions.succeed(token, successor, used_at=now)
            await uow.commit()
        return SignedIn(caller=user.as_caller, refresh_token=secret)
