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
    UnitOfWork,
    UnitOfWorkFactory,
)
from shop.domain.services.retrying import retrying
from shop.domain.services.throttle_sign_in import ThrottleSignIn
from shop.domain.sessions import (
    SESSIONS_MAX,
    RefreshToken,
    SessionFamily,
    SessionLifetimes,
    describe_client,
    hash_token,
)
from shop.domain.text import folded
from shop.domain.throttling import Attempt, AttemptKeys
from shop.domain.users import (
    Caller,
    User,
    normal_password,
    normal_username,
    password_forms,
)

HASHES_TRIED_MAX = 3
"""How often a password is verified when its hash changes meanwhile."""


async def fitting_form(
    hasher: PasswordHasher, password: str, password_hash: str | None
) -> str | None:
    """The form of the password that the hash is of; None, after the same work, if there is none."""
    for form in password_forms(password):
        if await hasher.verify(form, password_hash):
            return form
    return None


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
    throttle: ThrottleSignIn
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

        async def find(uow: UnitOfWork) -> User | None:
            return await uow.users.find(name)

        async with self.throttle(
            # Folded, so that no other spelling of the name gets tries of its own.
            keys=AttemptKeys.of(folded(name), address),
            throttled=Event(name="sign_in.throttled", about={"address": address}),
            find=find,
        ) as (attempt, user):
            for _ in range(HASHES_TRIED_MAX):
                fitting = await fitting_form(
                    self.hasher, password, user.password_hash if user else None
                )
                if user is None or fitting is None or user.disabled:
                    break
                renewed = await self._renewed(user, fitting)
                opened = await self._open(attempt, user, renewed, address, client)
                if isinstance(opened, SignedIn):
                    return opened
                user = opened
            who = user.id if user else None
            self.audit(Event(name="sign_in.failed", about={"user": who, "address": address}))
            raise WrongCredentials

    async def _renewed(self, user: User, fitting: str) -> User:
        """The user with the hash they should have."""
        normal = normal_password(fitting)
        if fitting == normal and not self.hasher.is_outdated(user.password_hash):
            return user
        return replace(user, password_hash=await self.hasher.hash(normal))

    @retrying
    async def _open(
        self, attempt: Attempt, user: User, renewed: User, address: str, client: str
    ) -> SignedIn | User:
        """A new session; or the user of now, if who was verified has changed in the meantime.

        Another sign-in may have replaced an outdated hash, so that a change of it tells nothing of
        whether the password still fits.
        """
        async with self.unit_of_work() as uow:
            await self.throttle.succeed(uow, attempt)
            current = await uow.users.lock(user.id)
            if current != user:
                return current
            if renewed != user:
                await uow.users.save(renewed)
                uow.record(Event(name="password.hash_upgraded", about={"user": user.id}))
            token = await self._start(uow, user, client)
            uow.record(Event(name="sign_in.succeeded", about={"user": user.id, "address": address}))
            await uow.commit()
        return SignedIn(caller=user.as_caller, refresh_token=token)

    async def _start(self, uow: UnitOfWork, user: User, client: str) -> str:
        """A new family and its first token; the oldest ends where the user has too many."""
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
            issued_at=now,
            expires_at=family.expires_at,
        )
        await uow.sessions.start(family, first)
        await uow.sessions.end_oldest(user.id, now, kept=SESSIONS_MAX)
        return token
