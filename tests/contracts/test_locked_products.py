"""Placing orders while somebody else holds the lock on a product, or sends the same orders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from shop.adapters.intake import IntakeLimits
from shop.adapters.sql import tables
from shop.domain.errors import InvalidFields, OutOfStock, Overloaded
from shop.domain.pages import Window
from shop.domain.ports import Batch
from shop.domain.products import Product, ProductQuery
from shop.domain.stock import Reason, Shelf
from shop.domain.users import Caller
from tests.builders import NOON, items, money, order_id, order_line
from tests.builders import order as make_order
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import Store, sql_store
from tests.use_cases import UseCases

SECONDS_MAX = 3.0
"""What an order may take that does not need what is locked; a lock is held for longer."""


@pytest.fixture
async def store(postgresql_url: str) -> AsyncIterator[Store]:
    """Only PostgreSQL locks rows; the other stores have one writer at a time."""
    async with sql_store(postgresql_url) as store:
        yield store


@pytest.fixture
async def buyer(shop: UseCases) -> Caller:
    return await shop.given_customer()


@pytest.fixture
async def products(shop: UseCases) -> list[Product]:
    return [await shop.given_product(1_000) for _ in range(4)]


@asynccontextmanager
async def holding(store: Store, *products: Product) -> AsyncIterator[None]:
    async with store.unit_of_work() as uow:
        await uow.stock.lock([product.id for product in products])
        yield


def order(shop: UseCases, buyer: Caller, *products: Product, **options: Any) -> asyncio.Task[Any]:
    wanted = items(*((product.id, 1) for product in products))
    return asyncio.create_task(shop.container.place_order()(caller=buyer, items=wanted, **options))


async def test_a_lock_on_one_product_holds_up_only_who_wants_it(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    hot, *others = products
    async with holding(store, hot):
        stuck = [order(shop, buyer, hot), order(shop, buyer, others[0], hot)]
        for _ in range(3):
            free = [order(shop, buyer, *others[: n + 1]) for n in range(3) for _ in range(5)]
            async with asyncio.timeout(SECONDS_MAX):
                answers = await asyncio.gather(*free)
            assert all(answer.created for answer in answers)
        assert not any(task.done() for task in stuck)
    answers = await asyncio.gather(*stuck)
    assert [len(answer.order.lines) for answer in answers] == [1, 2]
    assert await shop.stock_of(hot) == 1_000 - 2
    assert await shop.differences() == []


async def test_who_holds_a_products_entry_holds_up_nobody_not_even_the_buyer_of_the_last_piece(
    shop: UseCases, store: Store, buyer: Caller
) -> None:
    last = await shop.given_product(1)
    entry = tables.products.c.id
    held = select(entry).where(entry == last.id).with_for_update(key_share=True)
    async with store.sql.patient.begin() as editing, asyncio.timeout(SECONDS_MAX):
        await editing.execute(held)
        await order(shop, buyer, last)
        async with store.unit_of_work(read_only=True) as uow:
            query = ProductQuery(in_stock=False)
            [listed] = await uow.products.read_window(query, Window(limit=10))
    assert listed.id == last.id


async def test_a_new_sku_and_an_order_of_the_product_do_not_wait_for_each_other_in_a_circle(
    shop: UseCases, store: Store, buyer: Caller
) -> None:
    """Who gives it another SKU locks it against orders, and then needs its row of `listings`."""
    teapot = await shop.given_product(5)

    async def change() -> None:
        async with store.unit_of_work() as uow:
            stored = await uow.products.lock(teapot.id)
            await uow.products.save(replace(stored, sku="NEW", price=money(1)))
            await uow.commit()

    async with store.unit_of_work() as selling, asyncio.timeout(SECONDS_MAX):
        shelf = Shelf(await selling.stock.lock([teapot.id]))
        changing = asyncio.create_task(change())
        await until_somebody_waits(store)
        shelf.move(teapot.id, -1, Reason.ORDER, at=NOON, order_id=order_id(1))
        sold = make_order(1, user_id=buyer.user_id, lines=(order_line(teapot.id),))
        await selling.batch.add([sold], shelf.movements, products=shelf.products)
        await selling.commit()
    await changing
    assert (await shop.read_product(caller=buyer, product_id=teapot.id)).sku == "NEW"


async def until_somebody_waits(store: Store) -> None:
    waiting = text(HOW_MANY_WAIT)
    async with store.sql.read.connect() as connection:
        while not await connection.scalar(waiting):
            pass


async def test_what_is_locked_is_neither_unknown_nor_sold_out(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    hot, cold, *_ = products
    async with holding(store, hot), asyncio.timeout(SECONDS_MAX):
        stuck = order(shop, buyer, hot)
        unknown = shop.container.place_order()(caller=buyer, items=items((4711, 1)))
        with pytest.raises(InvalidFields):
            await unknown
        too_many = shop.container.place_order()(caller=buyer, items=items((cold.id, 1_001)))
        with pytest.raises(OutOfStock):
            await too_many
        assert not stuck.done()
    assert (await stuck).created


async def test_an_order_that_waits_for_a_lock_in_vain_was_not_placed(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    hot = products[0]
    shop.container.intake_limits.override(IntakeLimits(deadline=3.0))
    async with holding(store, hot):
        with pytest.raises(Overloaded, match="nothing was done"):
            await order(shop, buyer, hot)
    assert await shop.stock_of(hot) == 1_000


async def test_locks_on_several_products_are_waited_for_in_turns(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    """The one that hangs holds up neither the other nor who wants nothing of them."""
    hung, hot, cold, _ = products
    async with holding(store, hung):
        async with holding(store, hot):
            tasks = [order(shop, buyer, hung), order(shop, buyer, hot)]
            async with asyncio.timeout(SECONDS_MAX):
                await order(shop, buyer, cold)
        async with asyncio.timeout(SECONDS_MAX):
            await tasks[1]
        assert not tasks[0].done()
    await tasks[0]


async def test_two_processes_that_sell_one_product_in_turns_starve_nobody(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    other = UseCases(store.unit_of_work, process=2)

    async def buy(process: UseCases, times: int) -> None:
        for _ in range(times):
            await order(process, buyer, *products[:2])

    async with asyncio.timeout(30):
        await asyncio.gather(*(buy(process, 10) for process in (shop, other) for _ in range(8)))
    assert await shop.stock_of(products[0]) == 1_000 - 160
    assert await shop.differences() == []
    await other.intake.close()


async def test_the_lock_says_what_it_could_not_have(store: Store, products: list[Product]) -> None:
    hot, cold, *_ = products
    async with holding(store, hot), store.unit_of_work(batch=True) as uow:
        found: Batch = await uow.batch.lock(
            order_ids=[order_id(1)],
            product_ids=[hot.id, cold.id, 4711],
            user_ids=[],
            wait_for=(),
        )
        assert (list(found.products), list(found.busy)) == ([cold.id], [hot.id])


async def test_orders_that_two_servers_get_at_once_do_not_break_their_batches_up(
    shop: UseCases, store: Store, buyer: Caller, products: list[Product]
) -> None:
    """Four of 32 callers send each order to both; a batch that breaks up is one for each order."""
    other = UseCases(store.unit_of_work, process=2)
    decided: list[int] = []
    for process in (shop, other):
        real = process.container.decide_orders()

        async def counting(requests: Any, *, real: Any = real, **options: Any) -> Any:
            decided.append(len(requests))
            return await real(requests, **options)

        process.intake._handle = counting
    rounds = 5
    for number in range(rounds):
        twice = [order_id(1_000 * number + n) for n in range(4)]
        tasks = [
            order(process, buyer, products[0], **({"order_id": twice[n]} if n < 4 else {}))
            for process in (shop, other)
            for n in range(32)
        ]
        answers = await asyncio.gather(*tasks)
        assert sum(answer.created for answer in answers) == 60
    assert await shop.stock_of(products[0]) == 1_000 - 60 * rounds
    # One batch for each process and round, and now and then one more for who came late.
    assert len(decided) <= 4 * rounds
    await other.intake.close()
