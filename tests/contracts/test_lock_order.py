"""Locks are taken in the order of product ids, whatever order rows lie in or are asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg
import pytest

from shop.domain.bulk import Policy, ProductRow
from shop.domain.ports import UnitOfWork
from shop.domain.users import OPERATOR
from tests.builders import NOON, items, money, order_id, product
from tests.postgresql import HOW_MANY_WAIT
from tests.stores import sql_store
from tests.use_cases import UseCases

PRODUCTS = 300

Lock = Callable[[UnitOfWork, list[int]], Awaitable[object]]


async def of_a_batch(uow: UnitOfWork, ids: list[int]) -> object:
    return await uow.batch.lock(order_ids=[], product_ids=ids, user_ids=[])


async def of_changes(uow: UnitOfWork, ids: list[int]) -> object:
    return await uow.batch.lock(order_ids=[], product_ids=ids, user_ids=[], changing=[])


async def of_changed_orders(uow: UnitOfWork, ids: list[int]) -> object:
    """The products are those that are on the orders."""
    orders = [order_id(number) for number in range(1, len(ids) // 100 + 1)]
    return await uow.batch.lock(order_ids=[], product_ids=[], user_ids=[], changing=orders)


async def of_others(uow: UnitOfWork, ids: list[int]) -> object:
    return await uow.stock.lock(ids)


async def of_rows(uow: UnitOfWork, ids: list[int]) -> object:
    skus = {product.id: product.sku for product in (await uow.details.products(ids)).values()}
    return await uow.batch.lock_alike([skus[id_] for id_ in ids])


@pytest.mark.parametrize("lock", [of_a_batch, of_changes, of_changed_orders, of_others, of_rows])
async def test_locks_are_taken_by_id(postgresql_url: str, lock: Lock) -> None:
    """The rows are stored in disorder: without an order of their own, locks would be, too."""
    connection = await _connected(postgresql_url)
    name = await connection.fetchval("SELECT current_database()")
    for plan in ("indexscan", "bitmapscan"):  # what happens to read them in order
        await connection.execute(f'ALTER DATABASE "{name}" SET enable_{plan} = off')
    await connection.close()
    async with sql_store(postgresql_url) as store:
        shop = UseCases(store.unit_of_work)
        added = await shop.add_products(
            caller=OPERATOR, products=[product(0, sku=f"S-{n}", stock=9) for n in range(PRODUCTS)]
        )
        ids = [one.id for one in added]
        Random(1).shuffle(ids)  # noqa: S311
        buyer = await shop.given_customer()
        for number in range(1, PRODUCTS // 100 + 1):
            some = items(*((id_, 1) for id_ in ids[100 * (number - 1) : 100 * number]))
            await shop.place_order(caller=buyer, items=some, order_id=order_id(number))
        connection = await _connected(postgresql_url)
        # A rewritten row goes to the end of the table.
        for product_id in ids:
            await connection.execute(
                "UPDATE stock SET on_hand = on_hand WHERE product_id = $1", product_id
            )
        await connection.execute("VACUUM ANALYZE stock")
        # Somebody holds the one in the middle: whoever comes has locked what is before it by then.
        middle = sorted(ids)[PRODUCTS // 2]
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "SELECT FROM stock WHERE product_id = $1 FOR NO KEY UPDATE", middle
        )

        async def wait_for_all() -> None:
            async with store.unit_of_work() as uow:
                await lock(uow, ids)

        waiting = asyncio.create_task(wait_for_all())
        await _until_somebody_waits(connection)
        free = await connection.fetch("SELECT product_id FROM stock FOR NO KEY UPDATE SKIP LOCKED")
        await transaction.rollback()
        await waiting
        await connection.close()
    assert {row["product_id"] for row in free} == {n for n in ids if n >= middle}


async def test_rows_see_the_skus_of_after_they_waited(postgresql_url: str) -> None:
    """One product gives its SKU away and another gets it, while rows wait for the first one."""
    connection = await _connected(postgresql_url)
    async with sql_store(postgresql_url) as store:
        shop, other = UseCases(store.unit_of_work), UseCases(store.unit_of_work, process=2)
        first = await shop.given_product(1, sku="A")
        second = await shop.given_product(1, sku="B")
        async with store.unit_of_work() as uow:
            for product_id, sku in ((first.id, "C"), (second.id, "A")):
                renamed = (await uow.products.lock(product_id)).changed(at=NOON, sku=sku)
                await uow.products.save(renamed)
            rows = [ProductRow(sku=sku, name=f"by {sku}", price=money()) for sku in "ABC"]
            saving = asyncio.create_task(
                other.save_products(caller=OPERATOR, rows=rows, policy=Policy.ALL)
            )
            await _until_somebody_waits(connection)
            await uow.commit()
        answers = await saving
        assert [answer.outcome for answer in answers] == ["changed", "created", "changed"]
        assert [answer.after.id for answer in answers][::2] == [second.id, first.id]
        assert await shop.differences() == []
    await connection.close()


async def _connected(url: str) -> asyncpg.Connection:
    database, _, host = url.removeprefix("postgresql+asyncpg://shop@/").partition("?host=")
    return await asyncpg.connect(host=host, user="shop", database=database)


async def _until_somebody_waits(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval(HOW_MANY_WAIT):
            pass
