"""Signing in: a user name and a password for a session."""

from dataclasses import dataclass

from shop.domain.errors import WrongCredentials
from shop.domain.ports import Clock, NewId, NewRefreshToken, PasswordHasher, UnitOfWorkFactory
from shop.domain.sessions import RefreshToken, SessionFamily, SessionLifetimes, hash_token
from shop.domain.users import Caller, normal_username


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Who signed in, and the secret that renews the session; it is stored nowhere."""

    caller: Caller
    refresh_token: str

    def __repr__(self) -> str:
        return f"SignedIn(caller={self.caller!r})"


class SignIn:
    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        hasher: PasswordHasher,
        clock: Clock,
        new_id: NewId,
        new_refresh_token: NewRefreshToken,
        lifetimes: SessionLifetimes,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._clock = clock
        self._new_id = new_id
        self._new_refresh_token = new_refresh_token
        self._lifetimes = lifetimes

    async def __call__(self, *, username: str, password: str) -> SignedIn:
        """Raises `WrongCredentials`, after the same work whatever is wrong."""
        async with self._unit_of_work(read_only=True) as uow:
            user = await uow.users.find(normal_username(username))
        fits = await self._hasher.verify(password, user.password_hash if user else None)
        if user is None or not fits or user.disabled:
            raise WrongCredentials
        token = self._new_refresh_token()
        now = self._clock()
        family = SessionFamily(
            id=self._new_id(),
            user_id=user.id,
            started_at=now,
            ends_at=now + self._lifetimes.family,
        )
        async with self._unit_of_work() as uow:
            await uow.sessions.start(
                family,
                RefreshToken(
                    token_hash=hash_token(token),
                    family_id=family.id,
                    predecessor=None,
                    expires_at=now + self._lifetimes.refresh,
                ),
            )
            await uow.commit()
        return SignedIn(caller=Caller(user_id=user.id, role=user.role), refresh_token=token)
