"""Reading orders: one's own; staff everybody's."""

import pytest

from shop.domain.errors import OrderNotFound
from shop.domain.orders import OrderQuery
from shop.domain.pages import Count, Window
from shop.domain.products import Product
from tests.builders import customer, items, order_id, staff
from tests.use_cases import UseCases

ALL = Window(limit=100)


@pytest.fixture
async def teapot(shop: UseCases) -> Product:
    """One, and three orders for it: two of user 1, one of user 2."""
    teapot = await shop.given_product(100)
    for number, user_id in ((1, 1), (2, 2), (3, 1)):
        await shop.place_order(
            caller=customer(user_id), items=items((teapot.id, 1)), order_id=order_id(number)
        )
    return teapot


@pytest.mark.usefixtures("teapot")
async def test_owner_and_staff_read_an_order(shop: UseCases) -> None:
    for caller in (customer(2), staff()):
        assert (await shop.read_order(caller=caller, order_id=order_id(2))).user_id == 2


@pytest.mark.usefixtures("teapot")
async def test_anothers_order_and_no_order_look_the_same(shop: UseCases) -> None:
    for number in (2, 404):
        with pytest.raises(OrderNotFound) as refused:
            await shop.read_order(caller=customer(1), order_id=order_id(number))
        assert refused.value.detail == f"There is no order {order_id(number)}."


@pytest.mark.usefixtures("teapot")
async def test_customers_list_their_own_orders_whatever_they_ask_for(shop: UseCases) -> None:
    for asked in (None, 1, 2):
        page = await shop.list_orders(
            caller=customer(1), query=OrderQuery(user_id=asked), window=ALL
        )
        assert [order.id for order in page.items] == [order_id(3), order_id(1)]
        assert page.count == Count(2)


@pytest.mark.usefixtures("teapot")
async def test_staff_lists_everybodys_orders_or_one_users(shop: UseCases) -> None:
    everybody = await shop.list_orders(caller=staff(), query=OrderQuery(), window=ALL)
    assert everybody.count == Count(3)
    one = await shop.list_orders(caller=staff(), query=OrderQuery(user_id=2), window=ALL)
    assert [order.id for order in one.items] == [order_id(2)]


@pytest.mark.usefixtures("teapot")
async def test_a_count_that_is_known_is_taken_as_it_is(shop: UseCases) -> None:
    page = await shop.list_orders(
        caller=staff(), query=OrderQuery(), window=Window(limit=2), count=Count(9)
    )
    assert (len(page.items), page.more, page.count) == (2, True, Count(9))
