"""Every change that takes an idempotency key, on a shop where it has something to do."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from shop.domain.bulk import Policy, ProductRow, StockRow
from shop.domain.keys import KeyedRequest
from shop.domain.orders import Order, OrderStatus
from shop.domain.products import Product
from shop.domain.stock import StockChange
from shop.domain.users import OPERATOR, Caller
from tests.builders import NOON, items, money
from tests.stores import Store
from tests.use_cases import UseCases


@dataclass(frozen=True, kw_only=True)
class Scene:
    shop: UseCases
    store: Store
    owner: Caller
    boss: Caller
    teapot: Product
    archived: Product
    placed: Order
    paid: Order
    shipped: Order

    def by(self, other: UseCases) -> "Scene":
        """The same, seen by another process."""
        return replace(self, shop=other)

    async def state(self) -> object:
        """All that is stored: before and after a change it differs."""
        return await self.store.contents()


async def open_scene(shop: UseCases, store: Store) -> Scene:
    owner, boss = await shop.given_customer(), await shop.given_staff()
    teapot, archived = await shop.given_product(100), await shop.given_product(0)
    await shop.archive_product(caller=boss, product_id=archived.id)
    orders = []
    for statuses in ((), (OrderStatus.PAID,), (OrderStatus.PAID, OrderStatus.SHIPPED)):
        wanted = items((teapot.id, 3))
        order = (await shop.place_order(caller=owner, items=wanted)).order
        for status in statuses:
            if status is OrderStatus.PAID:
                order = await shop.pay_order(caller=boss, order_id=order.id)
            else:
                order = await shop.advance_order(caller=boss, order_id=order.id, to=status)
        orders.append(order)
    placed, paid, shipped = orders
    return Scene(
        shop=shop,
        store=store,
        owner=owner,
        boss=boss,
        teapot=teapot,
        archived=archived,
        placed=placed,
        paid=paid,
        shipped=shipped,
    )


_FIVE_MORE = StockChange(delta=5, reason="restock")

Change = Callable[[Scene, KeyedRequest | None], Awaitable[Any]]

CHANGES: dict[str, Change] = {
    "cancel": lambda s, key: s.shop.cancel_order(caller=s.owner, order_id=s.placed.id, key=key),
    "amend": lambda s, key: s.shop.amend_order(
        caller=s.owner, order_id=s.placed.id, items=items((s.teapot.id, 5)), key=key
    ),
    "pay": lambda s, key: s.shop.pay_order(
        caller=s.boss, order_id=s.placed.id, reference="pay-1", key=key
    ),
    "ship": lambda s, key: s.shop.advance_order(
        caller=s.boss, order_id=s.paid.id, to=OrderStatus.SHIPPED, key=key
    ),
    "deliver": lambda s, key: s.shop.advance_order(
        caller=s.boss, order_id=s.shipped.id, to=OrderStatus.DELIVERED, key=key
    ),
    "return": lambda s, key: s.shop.return_order(
        caller=s.boss, order_id=s.shipped.id, items=items((s.teapot.id, 1)), key=key
    ),
    "create": lambda s, key: s.shop.create_product(
        caller=s.boss, sku="NEW", name="New", price=money(), stock=3, key=key
    ),
    "change": lambda s, key: s.shop.change_product(
        caller=s.boss, product_id=s.teapot.id, price=money(5), key=key
    ),
    "archive": lambda s, key: s.shop.archive_product(
        caller=s.boss, product_id=s.teapot.id, key=key
    ),
    "restore": lambda s, key: s.shop.restore_product(
        caller=s.boss, product_id=s.archived.id, key=key
    ),
    "stock": lambda s, key: s.shop.change_stock(
        caller=s.boss, product_id=s.teapot.id, delta=5, reason="restock", key=key
    ),
    "save rows": lambda s, key: s.shop.save_products(
        caller=s.boss,
        rows=[
            ProductRow(sku="NEW", name="New", price=money(), stock=_FIVE_MORE),
            ProductRow(sku=s.teapot.sku, price=money(5)),
        ],
        policy=Policy.ALL,
        key=key,
    ),
    "import rows": lambda s, key: s.shop.import_products(
        caller=OPERATOR,
        batches=lambda: [
            [ProductRow(sku="NEW", name="New", price=money(), stock=_FIVE_MORE)],
            [ProductRow(sku=s.teapot.sku, price=money(5))],
        ],
        answered=lambda answers: None,
        key=key,
    ),
    "stock rows": lambda s, key: s.shop.save_products(
        caller=s.boss,
        rows=[StockRow(sku=s.teapot.sku, stock=_FIVE_MORE)],
        policy=Policy.EACH,
        key=key,
    ),
}

MORE_EACH_TIME = ("return", "stock", "save rows", "import rows", "stock rows")
"""Those that do more when they are done again, where the others notice by themselves."""


def keyed(
    user_id: int = 1, *, key: str = "key-1", route: str = "POST /x/", body: bytes = b"{}"
) -> KeyedRequest:
    return KeyedRequest(
        user_id=user_id,
        key=key,
        route=route,
        digest=hashlib.sha256(body).digest(),
        at=NOON,
        render=lambda result: repr(result).encode(),
    )
