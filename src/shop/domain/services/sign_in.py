"""Signing in: a user name and a password for a session."""

from dataclasses import dataclass, replace

from shop.domain.errors import WrongCredentials
from shop.domain.ports import (
    Audit,
    Clock,
    NewId,
    NewRefreshToken,
    PasswordHasher,
    UnitOfWorkFactory,
)
from shop.domain.services.throttle_sign_in import forgive_attempt, note_attempt
from shop.domain.sessions import (
    RefreshToken,
    SessionFamily,
    SessionLifetimes,
    describe_client,
    hash_token,
)
from shop.domain.throttling import AttemptKeys
from shop.domain.users import Caller, User, normal_username


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
        audit: Audit,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._clock = clock
        self._new_id = new_id
        self._new_refresh_token = new_refresh_token
        self._lifetimes = lifetimes
        self._audit = audit

    async def __call__(
        self, *, username: str, password: str, address: str, client: str = ""
    ) -> SignedIn:
        """Raises `TooManyAttempts`, and `WrongCredentials` after the same work whatever is wrong.

        `address` is whose attempts are counted together; `client` is what the session is called.
        """
        name = normal_username(username)
        keys = AttemptKeys.of(name, address)
        user = await self._begin(name, keys, address)
        fits = await self._hasher.verify(password, user.password_hash if user else None)
        if user is None or not fits or user.disabled:
            self._audit("sign_in.failed", user=user.id if user else None, address=address)
            raise WrongCredentials
        if self._hasher.is_outdated(user.password_hash):
            renewed = replace(user, password_hash=await self._hasher.hash(password))
        else:
            renewed = user
        token = await self._start(user, renewed, keys, client)
        self._audit("sign_in.succeeded", user=user.id, address=address)
        return SignedIn(caller=Caller(user_id=user.id, role=user.role), refresh_token=token)

    async def _begin(self, name: str, keys: AttemptKeys, address: str) -> User | None:
        """Count the attempt before anything is tried, and find the user."""
        async with self._unit_of_work() as uow:
            await note_attempt(
                self._audit,
                "sign_in.throttled",
                uow.attempts,
                keys,
                self._clock(),
                address=address,
            )
            user = await uow.users.find(name)
            await uow.commit()
        return user

    async def _start(self, user: User, renewed: User, keys: AttemptKeys, client: str) -> str:
        """A new family and its first token, unless the user was changed in the meantime."""
        token = self._new_refresh_token()
        now = self._clock()
        family = SessionFamily(
            id=self._new_id(),
            user_id=user.id,
            started_at=now,
            last_used_at=now,
            expires_at=now + self._lifetimes.refresh,
            ends_at=now + self._lifetimes.family,
            client=describe_client(client),
        )
        first = RefreshToken(
            token_hash=hash_token(token),
            family_id=family.id,
            predecessor=None,
            expires_at=family.expires_at,
        )
        async with self._unit_of_work() as uow:
            await forgive_attempt(uow.attempts, keys, now)
            if await uow.users.lock(user.id) != user:
                raise WrongCredentials
            if renewed != user:
                await uow.users.save(renewed)
                self._audit("password.hash_upgraded", user=user.id)
            await uow.sessions.start(family, first)
            await uow.commit()
        return token
