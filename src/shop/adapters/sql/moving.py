"""What was moved in from another shop, in SQL."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Table,
    bindparam,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.sql import tables
from shop.adapters.sql.rows import Row, insert_into, read_rows, row_maker
from shop.adapters.sql.users import USER_COLUMNS
from shop.domain.moving import IdRange, MovedProduct
from shop.domain.ports import MovingRepository
from shop.domain.text import folded
from shop.domain.users import User

_users, _products, _orders = tables.users, tables.products, tables.orders
_moved_users, _moved_products = tables.moved_users, tables.moved_products
_moved_row = row_maker(_moved_products)


class SqlMovingRepository(MovingRepository):
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def is_other_shop(self) -> bool:
        has = {
            table: select(literal(1)).select_from(table).limit(1).scalar_subquery()
            for table in (_users, _products, _moved_users, _moved_products)
        }
        row = (await self._connection.execute(select(*has.values()))).one()
        users, products, moved_users, moved_products = row
        return bool(users or products) and not (moved_users or moved_products)

    async def users(self, ids: IdRange) -> dict[int, bytes]:
        statement = select(_moved_users).where(*_within(_moved_users.c.user_id, ids))
        rows = await read_rows(self._connection, statement)
        return {row["user_id"]: row["digest"] for row in rows}

    async def find_users(self, ids: IdRange, names: Collection[str]) -> Sequence[User]:
        # Apart, so that each part has its index.
        found: dict[int, User] = {}
        is_alike = or_(
            _users.c.username.in_(names),
            _users.c.username_folded.in_({folded(name) for name in names}),
        )
        for which in (_within(_users.c.id, ids), [is_alike]):
            rows = await read_rows(self._connection, select(*USER_COLUMNS).where(*which))
            found |= {row["id"]: User(**row) for row in rows}
        return list(found.values())

    async def save_users(
        self,
        new: Sequence[User],
        changed: Sequence[User],
        *,
        alike: Collection[int],
        digests: Mapping[int, bytes],
    ) -> None:
        if changed:
            # First: a new user may have the name that one of these had.
            await self._connection.execute(
                update(_users)
                .where(_users.c.id == bindparam("of_user"))
                .values({name: bindparam(name) for name in _changing(changed[0], alike)}),
                [{"of_user": user.id, **_changing(user, alike)} for user in changed],
            )
        if new:
            rows = [
                {"id": user.id, "created_at": user.created_at, **_changing(user, alike)}
                for user in new
            ]
            await self._connection.execute(insert(_users), rows)
            await self._skip_ids(_users, max(user.id for user in new))
        await self._upsert(
            _moved_users,
            [{"user_id": user_id, "digest": digest} for user_id, digest in digests.items()],
        )

    async def products(self, ids: IdRange) -> dict[int, MovedProduct]:
        statement = select(_moved_products).where(*_within(_moved_products.c.product_id, ids))
        rows = await read_rows(self._connection, statement)
        return {row["product_id"]: MovedProduct(**row) for row in rows}

    async def save_products(self, moved: Sequence[MovedProduct]) -> None:
        await self._upsert(_moved_products, list(map(_moved_row, moved)))
        if moved:
            await self._skip_ids(_products, max(one.product_id for one in moved))

    async def take(self, quantities: Mapping[int, int]) -> None:
        await self._connection.execute(
            update(_moved_products)
            .where(_moved_products.c.product_id == bindparam("of_product"))
            .values(stock=_moved_products.c.stock - bindparam("quantity", type_=BigInteger)),
            [{"of_product": id_, "quantity": quantity} for id_, quantity in quantities.items()],
        )

    async def orders(self, first: UUID, last: UUID) -> dict[UUID, bytes]:
        statement = select(_orders.c.id, _orders.c.digest).where(_orders.c.id.between(first, last))
        rows = await read_rows(self._connection, statement)
        return {row["id"]: row["digest"] for row in rows}

    async def taken_codes(self, codes: Collection[str]) -> set[str]:
        is_one = _orders.c.code.in_(codes)
        return set(await self._connection.scalars(select(_orders.c.code).where(is_one)))

    async def _upsert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        new = insert_into(self._connection, table)
        key, *others = table.columns
        await self._connection.execute(
            new.on_conflict_do_update(
                index_elements=[key], set_={one.name: new.excluded[one.name] for one in others}
            ),
            rows,
        )

    async def _skip_ids(self, table: Table, last: int) -> None:
        """PostgreSQL gives the next id whatever is stored; SQLite the one after the highest."""
        if self._connection.dialect.name == "postgresql":
            sequence = cast(func.pg_get_serial_sequence(table.name, "id"), postgresql.REGCLASS)
            given = func.coalesce(func.pg_sequence_last_value(sequence), 0)
            await self._connection.execute(
                select(func.setval(sequence, literal(last, BigInteger))).where(given < last)
            )


def _within(column: Column[int], ids: IdRange) -> Sequence[ColumnElement[bool]]:
    return column > ids.after, column <= ids.last


def _changing(user: User, alike: Collection[int]) -> Row:
    return {
        "username": user.username,
        "username_folded": folded(user.username),
        # Ids of users there have 31 bits; of what tells names apart it is enough anyway.
        "username_clash": user.id % 2**31 if user.id in alike else 0,
        "password_hash": user.password_hash,
        "role": user.role,
        "disabled": user.disabled,
    }
