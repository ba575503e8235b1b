"""Every request costs a fixed number of statements, however much it reads or writes."""

from collections.abc import AsyncIterator

import pytest

from shop.domain.orders import OrderQuery
from shop.domain.pages import Part
from shop.domain.products import ProductQuery
from tests.builders import PASSWORD, items, order_id, product, request
from tests.stores import Store
from tests.use_cases import UseCases

# PostgreSQL writes an order and its lines, and stock and its movements, in one statement each.
PLACING = {"sqlite": 6, "postgresql": 4}
CANCELLING = {"sqlite": 6, "postgresql": 5}


@pytest.fixture
def store(sql: Store) -> Store:
    return sql


@pytest.fixture
async def shop(sql: Store) -> AsyncIterator[UseCases]:
    """A shop with a hundred products of a thousand pieces, ids from 1."""
    shop = UseCases(sql.unit_of_work)
    await shop.add_products(products=[product(0, sku=f"S-{n}", stock=1000) for n in range(100)])
    yield shop
    await shop.intake.close()


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_page_of_products_is_two(shop: UseCases, store: Store, limit: int) -> None:
    query = ProductQuery(search="t", in_stock=True, price_min=1)
    with store.statements() as sent:
        page = await shop.list_products(query=query, part=Part(limit=limit))
    assert len(page.items) == limit
    assert len(sent) == 2


async def test_a_page_reached_by_its_link_is_one(shop: UseCases, store: Store) -> None:
    with store.statements() as sent:
        await shop.list_products(query=ProductQuery(), part=Part(limit=100), count=100)
    assert len(sent) == 1


async def test_a_product_is_one(shop: UseCases, store: Store) -> None:
    with store.statements() as sent:
        await shop.read_product(product_id=1)
    assert len(sent) == 1


@pytest.mark.parametrize("lines", [1, 100])
async def test_placing_an_order_costs_the_same_for_a_hundred_lines(
    shop: UseCases, store: Store, lines: int
) -> None:
    buyer = await shop.given_customer()
    wanted = items(*((n, 1) for n in range(1, lines + 1)))
    with store.statements() as sent:
        await shop.place_order(caller=buyer, items=wanted)
    assert len(sent) == PLACING[store.name]


async def test_placing_a_batch_costs_what_one_order_costs(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    batch = [
        request(*((n, 1) for n in range(1, 6)), number=number, user_id=buyer.user_id)
        for number in range(1, 65)
    ]
    with store.statements() as sent:
        await shop.place_orders(batch)
    assert len(sent) == PLACING[store.name]


async def test_a_repeated_order_is_three(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    for _ in range(2):
        with store.statements() as sent:
            await shop.place_order(caller=buyer, items=items((1, 1)), order_id=order_id(1))
    assert len(sent) == 3


async def test_a_page_of_a_hundred_orders_with_lines_is_two(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    await shop.place_orders(
        [
            request((1, 1), (2, 1), (3, 1), number=number, user_id=buyer.user_id)
            for number in range(1, 102)
        ]
    )
    with store.statements() as sent:
        page = await shop.list_orders(caller=buyer, query=OrderQuery(), part=Part(limit=100))
    assert (len(page.items), len(page.items[0].lines), page.more) == (100, 3, True)
    assert len(sent) == 2


@pytest.mark.parametrize("lines", [1, 100])
async def test_reading_an_order_is_one(shop: UseCases, store: Store, lines: int) -> None:
    buyer = await shop.given_customer()
    wanted = items(*((n, 1) for n in range(1, lines + 1)))
    await shop.place_order(caller=buyer, items=wanted, order_id=order_id(1))
    with store.statements() as sent:
        await shop.read_order(caller=buyer, order_id=order_id(1))
    assert len(sent) == 1


@pytest.mark.parametrize("lines", [1, 100])
async def test_cancelling_an_order_costs_the_same_for_a_hundred_lines(
    shop: UseCases, store: Store, lines: int
) -> None:
    buyer = await shop.given_customer()
    wanted = items(*((n, 1) for n in range(1, lines + 1)))
    await shop.place_order(caller=buyer, items=wanted, order_id=order_id(1))
    with store.statements() as sent:
        await shop.cancel_order(caller=buyer, order_id=order_id(1))
    assert len(sent) == CANCELLING[store.name]


async def test_signing_in_is_three_and_refreshing_is_five(shop: UseCases, store: Store) -> None:
    await shop.given_customer("anna")
    with store.statements() as sent:
        token = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
    assert len(sent) == 3
    token = (await shop.refresh_session(refresh_token=token)).refresh_token
    with store.statements() as sent:
        await shop.refresh_session(refresh_token=token)
    assert len(sent) == 5


async def test_verifying_a_hundred_products_is_two(shop: UseCases, store: Store) -> None:
    with store.statements() as sent:
        assert len(await shop.audits()) == 100
    assert len(sent) == 2
