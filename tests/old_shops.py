"""Shops that are to be moved in: one whose rows a test names, and one of the real Django."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from shop.domain.moving import OldCounts, OldItem, OldOrder, OldProduct, OldUser
from shop.domain.ports import OldShop
from tests.builders import NOON

R = TypeVar("R", OldUser, OldProduct, OldOrder, OldItem)


def _next(rows: dict[int, R], after: int, limit: int) -> Sequence[R]:
    return [rows[id_] for id_ in sorted(rows) if id_ > after][:limit]


@dataclass
class FakeOldShop(OldShop):
    _users: dict[int, OldUser] = field(default_factory=dict)
    _products: dict[int, OldProduct] = field(default_factory=dict)
    _orders: dict[int, OldOrder] = field(default_factory=dict)
    _strays: dict[int, OldItem] = field(default_factory=dict)
    _items: int = 0

    async def count(self) -> OldCounts:
        return OldCounts(
            users=len(self._users), products=len(self._products), orders=len(self._orders)
        )

    async def users(self, *, after: int, limit: int) -> Sequence[OldUser]:
        return _next(self._users, after, limit)

    async def products(self, *, after: int, limit: int) -> Sequence[OldProduct]:
        return _next(self._products, after, limit)

    async def orders(self, *, after: int, limit: int) -> Sequence[OldOrder]:
        return _next(self._orders, after, limit)

    async def stray_items(self, *, after: int, limit: int) -> Sequence[OldItem]:
        return _next(self._strays, after, limit)

    def user(
        self,
        id_: int,
        username: str | None = None,
        *,
        password_hash: str = "plain:secret",
        is_active: bool = True,
        is_staff: bool = False,
        created_at: datetime | None = NOON,
        **rest: str,
    ) -> None:
        self._users[id_] = OldUser(
            id=id_,
            username=f"user-{id_}" if username is None else username,
            password_hash=password_hash,
            is_active=is_active,
            is_staff=is_staff,
            created_at=created_at,
            rest=rest,
        )

    def product(
        self,
        id_: int,
        name: str = "Teapot",
        *,
        price: str | None = "12.00",
        stock: int | None = 10,
        modified_at: datetime | None = NOON,
        **rest: str,
    ) -> None:
        self._products[id_] = OldProduct(
            id=id_,
            name=name,
            price=None if price is None else Decimal(price),
            stock=stock,
            created_at=NOON,
            modified_at=modified_at,
            rest=rest,
        )

    def order(
        self,
        id_: int,
        *items: tuple[int | None, int | None],
        user_id: int | None = 1,
        code: str | None = None,
        created_at: datetime | None = NOON,
        **rest: str,
    ) -> None:
        """With items of so many pieces of a product each: (product, quantity)."""
        made = []
        for product_id, quantity in items:
            self._items += 1
            made.append(OldItem(id=self._items, product_id=product_id, quantity=quantity, rest={}))
        self._orders[id_] = OldOrder(
            id=id_,
            code=f"{id_:012d}" if code is None else code,
            user_id=user_id,
            created_at=created_at,
            modified_at=created_at,
            items=made,
            rest=rest,
        )

    def stray(self, id_: int) -> None:
        self._strays[id_] = OldItem(id=id_, product_id=1, quantity=1, rest={})

    def sold(self, product_id: int, quantity: int) -> None:
        old = self._products[product_id]
        self._products[product_id] = replace(old, stock=(old.stock or 0) - quantity)

    def forget(self, *, user: int = 0, product: int = 0, order: int = 0) -> None:
        self._users.pop(user, None)
        self._products.pop(product, None)
        self._orders.pop(order, None)


ROOT = Path(__file__).parent.parent


def django_shop(url: str, **rows: Any) -> None:
    """Make or change the shop of a database, as `tests/djangoshop` says."""
    subprocess.run(
        [sys.executable, "-m", "tests.djangoshop", url],
        input=json.dumps(rows),
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
