"""Keeping users: creating them, changing their passwords."""

from shop.domain.errors import UserNotFound
from shop.domain.ports import Clock, PasswordHasher, UnitOfWorkFactory
from shop.domain.users import Role, User, check_password, clean_username, normal_username


class CreateUser:
    def __init__(
        self, *, unit_of_work: UnitOfWorkFactory, hasher: PasswordHasher, clock: Clock
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._clock = clock

    async def __call__(self, *, username: str, password: str, role: Role = Role.CUSTOMER) -> User:
        """Raises `UsernameTaken` and `InvalidField`."""
        username = clean_username(username)
        check_password(password)
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
        return stored


class SetPassword:
    def __init__(
        self, *, unit_of_work: UnitOfWorkFactory, hasher: PasswordHasher, clock: Clock
    ) -> None:
        self._unit_of_work = unit_of_work
        self._hasher = hasher
        self._clock = clock

    async def __call__(self, *, username: str, password: str) -> None:
        """Signs the user out everywhere, too. Raises `UserNotFound` and `InvalidField`."""
        check_password(password)
        password_hash = await self._hasher.hash(password)
        async with self._unit_of_work() as uow:
            user = await uow.users.find(normal_username(username))
            if user is None:
                raise UserNotFound(username)
            await uow.users.save_password(user.id, password_hash)
            await uow.sessions.end_all(user.id, self._clock())
            await uow.commit()
