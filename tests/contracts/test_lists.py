"""Lists while what they list changes: every filter and order goes by what is stored now."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest
from sqlalchemy import text

from shop.adapters.windows import cut_window
from shop.domain.orders import Order, OrderQuery
from shop.domain.pages import Key, Window, read_page
from shop.domain.products import Product, ProductQuery, ProductSort
from shop.domain.users import OPERATOR
from tests.builders import NOON, items, money, order_id, product, request
from tests.stores import Store
from tests.use_cases import UseCases, placed

ALL = Window(limit=100)


async def listed(store: Store, query: ProductQuery) -> list[int]:
    async with store.unit_of_work(read_only=True) as uow:
        return [item.id for item in await uow.products.read_window(query, ALL)]


async def test_a_product_is_listed_by_the_stock_it_has_now(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product(2)
    in_stock, sold_out = ProductQuery(in_stock=True), ProductQuery(in_stock=False)

    async def is_in_stock() -> bool:
        found = await listed(store, in_stock), await listed(store, sold_out)
        assert found in (([teapot.id], []), ([], [teapot.id]))
        return found[0] == [teapot.id]

    assert await is_in_stock()
    await shop.place_order(caller=buyer, items=items((teapot.id, 1)))
    assert await is_in_stock()
    last = (await shop.place_order(caller=buyer, items=items((teapot.id, 1)))).order
    assert not await is_in_stock()
    await shop.cancel_order(caller=buyer, order_id=last.id)
    assert await is_in_stock()
    for delta, is_there in ((-1, False), (7, True)):
        await shop.change_stock(caller=OPERATOR, product_id=teapot.id, delta=delta, reason="count")
        assert await is_in_stock() == is_there
    await shop.decide_orders([request((teapot.id, 7), number=9, user_id=buyer.user_id)])
    assert not await is_in_stock()


async def test_a_changed_product_is_listed_by_what_it_is_now(shop: UseCases, store: Store) -> None:
    first, second = [
        await shop.given_product(1, name=name, price=price) for name, price in (("B", 2), ("C", 3))
    ]
    by_name, by_price = ProductQuery(sort=ProductSort.NAME), ProductQuery(sort=ProductSort.PRICE)
    in_stock = replace(by_name, in_stock=True)
    await shop.change_product(caller=OPERATOR, product_id=second.id, name="A")
    for query in (by_name, in_stock):
        assert await listed(store, query) == [second.id, first.id]
    assert await listed(store, by_price) == [first.id, second.id]
    await shop.change_product(caller=OPERATOR, product_id=second.id, price=money(1))
    assert await listed(store, by_price) == [second.id, first.id]
    assert await listed(store, replace(by_name, price_max=1)) == [second.id]
    await shop.archive_product(caller=OPERATOR, product_id=second.id)
    for query in (by_name, by_price, in_stock):
        assert await listed(store, query) == [first.id]


@pytest.mark.parametrize(
    ("sort", "descending"),
    [(ProductSort.NAME, False), (ProductSort.PRICE, True), (ProductSort.CREATED, False)],
)
async def test_nothing_that_stays_put_is_skipped_or_shown_twice_while_others_write(
    shop: UseCases, store: Store, sort: ProductSort, descending: bool
) -> None:
    """Products come, go, sell out and change name and price, between the pages of a walk."""
    random = Random(f"{sort}{descending}")  # noqa: S311
    numbers = count()
    buyer = await shop.given_customer()

    def some(quantity: int) -> list[Product]:
        return [
            product(
                0,
                sku=f"S-{next(numbers)}",
                name=f"Cup {random.randrange(8)}",
                price=money(random.randrange(8)),
                stock=1,
                created_at=NOON + timedelta(microseconds=random.randrange(8)),
            )
            for _ in range(quantity)
        ]

    kept = await shop.add_products(caller=OPERATOR, products=some(16))
    moving = await shop.add_products(caller=OPERATOR, products=some(40))
    random.shuffle(moving)

    async def disturb() -> None:
        await shop.add_products(caller=OPERATOR, products=some(2))
        if len(moving) < 3:
            return
        archived, sold, changed = moving.pop(), moving.pop(), moving.pop()
        await shop.archive_product(caller=OPERATOR, product_id=archived.id)
        await shop.place_order(caller=buyer, items=items((sold.id, 1)))
        price = money(random.randrange(8))
        await shop.change_product(caller=OPERATOR, product_id=changed.id, name="Cup 4", price=price)

    for query in (
        ProductQuery(sort=sort, descending=descending),
        ProductQuery(sort=sort, descending=descending, in_stock=True),
        ProductQuery(sort=sort, descending=descending, price_min=1, price_max=6),
    ):
        expected = [p for p in kept if query.price_min is None or 1 <= p.price.amount <= 6]
        seen = await walk(store, query, disturb)
        assert [p for p in seen if p in expected] == sorted(
            expected, key=query.key, reverse=descending
        )


async def walk(
    store: Store, query: ProductQuery, disturb: Callable[[], Awaitable[None]]
) -> list[Product]:
    seen: list[Product] = []
    window = Window(limit=4)
    while True:
        async with store.unit_of_work(read_only=True) as uow:
            page = await read_page(uow.products, query, window)
        seen += page.items
        if not page.more:
            return seen
        await disturb()
        window = Window(limit=4, after=query.key(page.items[-1]))


PRICES = (100, 200, 200, 200, 300, 400)
BOUNDS = ((None, None), (200, None), (None, 300), (200, 300), (150, 250), (300, 200))


@pytest.mark.parametrize("descending", [False, True])
async def test_a_key_within_before_or_beyond_the_prices_asked_for_is_where_the_walk_goes_on(
    shop: UseCases, store: Store, descending: bool
) -> None:
    """A cursor may be forged, or of a list with other filters."""
    stored = await shop.add_products(
        caller=OPERATOR,
        products=[product(0, sku=f"S-{n}", price=money(p)) for n, p in enumerate(PRICES)],
    )
    keys = [(price, id_) for price in (50, 100, 150, 200, 250, 300, 500) for id_ in (0, 3, 9)]
    async with store.unit_of_work(read_only=True) as uow:
        for price_min, price_max in BOUNDS:
            query = ProductQuery(
                sort=ProductSort.PRICE,
                descending=descending,
                price_min=price_min,
                price_max=price_max,
            )
            least, most = price_min or 0, price_max or 999
            fitting = [p for p in stored if least <= p.price.amount <= most]
            for window in windows(keys):
                expected = cut_window(fitting, window, query.key, descending=descending)
                assert await uow.products.read_window(query, window) == expected, (query, window)


def windows(keys: list[Key]) -> list[Window]:
    return [
        *(Window(limit=2, after=key) for key in keys),
        *(Window(limit=2, before=key) for key in keys),
        *(Window(limit=2, offset=offset) for offset in (0, 1, 3)),
    ]


async def test_a_key_within_before_or_beyond_the_times_asked_for_is_where_the_walk_goes_on(
    shop: UseCases, store: Store
) -> None:
    buyer = await shop.given_customer()
    teapot = await shop.given_product(100)
    orders: list[Order] = []
    for number in range(1, 7):
        wanted = request((teapot.id, 1), number=number, user_id=buyer.user_id)
        orders += [placed(answer).order for answer in await shop.decide_orders([wanted])]
        if number % 2:
            shop.clock.advance(timedelta(seconds=1))
    times = [orders[0].created_at + timedelta(seconds=0.5 * n) for n in range(-1, 8)]
    keys = [(at, order_id(number)) for at in times for number in (0, 3, 9)]
    async with store.unit_of_work(read_only=True) as uow:
        for after, before in ((None, None), (1, None), (None, 5), (1, 5), (5, 1)):
            query = OrderQuery(
                created_after=None if after is None else times[after],
                created_before=None if before is None else times[before],
            )
            fitting = [
                order
                for order in orders
                if (query.created_after is None or order.created_at > query.created_after)
                and (query.created_before is None or order.created_at < query.created_before)
            ]
            for window in windows(keys):
                expected = cut_window(fitting, window, lambda order: order.key, descending=True)
                assert await uow.orders.read_window(query, window) == expected, (query, window)


async def test_what_is_listed_is_right_after_changes_and_sales_at_the_same_time(
    shop: UseCases, store: Store
) -> None:
    """Nobody fails, and the last change of each is what lists say."""
    buyer = await shop.given_customer()
    products = [await shop.given_product(3, price=1) for _ in range(4)]

    async def sell(product: Product, number: int) -> None:
        wanted = items((product.id, 1))
        await shop.place_order(caller=buyer, items=wanted, order_id=order_id(number))
        if number % 2:
            await shop.cancel_order(caller=buyer, order_id=order_id(number))

    async def change(product: Product) -> None:
        for price in (2, 3, 4):
            await shop.change_product(
                caller=OPERATOR,
                product_id=product.id,
                price=money(price),
                sku=f"{product.sku}{price}",
            )

    numbers = count(1)
    await asyncio.gather(
        *(change(product) for product in products),
        *(sell(product, next(numbers)) for _ in range(3) for product in products),
    )
    async with store.unit_of_work(read_only=True) as uow:
        stored = [await uow.products.get(product.id) for product in products]
    assert {product.price.amount for product in stored} == {4}
    for is_there in (True, False):
        found = await listed(store, ProductQuery(in_stock=is_there, price_min=4, price_max=4))
        assert found == [product.id for product in stored if (product.stock > 0) == is_there]


async def test_a_window_may_be_as_large_as_the_largest_that_a_command_asks_for(
    shop: UseCases, store: Store
) -> None:
    added = await shop.add_products(
        caller=OPERATOR, products=[product(0, sku=f"S-{n}", price=money(n)) for n in range(1_002)]
    )
    async with store.unit_of_work(read_only=True) as uow:
        for query in (ProductQuery(), ProductQuery(price_min=0)):
            page = await read_page(uow.products, query, Window(limit=1_000))
            assert (page.items, page.more) == (added[:1_000], True)


async def test_right_after_many_were_added_lists_are_about_as_long_as_they_are(
    shop: UseCases, store: Store
) -> None:
    """Whatever the database knew of them before."""
    few = await shop.add_products(caller=OPERATOR, products=[product(0, sku="S")])
    if store.name == "postgresql":
        async with store.sql.patient.connect() as connection:
            await connection.execute(text("ANALYZE products, listings"))
            await connection.commit()
    await shop.add_products(
        caller=OPERATOR,
        products=[
            product(0, sku=f"S-{n}", price=money(9), created_at=NOON + timedelta(seconds=n + 1))
            for n in range(3_000)
        ],
    )
    for query in (
        ProductQuery(),
        ProductQuery(in_stock=few[0].stock > 0),
        ProductQuery(price_min=9, sort=ProductSort.PRICE),
        ProductQuery(created_after=NOON),
        ProductQuery(created_after=NOON, sort=ProductSort.NAME),
    ):
        async with store.unit_of_work(read_only=True) as uow:
            count = (await read_page(uow.products, query, Window(limit=10))).count
        assert 2_700 <= count.number <= 3_300, query
