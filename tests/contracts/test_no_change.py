"""A change to what is so already changes nothing: no version, no time, no movement, no event."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shop.domain.orders import OrderStatus
from shop.domain.products import NO_MAX
from shop.domain.users import OPERATOR, Role
from tests.builders import items
from tests.contracts.changes import Scene, open_scene
from tests.stores import Store
from tests.use_cases import UseCases


def _change_product(**fields: Any) -> Callable[[Scene], Awaitable[object]]:
    return lambda s: s.shop.change_product(caller=s.boss, product_id=s.teapot.id, **fields)


NOTHING: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "no field of a product": _change_product(),
    "all fields of a product as they are": lambda s: s.shop.change_product(
        caller=s.boss,
        product_id=s.teapot.id,
        sku=s.teapot.sku,
        name=s.teapot.name,
        description=s.teapot.description,
        price=s.teapot.price,
        max_per_order=NO_MAX,
        expected_versions={s.teapot.version},
    ),
    "a name with blanks around it": lambda s: s.shop.change_product(
        caller=s.boss, product_id=s.teapot.id, name=f" {s.teapot.name} "
    ),
    "no limit where there is none": _change_product(max_per_order=NO_MAX),
    "archived again": lambda s: s.shop.archive_product(caller=s.boss, product_id=s.archived.id),
    "restored again": lambda s: s.shop.restore_product(caller=s.boss, product_id=s.teapot.id),
    "the stock that there is": lambda s: s.shop.change_stock(
        caller=s.boss, product_id=s.archived.id, reason="counted", quantity=0, expected=0
    ),
    "the lines of an order": lambda s: s.shop.amend_order(
        caller=s.owner, order_id=s.placed.id, items=items((s.teapot.id, 1), (s.teapot.id, 2))
    ),
    "paid again": lambda s: s.shop.pay_order(caller=s.boss, order_id=s.paid.id),
    "shipped again": lambda s: s.shop.advance_order(
        caller=s.boss, order_id=s.shipped.id, to=OrderStatus.SHIPPED, note="again"
    ),
    "the same role": lambda s: s.shop.set_role(
        caller=OPERATOR, username="disabled", role=Role.CUSTOMER
    ),
    "disabled again": lambda s: s.shop.disable_user(caller=OPERATOR, username="disabled"),
    "enabled again": lambda s: s.shop.enable_user(caller=OPERATOR, username="enabled"),
}


@pytest.fixture
async def scene(shop: UseCases, store: Store) -> Scene:
    scene = await open_scene(shop, store)
    for name in ("disabled", "enabled"):
        await shop.given_customer(name)
    await shop.disable_user(caller=OPERATOR, username="disabled")
    return scene


@pytest.mark.parametrize("name", NOTHING)
async def test_what_is_so_already_changes_nothing(scene: Scene, name: str) -> None:
    stored, told = await scene.state(), list(scene.shop.audit.events)
    await NOTHING[name](scene)
    assert await scene.state() == stored
    assert scene.shop.audit.events == told
