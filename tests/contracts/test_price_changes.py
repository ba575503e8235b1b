"""Prices are changed and products archived while others order them: what was changed first counts.

Only PostgreSQL lets an order wait for one product; the other stores have one writer at a time, and
it waits for that.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shop.adapters.sql.postgresql import PostgresBatch
from shop.domain.errors import InvalidFields, StaleProducts
from shop.domain.orders import OrderRequest, Placed
from shop.domain.ports import Batch
from shop.domain.products import Product
from shop.domain.services.decide_orders import DecideOrders
from shop.domain.stock import Reason, Shelf
from shop.domain.users import OPERATOR, Caller
from tests.builders import NOON, items, money, order, order_id, order_line, request
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import Store, sql_store
from tests.use_cases import UseCases, placed

LATER = NOON + timedelta(hours=1)
Changed = Callable[[Product], Product]


def repriced(product: Product) -> Product:
    return product.changed(at=LATER, price=money(9900))


def archived(product: Product) -> Product:
    return product.archive(at=LATER)


@pytest.fixture
async def owner(shop: UseCases) -> Caller:
    return await shop.given_customer()


@pytest.fixture
async def products(shop: UseCases) -> list[Product]:
    return [await shop.given_product(10, price=1200) for _ in range(2)]


async def until_somebody_waits(store: Store, number: int = 1) -> None:
    if store.name != "postgresql":
        # Whoever came later waits for the writer before, whenever they get there.
        return
    waiting = text(HOW_MANY_WAIT)
    async with asyncio.timeout(10), store.sql.read.connect() as connection:
        while (await connection.scalar(waiting) or 0) < number:
            await connection.rollback()


@asynccontextmanager
async def changing(store: Store, product: Product, change: Changed) -> AsyncIterator[None]:
    """The change is under way in the block, and is done at its end, when somebody waits for it."""
    async with store.unit_of_work() as uow:
        locked = await uow.products.lock(product.id)
        yield
        await until_somebody_waits(store)
        await uow.products.save(change(locked))
        await uow.commit()


def patient(shop: UseCases, store: Store) -> DecideOrders:
    """As the intake has it, but it waits for locks for longer than a moment."""
    return DecideOrders(
        unit_of_work=lambda *, batch=False, **options: store.unit_of_work(**options),
        clock=shop.clock,
        new_order_code=shop.new_order_code,
    )


def two_requests(owner: Caller, tea: Product, mug: Product) -> list[OrderRequest]:
    """Only the second one asks for tea."""
    return [
        request((mug.id, 1), number=1, user_id=owner.user_id),
        request((mug.id, 2), (tea.id, 1), number=2, user_id=owner.user_id),
    ]


async def test_an_order_that_waited_for_a_price_has_the_new_one(
    shop: UseCases, store: Store, owner: Caller, products: list[Product]
) -> None:
    tea, mug = products
    decide, requests = patient(shop, store), two_requests(owner, tea, mug)
    async with changing(store, tea, repriced):
        deciding = asyncio.create_task(decide(requests))
    cheap, dear = map(placed, await deciding)
    assert (cheap.order.total, dear.order.total) == (money(1200), money(2400 + 9900))
    stored = await shop.read_order(caller=owner, order_id=order_id(2))
    assert stored == dear.order
    assert [await shop.stock_of(product) for product in products] == [9, 7]
    assert len(await store.movements(order_id=order_id(2))) == 2
    assert await shop.differences() == []


async def test_an_order_that_was_overtaken_is_not_overtaken_again(
    shop: UseCases, store: Store, owner: Caller, products: list[Product]
) -> None:
    """However many changes wait for their turn: orders that follow each other meet each of them."""
    tea, _ = products

    async def change_again() -> None:
        async with changing(
            store, tea, lambda product: product.changed(at=LATER, price=money(9901))
        ):
            pass

    async with changing(store, tea, repriced):
        deciding = asyncio.create_task(
            patient(shop, store)([request((tea.id, 1), number=1, user_id=owner.user_id)])
        )
        await until_somebody_waits(store)
        again = asyncio.create_task(change_again())
        await until_somebody_waits(store, 2)
    [answer] = await deciding
    await again
    assert placed(answer).order.total in (money(9900), money(9901))
    assert await shop.read_order(caller=owner, order_id=order_id(1)) == placed(answer).order
    assert await shop.differences() == []


async def test_an_order_that_waited_for_the_archive_is_refused_and_not_its_neighbour(
    shop: UseCases, store: Store, owner: Caller, products: list[Product]
) -> None:
    tea, mug = products
    decide, requests = patient(shop, store), two_requests(owner, tea, mug)
    async with changing(store, tea, archived):
        deciding = asyncio.create_task(decide(requests))
    served, refused = await deciding
    assert isinstance(served, Placed)
    assert isinstance(refused, InvalidFields)
    assert await shop.stock_of(mug) == 9
    assert await shop.differences() == []


async def test_pieces_added_while_a_price_is_changed_have_the_new_one(
    shop: UseCases, store: Store, owner: Caller, products: list[Product]
) -> None:
    tea = products[0]
    before = (await shop.place_order(caller=owner, items=items((tea.id, 1)))).order
    async with changing(store, tea, repriced):
        amending = asyncio.create_task(
            shop.amend_order(caller=owner, order_id=before.id, items=items((tea.id, 3)))
        )
    after = await amending
    assert [(line.quantity, line.price) for line in after.lines] == [
        (1, money(1200)),
        (2, money(9900)),
    ]
    assert await shop.differences() == []


@pytest.mark.parametrize("how", ["price", "archive"])
async def test_a_change_waits_for_the_orders_before_it(
    shop: UseCases, store: Store, owner: Caller, products: list[Product], how: str
) -> None:
    tea = products[0]
    if how == "price":
        change = shop.change_product(caller=OPERATOR, product_id=tea.id, price=money(1))
    else:
        change = shop.archive_product(caller=OPERATOR, product_id=tea.id)
    async with store.unit_of_work() as uow:
        shelf = Shelf(await uow.stock.lock([tea.id]))
        changing = asyncio.create_task(change)
        await until_somebody_waits(store)
        assert not changing.done()
        line = order_line(tea.id, price=shelf.products[tea.id].price)
        shelf.move(tea.id, -1, Reason.ORDER, at=NOON, order_id=order_id(1))
        await uow.batch.add(
            [order(1, user_id=owner.user_id, lines=(line,))],
            shelf.movements,
            products=shelf.products,
        )
        await uow.commit()
    await changing
    assert (await shop.read_order(caller=owner, order_id=order_id(1))).total == money(1200)
    assert await shop.differences() == []


async def test_prices_that_change_all_the_time_are_those_of_their_moment(
    shop: UseCases, store: Store, owner: Caller, products: list[Product]
) -> None:
    """Each order has a price that was there while it was asked for."""
    other = UseCases(store.unit_of_work, process=2)
    tea = products[0]
    await shop.change_stock(caller=OPERATOR, product_id=tea.id, delta=1_000, reason="restock")
    current, done = [1200], False

    async def change_prices() -> None:
        for price in range(1201, 1231):
            await shop.change_product(caller=OPERATOR, product_id=tea.id, price=money(price))
            current[0] = price

    async def buy(process: UseCases) -> None:
        while not done:
            since = current[0]
            answer = await process.place_order(caller=owner, items=items((tea.id, 1)))
            # The next one may have been stored, and its answer not have arrived.
            assert since <= answer.order.total.amount <= current[0] + 1

    buyers = [asyncio.create_task(buy(process)) for process in (shop, other) for _ in range(4)]
    await change_prices()
    done = True
    await asyncio.gather(*buyers)
    assert await shop.differences() == []
    await other.intake.close()


# --- what the statement that writes looks at ---


@pytest.fixture
async def with_locks(postgresql_url: str) -> AsyncIterator[Store]:
    async with sql_store(postgresql_url) as store:
        yield store


async def test_nothing_is_written_of_products_that_changed_since_they_were_read(
    with_locks: Store,
) -> None:
    """Changed by who does not take the lock first, which what lists show does by itself."""
    shop = UseCases(with_locks.unit_of_work)
    owner = await shop.given_customer()
    tea, mug = [await shop.given_product(10) for _ in range(2)]
    new = order(1, user_id=owner.user_id, lines=(order_line(tea.id),))

    async def add(*, overtaken: bool) -> None:
        async with with_locks.unit_of_work(batch=True) as uow:
            batch = await uow.batch.lock(
                order_ids=[], product_ids=[tea.id, mug.id], user_ids=[owner.user_id]
            )
            shelf = Shelf(batch.products)
            for product in (tea, mug):
                shelf.move(product.id, -1, Reason.ORDER, at=NOON, order_id=new.id)
            if overtaken:
                async with with_locks.unit_of_work() as another:
                    await another.products.save(replace(mug, version=mug.version + 1))
                    await another.commit()
            await uow.batch.add([new], shelf.movements, products=batch.products)
            await uow.commit()

    with pytest.raises(StaleProducts):
        await add(overtaken=True)
    assert await with_locks.movements(order_id=new.id) == []
    assert [await shop.stock_of(product) for product in (tea, mug)] == [10, 10]
    await add(overtaken=False)
    assert [await shop.stock_of(product) for product in (tea, mug)] == [9, 9]
    await shop.intake.close()


async def test_who_is_overtaken_twice_has_lost_a_race(
    with_locks: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intake tries it again; a batch that goes on for ever would hold its locks for ever."""
    shop = UseCases(with_locks.unit_of_work)
    owner = await shop.given_customer()
    tea = await shop.given_product(10)
    lock, asked = PostgresBatch.lock, []

    async def lock_and_be_overtaken(batch: PostgresBatch, **wanted: Any) -> Batch:
        asked.append(wanted)
        found = await lock(batch, **wanted)
        overtaken = {n: replace(p, version=p.version - 1) for n, p in found.products.items()}
        return replace(found, products=overtaken)

    await shop.change_product(caller=OPERATOR, product_id=tea.id, price=money(1))
    monkeypatch.setattr(PostgresBatch, "lock", lock_and_be_overtaken)
    with pytest.raises(StaleProducts):
        await shop.decide_orders([request((tea.id, 1), user_id=owner.user_id)])
    # The second time they were locked before they were read.
    assert len(asked) == 3
    assert await shop.stock_of(tea) == 10
    await shop.intake.close()
