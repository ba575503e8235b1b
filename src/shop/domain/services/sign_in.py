"""Signing in: a user name and a password for a session."""

from dataclasses import dataclass, replace

from shop.domain.errors import WrongCredentials
from shop.domain.events import Event
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


@dataclass(frozen=True, kw_only=True)
class SignIn:
    unit_of_work: UnitOfWorkFactory
    clock: Clock
    audit: Audit
    hasher: PasswordHasher
    new_id: NewId
    new_refresh_token: NewRefreshToken
    lifetimes: SessionLifetimes

    async def __call__(
        self, *, username: str, password: str, address: str, client: str = ""
    ) -> SignedIn:
        """Raises `TooManyAttempts`, and `WrongCredentials` after the same work whatever is wrong.

        `address` is whose attempts are counted together; `client` is what the session is called.
        """
        name = normal_username(username)
        keys = AttemptKeys.of(name, address)
        user = await self._begin(name, keys, address)
        fits = await self.hasher.verify(password, user.password_hash if user else None)
        if user is None or not fits or user.disabled:
            who = user.id if user else None
            self.audit(Event(name="sign_in.failed", about={"user": who, "address": address}))
            raise WrongCredentials
        renewed = user
        if self.hasher.is_outdated(user.password_hash):
            renewed = replace(user, password_hash=await self.hasher.hash(password))
        token = await self._start(user, renewed, keys, address, client)
        return SignedIn(caller=Caller(user_id=user.id, role=user.role), refresh_token=token)

    async def _begin(self, name: str, keys: AttemptKeys, address: str) -> User | None:
        """Count the attempt before anything is tried, and find the user."""
        throttled = Event(name="sign_in.throttled", about={"address": address})
        async with self.unit_of_work() as uow:
            await note_attempt(uow.attempts, keys, self.clock(), self.audit, throttled)
            user = await uow.users.find(name)
            await uow.commit()
        return user

    async def _start(
        self, user: User, renewed: User, keys: AttemptKeys, address: str, client: str
    ) -> str:
        """A new family and its first token, unless the user was changed in the meantime."""
        token = self.new_refresh_token()
        now = self.clock()
        family = SessionFamily(
            id=self.new_id(),
            user_id=user.id,
            started_at=now,
            last_used_at=now,
            expires_at=now + self.lifetimes.refresh,
            ends_at=now + self.lifetimes.family,
            client=describe_client(client),
        )
        first = RefreshToken(
            token_hash=hash_token(token),
            family_id=family.id,
            predecessor=None,
            expires_at=family.expires_at,
        )
        async with self.unit_of_work() as uow:
            await forgive_attempt(uow.attempts, keys, now)
            if await uow.users.lock(user.id) != user:
                raise WrongCredentials
            if renewed != user:
                await uow.users.save(renewed)
                uow.record(Event(name="password.hash_upgraded", about={"user": user.id}))
            await uow.sessions.start(family, first)
            uow.record(Event(name="sign_in.succeeded", about={"user": user.id, "address": address}))
            await uow.commit()
        return token
