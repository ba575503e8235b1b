"""Keeping users: creating and disabling them, changing their passwords."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from shop.domain.errors import (
    InvalidField,
    RegistrationClosed,
    UsernameTaken,
    UserNotFound,
)
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
    Caller,
    Role,
    User,
    check_password,
    clean_username,
    normal_username,
)

USERS_PER_STEP = 1_000


class CreateUser:
    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        hasher: PasswordHasher,
        is_common_password: IsCommonPassword,
        clock: Clock,
        audit: Audit,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._is_common_password = is_common_password
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, username: str, password: str, role: Role = Role.CUSTOMER) -> User:
        """Raises `UsernameTaken` and `InvalidField`."""
        username = clean_username(username)
        check_password(password, username=username, is_common=self._is_common_password)
        async with self._unit_of_work(read_only=True) as uow:
            # Before the costly hash; the database has the last word.
            if await uow.users.find(username) is not None:
                raise UsernameTaken(username)
        user = User(
            id=0,
            username=username,
            password_hash=await self._hasher.hash(password),
            role=role,
            disabled=False,
            created_at=self._clock(),
        )
        async with self._unit_of_work() as uow:
            stored = await uow.users.add(user)
            await uow.commit()
        self._audit("user.created", user=stored.id, role=stored.role.value)
        return stored


class RegisterUser:
    """Let people create their own accounts, where the shop is open for that."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        create_user: CreateUser,
        clock: Clock,
        audit: Audit,
        is_open: bool,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._create_user = create_user
        self._clock = clock
        self._audit = audit
        self._is_open = is_open

    async def __call__(self, *, username: str, password: str, address: str) -> User:
        """A customer. Raises what `CreateUser` does, `RegistrationClosed` and `TooManyAttempts`."""
        if not self._is_open:
            raise RegistrationClosed
        async with self._unit_of_work() as uow:
            # Counted like failed sign-ins and never forgiven, so that nobody makes thousands.
            await note_attempt(
                self._audit,
                "user.creation_throttled",
                uow.attempts,
                AttemptKeys.of_registration(address),
                self._clock(),
                address=address,
            )
            await uow.commit()
        return await self._create_user(username=username, password=password)


class ReadUser:
    """Read one's own account."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self, *, caller: Caller) -> User:
        """Raises `InvalidToken` for a caller of another database."""
        async with self._unit_of_work(read_only=True) as uow:
            return await user_of(uow, caller)


class ListUsers:
    def __init__(self, *, unit_of_work: UnitOfWorkFactory) -> None:
        self._unit_of_work = unit_of_work

    async def __call__(self) -> AsyncIterator[Sequence[User]]:
        """All users by id, step by step."""
        after = 0
        while True:
            async with self._unit_of_work(read_only=True) as uow:
                users = await uow.users.list_all(after=after, limit=USERS_PER_STEP)
            if not users:
                return
            yield users
            after = users[-1].id


class SetPassword:
    """Set a user's password, as an operator."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        hasher: PasswordHasher,
        is_common_password: IsCommonPassword,
        clock: Clock,
        audit: Audit,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._is_common_password = is_common_password
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, username: str, password: str) -> None:
        """Signs the user out everywhere, too. Raises `UserNotFound` and `InvalidField`."""
        check_password(password, username=username, is_common=self._is_common_password)
        password_hash = await self._hasher.hash(password)
        async with self._unit_of_work() as uow:
            user = await _lock_named(uow, username)
            await uow.users.save(replace(user, password_hash=password_hash))
            await uow.sessions.end_all(user.id, self._clock())
            await uow.commit()
        self._audit("password.changed", user=user.id)


class ChangePassword:
    """Change one's own password, by the current one."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        hasher: PasswordHasher,
        is_common_password: IsCommonPassword,
        clock: Clock,
        audit: Audit,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._is_common_password = is_common_password
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, caller: Caller, current: str, new: str, address: str) -> None:
        """Ends all sessions of the user, this one too.

        Raises `InvalidField` for a wrong current password or a bad new one, `InvalidToken`, and
        `TooManyAttempts`: whoever holds a stolen access token must not guess faster than at the
        front door.
        """
        async with self._unit_of_work() as uow:
            user = await user_of(uow, caller)
            check_password(
                new, username=user.username, is_common=self._is_common_password, field="new"
            )
            keys = AttemptKeys.of(f"password of {user.id}", address)
            await note_attempt(
                self._audit,
                "password.change_throttled",
                uow.attempts,
                keys,
                self._clock(),
                user=user.id,
                address=address,
            )
            await uow.commit()
        if not await self._hasher.verify(current, user.password_hash):
            self._audit("password.change_failed", user=user.id, address=address)
            raise InvalidField("current", "is not the current password")
        password_hash = await self._hasher.hash(new)
        async with self._unit_of_work() as uow:
            await forgive_attempt(uow.attempts, keys, self._clock())
            if await uow.users.lock(user.id) != user:
                raise InvalidField("current", "is not the current password")
            await uow.users.save(replace(user, password_hash=password_hash))
            await uow.sessions.end_all(user.id, self._clock())
            await uow.commit()
        self._audit("password.changed", user=user.id)


class SwitchUser:
    """Disable a user, or enable one again."""

    def __init__(self, *, unit_of_work: UnitOfWorkFactory, clock: Clock, audit: Audit) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._audit = audit

    async def __call__(self, *, username: str, disabled: bool) -> User:
        """Disabling signs the user out everywhere, too. Raises `UserNotFound`."""
        async with self._unit_of_work() as uow:
            user = replace(await _lock_named(uow, username), disabled=disabled)
            await uow.users.save(user)
            if disabled:
                await uow.sessions.end_all(user.id, self._clock())
            await uow.commit()
        self._audit("user.disabled" if disabled else "user.enabled", user=user.id)
        return user


async def _lock_named(uow: UnitOfWork, username: str) -> User:
    user = await uow.users.find(normal_username(username))
    if user is None:
        raise UserNotFound(username)
    return await uow.users.lock(user.id)
