"""Keeping users: creating and disabling them, changing their passwords."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from shop.domain.errors import (
    InvalidField,
    InvalidToken,
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
from shop.domain.services.check_user import active_user_of, user_of
from shop.domain.services.retrying import retrying
from shop.domain.services.sign_in import HASHES_TRIED_MAX, fitting_form
from shop.domain.services.throttle_sign_in import ThrottleSignIn
from shop.domain.throttling import Attempt, AttemptKeys
from shop.domain.users import (
    OPERATOR,
    Caller,
    Role,
    User,
    check_password,
    clean_username,
    normal_password,
    normal_username,
)

USERS_PER_STEP = 1_000


@dataclass(frozen=True, kw_only=True)
class CreateUser:
    unit_of_work: UnitOfWorkFactory
    clock: Clock
    hasher: PasswordHasher
    is_common_password: IsCommonPassword

    @retrying
    async def __call__(
        self, *, caller: Caller, username: str, password: str, role: Role = Role.CUSTOMER
    ) -> User:
        """Raises `OperatorOnly`, `UsernameTaken` and `InvalidField`."""
        caller.require_operator()
        username = clean_username(username)
        password = check_password(password, username=username, is_common=self.is_common_password)
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

    throttle: ThrottleSignIn
    create_user: CreateUser
    is_open: bool

    async def __call__(self, *, username: str, password: str, address: str) -> User:
        """A customer. Raises what `CreateUser` does, `RegistrationClosed` and `TooManyAttempts`."""
        if not self.is_open:
            raise RegistrationClosed
        async with self.throttle(
            keys=AttemptKeys.of_registration(address),
            throttled=Event(name="user.creation_throttled", about={"address": address}),
            find=_nothing,
        ) as (attempt, _):
            # The shop itself creates it: nobody is signed in here.
            user = await self.create_user(caller=OPERATOR, username=username, password=password)
            # Counted like a failed sign-in and never forgiven, so that nobody makes thousands.
            await self.throttle.fail(attempt)
        return user


@dataclass(frozen=True, kw_only=True)
class ReadUser:
    """Read one's own account."""

    unit_of_work: UnitOfWorkFactory

    @retrying
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

    @retrying
    async def __call__(self, *, caller: Caller, username: str, password: str) -> None:
        """Signs the user out everywhere, too.

        Raises `OperatorOnly`, `UserNotFound` and `InvalidField`.
        """
        caller.require_operator()
        password = check_password(password, username=username, is_common=self.is_common_password)
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
    throttle: ThrottleSignIn
    hasher: PasswordHasher
    is_common_password: IsCommonPassword

    async def __call__(self, *, caller: Caller, current: str, new: str, address: str) -> None:
        """Ends all sessions of the user, this one too.

        Raises `InvalidField` for a wrong current password or a bad new one, `InvalidToken`, and
        `TooManyAttempts`: whoever holds a stolen access token must not guess faster than at the
        front door.
        """

        async def find(uow: UnitOfWork) -> User:
            user = await active_user_of(uow, caller)
            check_password(
                new, username=user.username, is_common=self.is_common_password, field="new"
            )
            return user

        about: dict[str, str | int] = {"user": caller.user_id, "address": address}
        async with self.throttle(
            keys=AttemptKeys.of(f"password of {caller.user_id}", address),
            throttled=Event(name="password.change_throttled", about=about),
            find=find,
        ) as (attempt, user):
            password_hash: str | None = None
            for _ in range(HASHES_TRIED_MAX):
                if await fitting_form(self.hasher, current, user.password_hash) is None:
                    break
                password_hash = password_hash or await self.hasher.hash(normal_password(new))
                verified, user = user, await self._replace(attempt, user, password_hash)
                if user == verified:
                    return
            self.audit(Event(name="password.change_failed", about=about))
            raise InvalidField("current", "is not the current password")

    @retrying
    async def _replace(self, attempt: Attempt, user: User, password_hash: str) -> User:
        """The user that was verified; or the user of now, who has changed since: nothing is done.

        A sign-in may have replaced an outdated hash meanwhile; that is no change of the password.
        """
        async with self.unit_of_work() as uow:
            await self.throttle.succeed(uow, attempt)
            current = await uow.users.lock(user.id)
            if current.disabled:
                raise InvalidToken
            if current == user:
                await _replace_password(uow, user, password_hash, self.clock)
                await uow.commit()
        return current


@dataclass(frozen=True, kw_only=True)
class DisableUser:
    """Disable a user: no more sign-ins, and no more sessions."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(self, *, caller: Caller, username: str) -> User:
        """The disabled user; one who is disabled already, as they are.

        Raises `OperatorOnly` and `UserNotFound`.
        """
        caller.require_operator()
        async with self.unit_of_work() as uow:
            user = await _lock_named(uow, username)
            if user.disabled:
                return user
            disabled = replace(user, disabled=True)
            await uow.users.save(disabled)
            await uow.sessions.end_all(user.id, self.clock())
            uow.record(_event("user.disabled", disabled))
            await uow.commit()
        return disabled


@dataclass(frozen=True, kw_only=True)
class EnableUser:
    """Let a disabled user sign in again."""

    unit_of_work: UnitOfWorkFactory

    @retrying
    async def __call__(self, *, caller: Caller, username: str) -> User:
        """The user; one who is not disabled, as they are.

        Raises `OperatorOnly` and `UserNotFound`.
        """
        caller.require_operator()
        async with self.unit_of_work() as uow:
            user = await _lock_named(uow, username)
            if not user.disabled:
                return user
            enabled = replace(user, disabled=False)
            await uow.users.save(enabled)
            uow.record(_event("user.enabled", enabled))
            await uow.commit()
        return enabled


@dataclass(frozen=True, kw_only=True)
class SetRole:
    """Make a user staff, or staff a customer."""

    unit_of_work: UnitOfWorkFactory
    clock: Clock

    @retrying
    async def __call__(self, *, caller: Caller, username: str, role: Role) -> User:
        """The user in that role; one who has it already, as they are.

        A change of it ends all sessions: one that was stolen from a customer must not become one of
        staff. Raises `OperatorOnly` and `UserNotFound`.
        """
        caller.require_operator()
        async with self.unit_of_work() as uow:
            user = await _lock_named(uow, username)
            if user.role is role:
                return user
            changed = replace(user, role=role)
            await uow.users.save(changed)
            await uow.sessions.end_all(user.id, self.clock())
            uow.record(_event("user.role_changed", changed, role=role.value))
            await uow.commit()
        return changed


async def _nothing(_uow: UnitOfWork) -> None:
    """What registering looks for in the transaction that counts it."""


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
