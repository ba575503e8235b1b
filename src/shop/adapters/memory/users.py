"""Users in memory."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from shop.adapters.memory.database import Tables
from shop.domain.errors import UsernameTaken, UserNotFound
from shop.domain.ports import UserRepository
from shop.domain.text import folded, the_one_called
from shop.domain.users import User


class MemoryUserRepository(UserRepository):
    def __init__(self, tables: Tables) -> None:
        self._users = tables.users
        self._ids = tables.ids["users"]

    async def get(self, user_id: int) -> User:
        try:
            return self._users[user_id]
        except KeyError:
            raise UserNotFound(user_id) from None

    async def find(self, username: str) -> User | None:
        return the_one_called(username, self._users.values(), attrgetter("username"))

    async def add(self, user: User) -> User:
        taken = {folded(other.username) for other in self._users.values()}
        if folded(user.username) in taken:
            raise UsernameTaken(user.username)
        stored = replace(user, id=next(self._ids))
        self._users[stored.id] = stored
        return stored

    async def lock(self, user_id: int) -> User:
        return await self.get(user_id)

    async def list_all(self, *, after: int, limit: int) -> Sequence[User]:
        ids = sorted(user_id for user_id in self._users if user_id > after)
        return [self._users[user_id] for user_id in ids[:limit]]

    async def save(self, user: User) -> None:
        self._users[user.id] = user
