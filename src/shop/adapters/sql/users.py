"""Users in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.rows import read_row, read_rows, row_maker
from shop.domain.errors import UsernameTaken, UserNotFound
from shop.domain.ports import UserRepository
from shop.domain.users import User

_users = tables.users
_user_row = row_maker(_users)


class SqlUserRepository(UserRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: int) -> User:
        return await self._one(select(_users).where(_users.c.id == user_id), user_id)

    async def lock(self, user_id: int) -> User:
        statement = select(_users).where(_users.c.id == user_id).with_for_update(key_share=True)
        return await self._one(statement, user_id)

    async def find(self, username: str) -> User | None:
        row = await read_row(self._connection, select(_users).where(_users.c.username == username))
        return None if row is None else User(**row)

    async def add(self, user: User) -> User:
        with refusing(UsernameTaken(user.username)):
            user_id = await self._connection.scalar(
                insert(_users).values(_user_row(user)).returning(_users.c.id)
            )
        assert user_id is not None
        return replace(user, id=user_id)

    async def list_all(self, *, after: int, limit: int) -> Sequence[User]:
        rows = await read_rows(
            self._connection,
            select(_users).where(_users.c.id > after).order_by(_users.c.id).limit(limit),
        )
        return [User(**row) for row in rows]

    async def save(self, user: User) -> None:
        await self._connection.execute(
            update(_users).where(_users.c.id == user.id).values(_user_row(user))
        )

    async def _one(self, chosen: Select[Any], user_id: int) -> User:
        row = await read_row(self._connection, chosen)
        if row is None:
            raise UserNotFound(user_id)
        return User(**row)
