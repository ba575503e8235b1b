"""What was moved in from another shop, in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from shop.adapters.memory.database import Tables
from shop.domain.errors import WriteConflict
from shop.domain.moving import IdRange, MovedProduct
from shop.domain.ports import MovingRepository
from shop.domain.text import folded
from shop.domain.users import User


class MemoryMovingRepository(MovingRepository):
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._users = tables.users
        self._orders = tables.orders
        self._moved_users = tables.moved_users
        self._moved_products = tables.moved_products

    async def is_other_shop(self) -> bool:
        is_in_use = bool(self._users or self._tables.products)
        return is_in_use and not (self._moved_users or self._moved_products)

    async def users(self, ids: IdRange) -> dict[int, bytes]:
        return {id_: digest for id_, digest in self._moved_users.items() if id_ in ids}

    async def find_users(self, ids: IdRange, names: Collection[str]) -> Sequence[User]:
        keys = {folded(name) for name in names}
        return [
            user for user in self._users.values() if user.id in ids or folded(user.username) in keys
        ]

    async def save_users(
        self,
        new: Sequence[User],
        changed: Sequence[User],
        *,
        alike: Collection[int],
        digests: Mapping[int, bytes],
    ) -> None:
        del alike  # Names are compared as they are looked for.
        for user in new:
            if user.id in self._users:
                raise WriteConflict("Another request was faster; try again.")
            self._users[user.id] = user
        for user in changed:
            self._users[user.id] = replace(user, created_at=self._users[user.id].created_at)
        self._moved_users.update(digests)
        if new:
            self._tables.skip_ids("users", max(user.id for user in new))

    async def products(self, ids: IdRange) -> dict[int, MovedProduct]:
        return {id_: moved for id_, moved in self._moved_products.items() if id_ in ids}

    async def save_products(self, moved: Sequence[MovedProduct]) -> None:
        self._moved_products.update({one.product_id: one for one in moved})
        if moved:
            self._tables.skip_ids("products", max(one.product_id for one in moved))

    async def take(self, quantities: Mapping[int, int]) -> None:
        for product_id, quantity in quantities.items():
            moved = self._moved_products[product_id]
            self._moved_products[product_id] = replace(moved, stock=moved.stock - quantity)

    async def orders(self, first: UUID, last: UUID) -> dict[UUID, bytes]:
        return {
            order.id: order.digest for order in self._orders.values() if first <= order.id <= last
        }

    async def taken_codes(self, codes: Collection[str]) -> set[str]:
        return {order.code for order in self._orders.values() if order.code in codes}
