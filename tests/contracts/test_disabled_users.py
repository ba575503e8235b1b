"""A disabled user changes nothing on any store, though their access token lives on for minutes.

Nor does who is staff no more, as staff.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shop.domain.bulk import Policy, ProductRow
from shop.domain.errors import InvalidToken, StaffOnly
from shop.domain.orders import OrderStatus
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import PASSWORD, items, money, order_id, request
from tests.services.test_callers import READS, SIGNED_IN, STAFF, names
from tests.stores import Store
from tests.use_cases import ADDRESS, UseCases

Change = Callable[[UseCases, Caller], Awaitable[Any]]

# Of order 1, which is the caller's and placed, order 2, which is paid, product 1, and product 2,
# which is archived.
CHANGES: dict[str, Change] = {
    "place_order": lambda shop, who: shop.place_order(caller=who, items=items((1, 1))),
    "amend_order": lambda shop, who: shop.amend_order(
        caller=who, order_id=order_id(1), items=items((1, 2))
    ),
    "cancel_order": lambda shop, who: shop.cancel_order(caller=who, order_id=order_id(1)),
    "change_password": lambda shop, who: shop.change_password(
        caller=who, current=PASSWORD, new="another password", address=ADDRESS
    ),
    "sign_out_everywhere": lambda shop, who: shop.sign_out_everywhere(caller=who),
    "pay_order": lambda shop, who: shop.pay_order(caller=who, order_id=order_id(1)),
    "advance_order": lambda shop, who: shop.advance_order(
        caller=who, order_id=order_id(2), to=OrderStatus.SHIPPED
    ),
    "return_order": lambda shop, who: shop.return_order(caller=who, order_id=order_id(3)),
    "create_product": lambda shop, who: shop.create_product(
        caller=who, sku="NEW", name="Lamp", price=money()
    ),
    "change_product": lambda shop, who: shop.change_product(caller=who, product_id=1, name="Mug"),
    "archive_product": lambda shop, who: shop.archive_product(caller=who, product_id=1),
    "restore_product": lambda shop, who: shop.restore_product(caller=who, product_id=2),
    "change_stock": lambda shop, who: shop.change_stock(
        caller=who, product_id=1, delta=5, reason="restock"
    ),
    "save_products": lambda shop, who: shop.save_products(
        caller=who,
        rows=[ProductRow(sku="NEW", name="Lamp", price=money())],
        policy=Policy.EACH,
    ),
}


def test_every_change_that_a_user_can_make_is_here() -> None:
    changing = set(names(SIGNED_IN, STAFF)) - set(names(READS))
    assert changing - set(CHANGES) == set(), "use cases without a row here"
    assert set(CHANGES) - changing == set(), "rows of what users cannot change"


@pytest.fixture
async def boss(shop: UseCases) -> Caller:
    """Staff, whose orders are placed, paid and shipped."""
    boss = await shop.given_staff("boss")
    await shop.given_product(10)
    await shop.archive_product(caller=OPERATOR, product_id=(await shop.given_product(10)).id)
    for number in (1, 2, 3):
        await shop.place_order(caller=boss, items=items((1, 1)), order_id=order_id(number))
    for number in (2, 3):
        await shop.pay_order(caller=OPERATOR, order_id=order_id(number))
    await shop.advance_order(caller=OPERATOR, order_id=order_id(3), to=OrderStatus.SHIPPED)
    await shop.sign_in(username="boss", password=PASSWORD)
    return boss


async def stored(store: Store, shop: UseCases, boss: Caller) -> list[object]:
    """All that the changes would change."""
    async with store.unit_of_work(read_only=True) as uow:
        user = await uow.users.get(boss.user_id)
        products = [await uow.products.get(product_id) for product_id in (1, 2)]
        orders = [await uow.orders.get(order_id(number)) for number in (1, 2, 3)]
        new = await uow.products.find("NEW")
    sessions = (await shop.list_sessions(caller=boss)).items
    return [user, products, orders, new, sessions, await store.movements(), await store.events()]


@pytest.mark.parametrize("name", CHANGES)
async def test_who_is_disabled_changes_nothing(
    shop: UseCases, store: Store, boss: Caller, name: str
) -> None:
    await store.disable_user(boss.user_id)
    before = await stored(store, shop, boss)
    with pytest.raises(InvalidToken):
        await CHANGES[name](shop, boss)
    assert await stored(store, shop, boss) == before


@pytest.mark.parametrize("name", CHANGES)
async def test_who_is_enabled_again_changes_things(
    shop: UseCases, store: Store, boss: Caller, name: str
) -> None:
    await shop.disable_user(caller=OPERATOR, username="boss")
    await shop.enable_user(caller=OPERATOR, username="boss")
    await CHANGES[name](shop, boss)


# A customer's, too, of what is their own.
UNHARMED = {"place_order", "change_password", "sign_out_everywhere"}


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - UNHARMED))
async def test_who_is_staff_no_more_changes_nothing_as_staff(
    shop: UseCases, store: Store, boss: Caller, name: str
) -> None:
    await shop.set_role(caller=OPERATOR, username="boss", role=Role.CUSTOMER)
    before = await stored(store, shop, boss)
    with pytest.raises(InvalidToken):
        await CHANGES[name](shop, boss)
    assert await stored(store, shop, boss) == before


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - names(STAFF)))
async def test_who_is_staff_no_more_changes_what_is_their_own_with_a_new_token(
    shop: UseCases, boss: Caller, name: str
) -> None:
    await shop.set_role(caller=OPERATOR, username="boss", role=Role.CUSTOMER)
    signed_in = await shop.sign_in(username="boss", password=PASSWORD)
    assert signed_in.caller == Caller(user_id=boss.user_id, role=Role.CUSTOMER)
    await CHANGES[name](shop, signed_in.caller)


@pytest.mark.parametrize("name", CHANGES)
async def test_who_becomes_staff_keeps_what_they_may_with_an_old_token(
    shop: UseCases, boss: Caller, name: str
) -> None:
    """A promotion needs no haste: the token that says customer goes on as one."""
    await shop.set_role(caller=OPERATOR, username="boss", role=Role.CUSTOMER)
    await shop.set_role(caller=OPERATOR, username="boss", role=Role.STAFF)
    customer = Caller(user_id=boss.user_id, role=Role.CUSTOMER)
    if name in names(STAFF):
        with pytest.raises(StaffOnly):
            await CHANGES[name](shop, customer)
    else:
        await CHANGES[name](shop, customer)


async def test_a_disabled_user_in_a_batch_harms_no_neighbour(
    shop: UseCases, store: Store, boss: Caller
) -> None:
    anna = await shop.given_customer("anna")
    await store.disable_user(boss.user_id)
    refused, placed = await shop.decide_orders(
        [
            request((1, 7), number=4, user_id=boss.user_id),
            request((1, 7), number=5, user_id=anna.user_id),
        ]
    )
    assert isinstance(refused, InvalidToken)
    assert placed.order.user_id == anna.user_id
