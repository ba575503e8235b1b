"""Users in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from sqlalchemy import Select, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.rows import Row, read_row, read_rows
from shop.domain.errors import UsernameTaken, UserNotFound
from shop.domain.ports import UserRepository
from shop.domain.text import folded, the_one_called
from shop.domain.users import User

_users = tables.users
# What is made from other columns is only searched in.
_MADE = ("username_folded", "username_clash")
USER_COLUMNS = [column for column in _users.columns if column.name not in _MADE]


class SqlUserRepository(UserRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: int) -> User:
        return await self._one(select(*USER_COLUMNS).where(_users.c.id == user_id), user_id)

    async def lock(self, user_id: int) -> User:
        chosen = select(*USER_COLUMNS).where(_users.c.id == user_id)
        return await self._one(chosen.with_for_update(key_share=True), user_id)

    async def find(self, username: str) -> User | None:
        is_alike = or_(_users.c.username == username, _users.c.username_folded == folded(username))
        rows = await read_rows(self._connection, select(*USER_COLUMNS).where(is_alike))
        return the_one_called(username, [User(**row) for row in rows], attrgetter("username"))

    async def add(self, user: User) -> User:
        with refusing(UsernameTaken(user.username)):
            user_id = await self._connection.scalar(
                insert(_users)
                .values(
                    username=user.username,
                    username_folded=folded(user.username),
                    created_at=user.created_at,
                    **_changing(user),
                )
                .returning(_users.c.id)
            )
        assert user_id is not None
        return replace(user, id=user_id)

    async def list_all(self, *, after: int, limit: int) -> Sequence[User]:
        rows = await read_rows(
            self._connection,
            select(*USER_COLUMNS).where(_users.c.id > after).order_by(_users.c.id).limit(limit),
        )
        return [User(**row) for row in rows]

    async def save(self, user: User) -> None:
        await self._connection.execute(
            update(_users).where(_users.c.id == user.id).values(_changing(user))
        )

    async def _one(self, chosen: Select[Any], user_id: int) -> User:
        row = await read_row(self._connection, chosen)
        if row is None:
            raise UserNotFound(user_id)
        return User(**row)


def _changing(user: User) -> Row:
    return {
        "password_hash": user.password_hash,
        "role": user.role,
        "disabled": user.disabled,
    }
