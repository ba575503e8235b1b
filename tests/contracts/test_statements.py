"""Every request costs a fixed number of statements, however much it reads or writes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shop.domain.bulk import Policy, ProductRow, StockRow
from shop.domain.keys import KeyedRequest
from shop.domain.orders import OrderQuery, OrderStatus
from shop.domain.pages import Count, Window
from shop.domain.products import ProductQuery, ProductSort
from shop.domain.stock import StockChange
from shop.domain.users import OPERATOR
from tests.builders import PASSWORD, items, money, order_id, product, request
from tests.contracts.changes import keyed
from tests.stores import Store
from tests.use_cases import UseCases

# One that reads and locks; PostgreSQL writes four tables in one statement.
PLACING = {"sqlite": 5, "postgresql": 2}
# The same for changes that ride in batches; SQLite reads and writes each table by itself. Each
# looks whether who asks is disabled.
CANCELLING = {"sqlite": 6, "postgresql": 2}
AMENDING = {"sqlite": 8, "postgresql": 2}
RETURNING = {"sqlite": 8, "postgresql": 2}
CHANGING_STOCK = {"sqlite": 3, "postgresql": 2}
ALL_AT_ONCE = {"sqlite": 10, "postgresql": 2}
KEYED = {"sqlite": 2, "postgresql": 1}
"""More for the keys of a batch: they are claimed, and what is answered under them is kept."""
MOVING = 5
# With a key, whose claim and answer are two, and all that rows can need: some exist, some are new.
# PostgreSQL's three COPYs of new ones are not counted here.
SAVING_ROWS = {"sqlite": 11, "postgresql": 7}
CHANGING_STOCKS = {"sqlite": 7, "postgresql": 6}


@pytest.fixture
def store(sql: Store) -> Store:
    return sql


@pytest.fixture
async def shop(sql: Store) -> AsyncIterator[UseCases]:
    """A shop with a hundred products of a thousand pieces, ids from 1."""
    shop = UseCases(sql.unit_of_work)
    await shop.add_products(
        caller=OPERATOR, products=[product(0, sku=f"S-{n}", stock=1000) for n in range(100)]
    )
    yield shop
    await shop.intake.close()


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_page_of_products_is_one(shop: UseCases, store: Store, limit: int) -> None:
    query = ProductQuery(in_stock=True, price_min=1)
    with store.statements() as sent:
        page = await shop.list_products(caller=OPERATOR, query=query, window=Window(limit=limit))
    assert len(page.items) == limit
    assert len(sent) == 1


@pytest.mark.parametrize("limit", [1, 100])
@pytest.mark.parametrize("known", [None, Count(100)])
async def test_a_page_of_a_search_is_one_more_counted_or_not(
    shop: UseCases, store: Store, limit: int, known: Count | None
) -> None:
    query = ProductQuery(search="teapot", in_stock=True, price_min=1, sort=ProductSort.RELEVANCE)
    with store.statements() as sent:
        found = await shop.list_products(
            caller=OPERATOR, query=query, window=Window(limit=limit), count=known
        )
    assert (len(found.items), found.count) == (limit, Count(100))
    assert len(sent) == 2


async def test_a_page_reached_by_its_link_is_one(shop: UseCases, store: Store) -> None:
    with store.statements() as sent:
        await shop.list_products(
            caller=OPERATOR, query=ProductQuery(), window=Window(limit=100), count=Count(100)
        )
    assert len(sent) == 1


async def test_a_product_is_one(shop: UseCases, store: Store) -> None:
    with store.statements() as sent:
        await shop.read_product(caller=OPERATOR, product_id=1)
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
        await shop.decide_orders(batch)
    assert len(sent) == PLACING[store.name]


async def test_a_repeated_order_is_two(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    for _ in range(2):
        with store.statements() as sent:
            await shop.place_order(caller=buyer, items=items((1, 1)), order_id=order_id(1))
    assert len(sent) == 2


async def test_a_page_of_a_hundred_orders_with_lines_is_one(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    await shop.decide_orders(
        [
            request((1, 1), (2, 1), (3, 1), number=number, user_id=buyer.user_id)
            for number in range(1, 102)
        ]
    )
    with store.statements() as sent:
        page = await shop.list_orders(caller=buyer, query=OrderQuery(), window=Window(limit=100))
    assert (len(page.items), len(page.items[0].lines), page.more) == (100, 3, True)
    assert len(sent) == 1


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


@pytest.mark.parametrize("lines", [1, 100])
async def test_amending_an_order_costs_the_same_for_a_hundred_lines(
    shop: UseCases, store: Store, lines: int
) -> None:
    buyer = await shop.given_customer()
    await shop.place_order(
        caller=buyer,
        items=items(*((n, 2) for n in range(1, lines + 1))),
        order_id=order_id(1),
    )
    # Some grow and some shrink; with a hundred, half are given up and as many are new.
    wanted = items(*((101 - n, 1 + n % 3) for n in range(1, lines + 1)))
    with store.statements() as sent:
        await shop.amend_order(caller=buyer, order_id=order_id(1), items=wanted)
    assert len(sent) == AMENDING[store.name]


async def test_amending_nothing_only_reads(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    wanted = items(*((n, 2) for n in range(1, 101)))
    await shop.place_order(caller=buyer, items=wanted, order_id=order_id(1))
    with store.statements() as sent:
        await shop.amend_order(caller=buyer, order_id=order_id(1), items=wanted)
    assert len(sent) == {"sqlite": 2, "postgresql": 1}[store.name]


async def test_changing_stock_costs_what_an_order_does(shop: UseCases, store: Store) -> None:
    boss = await shop.given_staff()
    with store.statements() as sent:
        await shop.change_stock(caller=boss, product_id=1, delta=5, reason="restock")
    assert len(sent) == CHANGING_STOCK[store.name]


@pytest.mark.parametrize("number", [1, 16])
async def test_a_batch_of_everything_costs_the_same_for_many(
    shop: UseCases, store: Store, number: int
) -> None:
    """Orders, amendments, cancellations, returns and changes of stock, without keys and with."""
    boss = await shop.given_staff()
    orders = [
        (await shop.place_order(caller=boss, items=items((1, 5), (2, 5)))).order
        for _ in range(3 * number)
    ]
    amended, cancelled, returned = orders[::3], orders[1::3], orders[2::3]
    for order in returned:
        await shop.pay_order(caller=boss, order_id=order.id)
        await shop.advance_order(caller=boss, order_id=order.id, to=OrderStatus.SHIPPED)

    async def all_at_once(keys: list[KeyedRequest | None]) -> None:
        amendment = items((1, 6 if keys[0] else 4), (3, 1))
        await asyncio.gather(
            *(shop.place_order(caller=boss, items=items((4, 1))) for _ in keys),
            *(shop.amend_order(caller=boss, order_id=o.id, items=amendment) for o in amended),
            *(shop.return_order(caller=boss, order_id=o.id, items=items((1, 1))) for o in returned),
            *(
                shop.change_stock(caller=boss, product_id=5, delta=1, reason="restock", key=key)
                for key in keys
            ),
            *(shop.cancel_order(caller=boss, order_id=o.id) for o in cancelled),
        )

    with store.statements() as sent:
        await all_at_once([None] * number)
    assert len(sent) == ALL_AT_ONCE[store.name]
    cancelled = [
        (await shop.place_order(caller=boss, items=items((1, 5)))).order for _ in range(number)
    ]
    with store.statements() as sent:
        await all_at_once([keyed(key=f"key-{n}") for n in range(number)])
    assert len(sent) == ALL_AT_ONCE[store.name] + KEYED[store.name]
    assert await shop.differences() == []


@pytest.mark.parametrize("restock", [True, False])
@pytest.mark.parametrize("lines", [1, 100])
async def test_paying_and_shipping_and_returning_cost_the_same_for_a_hundred_lines(
    shop: UseCases, store: Store, lines: int, restock: bool
) -> None:
    boss = await shop.given_staff()
    wanted = items(*((n, 2) for n in range(1, lines + 1)))
    await shop.place_order(caller=boss, items=wanted, order_id=order_id(1))
    with store.statements() as sent:
        await shop.pay_order(caller=boss, order_id=order_id(1), reference="pay-1")
    assert len(sent) == MOVING
    with store.statements() as sent:
        await shop.advance_order(caller=boss, order_id=order_id(1), to=OrderStatus.SHIPPED)
    assert len(sent) == MOVING
    some = items(*((n, 1) for n in range(1, lines + 1)))
    for back in (some, None):
        with store.statements() as sent:
            await shop.return_order(caller=boss, order_id=order_id(1), items=back, restock=restock)
        assert len(sent) == RETURNING[store.name]


@pytest.mark.parametrize("limit", [1, 10])
async def test_a_page_of_history_or_movements_is_two(
    shop: UseCases, store: Store, limit: int
) -> None:
    buyer = await shop.given_customer()
    await shop.place_order(caller=buyer, items=items((1, 1)), order_id=order_id(1))
    for quantity in range(2, 13):
        await shop.amend_order(caller=buyer, order_id=order_id(1), items=items((1, quantity)))
    window = Window(limit=limit)
    with store.statements() as sent:
        history = await shop.read_history(caller=buyer, order_id=order_id(1), window=window)
    assert (len(history.items), len(sent)) == (limit, 2)
    with store.statements() as sent:
        movements = await shop.read_movements(caller=OPERATOR, product_id=1, window=window)
    assert (len(movements.items), len(sent)) == (limit, 2)


@pytest.mark.parametrize("number", [1, 100])
async def test_rows_cost_the_same_however_many_they_are(
    shop: UseCases, store: Store, number: int
) -> None:
    boss = await shop.given_staff()
    stock = StockChange(delta=5, reason="restock")
    rows = [
        row
        for n in range(number)
        for row in (
            ProductRow(sku=f"S-{n}", price=money(5), stock=stock),
            ProductRow(sku=f"NEW-{n}", name="New", price=money(5), stock=stock),
        )
    ]
    with store.statements() as sent:
        await shop.save_products(
            caller=boss, rows=rows, policy=Policy.ALL, key=keyed(boss.user_id, key="rows")
        )
    assert len(sent) == SAVING_ROWS[store.name]
    changes = [StockRow(sku=f"S-{n}", stock=stock) for n in range(number)]
    with store.statements() as sent:
        await shop.save_products(
            caller=boss, rows=changes, policy=Policy.EACH, key=keyed(boss.user_id, key="stocks")
        )
    assert len(sent) == CHANGING_STOCKS[store.name]


async def test_signing_in_and_refreshing_cost_what_they_do(shop: UseCases, store: Store) -> None:
    await shop.given_customer("anna")
    for _ in range(2):
        with store.statements() as sent:
            token = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
        assert len(sent) == 11
    with store.statements() as sent:
        token = (await shop.refresh_session(refresh_token=token)).refresh_token
    assert len(sent) == 6
    with store.statements() as sent:
        await shop.refresh_session(refresh_token=token)
    assert len(sent) == 7


async def test_a_checked_user_is_one_and_then_none(shop: UseCases, store: Store) -> None:
    anna = await shop.given_customer("anna")
    with store.statements() as sent:
        for _ in range(10):
            await shop.check_user(caller=anna)
    assert len(sent) == 1


async def test_verifying_is_one_for_a_step_of_products_and_two_of_orders(
    shop: UseCases, store: Store
) -> None:
    """Besides the one that finds no more orders."""
    buyer = await shop.given_customer()
    await shop.decide_orders(
        [
            request(*((n, 1) for n in range(1, 101)), number=number, user_id=buyer.user_id)
            for number in range(1, 51)
        ]
    )
    with store.statements() as sent:
        assert await shop.differences() == []
    assert len(sent) == 1 + 3
