"""Refreshing a session: a refresh token for its successor, by the rotation rule of `sessions`."""

from shop.domain.errors import InvalidToken
from shop.domain.ports import Audit, Clock, NewRefreshToken, RateLimit, UnitOfWorkFactory
from shop.domain.services.sign_in import SignedIn
from shop.domain.sessions import RefreshToken, SessionLifetimes, hash_token
from shop.domain.users import Caller


class RefreshSession:
    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        clock: Clock,
        new_refresh_token: NewRefreshToken,
        lifetimes: SessionLifetimes,
        limit: RateLimit,
        audit: Audit,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._new_refresh_token = new_refresh_token
        self._lifetimes = lifetimes
        self._limit = limit
        self._audit = audit

    async def __call__(self, *, refresh_token: str) -> SignedIn:
        """Raises `InvalidToken` and `TooManyRequests`.

        A retired token also ends its family: a thief may hold it.
        """
        async with self._unit_of_work() as uow:
            found = await uow.sessions.lock(hash_token(refresh_token))
            now = self._clock()
            if found is None:
                raise InvalidToken
            family, token = found
            if family.is_over(now) or now >= token.expires_at:
                raise InvalidToken
            if token.retired:
                await uow.sessions.end(family.id, now)
                await uow.commit()
                self._audit("token.reused", user=family.user_id)
                raise InvalidToken
            self._limit(family.user_id)
            user = await uow.users.get(family.user_id)
            if user.disabled:
                raise InvalidToken
            secret = self._new_refresh_token()
            successor = RefreshToken(
                token_hash=hash_token(secret),
                family_id=family.id,
                predecessor=token.token_hash,
                expires_at=min(now + self._lifetimes.refresh, family.ends_at),
            )
            await uow.sessions.succeed(token, successor, used_at=now)
            await uow.commit()
        return SignedIn(caller=Caller(user_id=user.id, role=user.role), refresh_token=secret)
