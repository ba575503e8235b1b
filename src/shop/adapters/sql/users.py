"""Users in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.errors import violates
from shop.domain.errors import UsernameTaken, UserNotFound
from shop.domain.ports import UserRepository
from shop.domain.users import Role, User

_users = tables.users


class SqlUserRepository(UserRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, user_id: int) -> User:
        rows = await self._connection.execute(select(_users).where(_users.c.id == user_id))
        row = rows.one_or_none()
        if row is None:
            raise UserNotFound(user_id)
        return _user_from(row)

    async def find(self, username: str) -> User | None:
        rows = await self._connection.execute(select(_users).where(_users.c.username == username))
        row = rows.one_or_none()
        return None if row is None else _user_from(row)

    async def add(self, user: User) -> User:
        statement = (
            insert(_users)
            .values(
                username=user.username,
                password_hash=user.password_hash,
                role=user.role.value,
                disabled=user.disabled,
                created_at=user.created_at,
            )
            .returning(_users.c.id)
        )
        try:
            user_id = await self._connection.scalar(statement)
        except IntegrityError as error:
            if violates(error, constraint="users_username_key", sqlite_columns="users.username"):
                raise UsernameTaken(user.username) from error
            raise
        assert user_id is not None
        return replace(user, id=user_id)

    async def lock(self, user_id: int) -> User:
        rows = await self._connection.execute(
            select(_users).where(_users.c.id == user_id).with_for_update(key_share=True)
        )
        row = rows.one_or_none()
        if row is None:
            raise UserNotFound(user_id)
        return _user_from(row)

    async def list_all(self, *, after: int, limit: int) -> Sequence[User]:
        rows = await self._connection.execute(
            select(_users).where(_users.c.id > after).order_by(_users.c.id).limit(limit)
        )
        return [_user_from(row) for row in rows]

    async def save(self, user: User) -> None:
        await self._connection.execute(
            update(_users)
            .where(_users.c.id == user.id)
            .values(password_hash=user.password_hash, role=user.role.value, disabled=user.disabled)
        )


def _user_from(row: Row[Any]) -> User:
    return User(
        id=row.id,
        username=row.username,
        password_hash=row.password_hash,
        role=Role(row.role),
        disabled=row.disabled,
        created_at=row.created_at,
    )
