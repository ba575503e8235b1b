"""Keeping users: creating and disabling them, changing their passwords."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from shop.domain.errors import (
    InvalidField,
    RegistrationClosed,
    UsernameTaken,
    UserNotFound,
)
from shop.domain.events import Event
from shop.domain.ports import (
    Audit,
    Clock,
    IsCommonPassword,
    PasswordHasher,
    UnitOfWork,
    UnitOfWorkFactory,
)
from shop.domain.services.check_user import user_of
from shop.domain.services.throttle_sign_in import forgive_attempt, note_attempt
from shop.domain.throttling import AttemptKeys
from shop.domain.users import (
    OPERATOR,
    Caller,
    Role,
    User,
    check_password,
    clean_username,
    normal_username,
)

USERS_PER_STEP = 1_000


@dataclass(frozen=True, kw_only=True)
class CreateUser:
    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    is_common_password: IsCommonPassword

    async def __call__(
        self, *, caller: Caller, username: str, password: str, role: Role = Role.CUSTOMER
    ) -> User:
        """Raises `OperatorOnly`, `UsernameTaken` and `InvalidField`."""
        caller.require_operator()
        username = clean_username(username)
        check_password(password, username=username, is_common=self.is_common_password)
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            # Before the costly hash; the database has the last word.
            if await uow.users.find(username) is not None:
                raise UsernameTaken(username)
        user = User(
            id=0,
            username=username,
            password_hash=await self.hasher.hash(password),
            role=role,
            disabled=False,
            created_at=self.clock(),
        )
        async with self.unit_of_work() as uow:
            stored = await uow.users.add(user)
            uow.record(_event("user.created", stored, role=stored.role.value))
            await uow.commit()
        return stored


@dataclass(frozen=True, kw_only=True)
class RegisterUser:
    """Let people create their own accounts, where the shop is open for that."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    audit: Audit
    create_user: CreateUser
    is_open: bool

    async def __call__(self, *, username: str, password: str, address: str) -> User:
        """A customer. Raises what `CreateUser` does, `RegistrationClosed` and `TooManyAttempts`."""
        if not self.is_open:
            raise RegistrationClosed
        throttled = Event(name="user.creation_throttled", about={"address": address})
        async with self.unit_of_work() as uow:
            # Counted like failed sign-ins and never forgiven, so that nobody makes thousands.
            keys = AttemptKeys.of_registration(address)
            await note_attempt(uow.attempts, keys, self.clock(), self.audit, throttled)
            await uow.commit()
        # The shop itself creates it: nobody is signed in here.
        return await self.create_user(caller=OPERATOR, username=username, password=password)


@dataclass(frozen=True, kw_only=True)
class ReadUser:
    """Read one's own account."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> User:
        """Raises `InvalidToken` for a caller of another database."""
        async with self.unit_of_work(read_only=True, caller=caller) as uow:
            return await user_of(uow, caller)


@dataclass(frozen=True, kw_only=True)
class ListUsers:
    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller) -> AsyncIterator[Sequence[User]]:
        """All users by id, step by step. Raises `OperatorOnly`."""
        caller.require_operator()
        after = 0
        while True:
            async with self.unit_of_work(read_only=True, caller=caller) as uow:
                users = await uow.users.list_all(after=after, limit=USERS_PER_STEP)
            if not users:
                return
            yield users
            after = users[-1].id


@dataclass(frozen=True, kw_only=True)
class SetPassword:
    """Set a user's password, as an operator."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    is_common_password: IsCommonPassword

    async def __call__(self, *, caller: Caller, username: str, password: str) -> None:
        """Signs the user out everywhere, too.

        Raises `OperatorOnly`, `UserNotFound` and `InvalidField`.
        """
        caller.require_operator()
        check_password(password, username=username, is_common=self.is_common_password)
        password_hash = await self.hasher.hash(password)
        async with self.unit_of_work() as uow:
            user = await _lock_named(uow, username)
            await _replace_password(uow, user, password_hash, self.clock)
            await uow.commit()


@dataclass(frozen=True, kw_only=True)
class ChangePassword:
    """Change one's own password, by the current one."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock
    audit: Audit
    hasher: PasswordHasher
    is_common_password: IsCommonPassword

    async def __call__(self, *, caller: Caller, current: str, new: str, address: str) -> None:
        """Ends all sessions of the user, this one too.

        Raises `InvalidField` for a wrong current password or a bad new one, `InvalidToken`, and
        `TooManyAttempts`: whoever holds a stolen access token must not guess faster than at the
        front door.
        """
        user, keys = await self._begin(caller, new, address)
        if not await self.hasher.verify(current, user.password_hash):
            self.audit(_event("password.change_failed", user, address=address))
            raise InvalidField("current", "is not the current password")
        password_hash = await self.hasher.hash(new)
        async with self.unit_of_work() as uow:
            await forgive_attempt(uow.attempts, keys, self.clock())
            if await uow.users.lock(user.id) != user:
                raise InvalidField("current", "is not the current password")
            await _replace_password(uow, user, password_hash, self.clock)
            await uow.commit()

    async def _begin(self, caller: Caller, new: str, address: str) -> tuple[User, AttemptKeys]:
        """Count the attempt before anything is tried."""
        async with self.unit_of_work() as uow:
            user = await user_of(uow, caller)
            check_password(
                new, username=user.username, is_common=self.is_common_password, field="new"
            )
            keys = AttemptKeys.of(f"password of {user.id}", address)
            throttled = _event("password.change_throttled", user, address=address)
            await note_attempt(uow.attempts, keys, self.clock(), self.audit, throttled)
            await uow.commit()
        return user, keys


@dataclass(frozen=True, kw_only=True)
class DisableUser:
    """Disable a user: no more sign-ins, and no more sessions."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    async def __call__(self, *, caller: Caller, username: str) -> User:
        """Raises `OperatorOnly` and `UserNotFound`."""
        caller.require_operator()
        async with self.unit_of_work() as uow:
            user = replace(await _lock_named(uow, username), disabled=True)
            await uow.users.save(user)
            await uow.sessions.end_all(user.id, self.clock())
            uow.record(_event("user.disabled", user))
            await uow.commit()
        return user


@dataclass(frozen=True, kw_only=True)
class EnableUser:
    """Let a disabled user sign in again."""

    unit_of_work: UnitOfWorkFactory

    async def __call__(self, *, caller: Caller, username: str) -> User:
        """Raises `OperatorOnly` and `UserNotFound`."""
        caller.require_operator()
        async with self.unit_of_work() as uow:
            user = replace(await _lock_named(uow, username), disabled=False)
            await uow.users.save(user)
            uow.record(_event("user.enabled", user))
            await uow.commit()
        return user


async def _lock_named(uow: UnitOfWork, username: str) -> User:
    user = await uow.users.find(normal_username(username))
    if user is None:
        raise UserNotFound(username)
    return await uow.users.lock(user.id)


async def _replace_password(uow: UnitOfWork, user: User, password_hash: str, clock: Clock) -> None:
    """With a new password, all that was signed in by the old one ends."""
    await uow.users.save(replace(user, password_hash=password_hash))
    await uow.sessions.end_all(user.id, clock())
    uow.record(_event("password.changed", user))


def _event(name: str, user: User, **about: str) -> Event:
    return Event(name=name, about={"user": user.id, **about})
