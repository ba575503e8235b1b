"""Changes of many rows: one at a time has its locks, and orders go around what it has."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dependency_injector import providers

from shop.domain.bulk import Policy, StockRow
from shop.domain.errors import Overloaded
from shop.domain.stock import StockChange
from shop.domain.users import OPERATOR
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.settings import Settings
from tests.builders import items, money

ROWS = [StockRow(sku="TEA", stock=StockChange(delta=1, reason="restock"))]


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Container]:
    container = build_container(Settings(database_url=url, secret_key="x" * 32, **settings))
    try:
        yield container
    finally:
        await container.intake().close()
        await container.engines().dispose()


async def given_product(container: Container, sku: str) -> int:
    product = await container.create_product()(
        caller=OPERATOR, sku=sku, name=sku, price=money(), stock=10
    )
    return product.id


async def save(container: Container) -> object:
    return await container.save_products()(caller=OPERATOR, rows=ROWS, policy=Policy.ALL)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_one_change_of_many_rows_is_under_way_at_a_time(
    request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    async with opened(url, database_pool_timeout=0.1) as container:
        await given_product(container, "TEA")
        for is_committed in (True, False):
            async with container.unit_of_work(many=True) as uow:
                await uow.batch.lock_alike(["TEA"])
                # Not by the pool, of which SQLite has one connection for changes.
                with pytest.raises(Overloaded, match="changes of many rows"):
                    await save(container)
                if is_committed:
                    await uow.commit()
        await save(container)


async def test_orders_go_around_what_it_has_locked_without_waiting(postgresql_url: str) -> None:
    async with opened(postgresql_url) as container:
        tea, pot = [await given_product(container, sku) for sku in ("TEA", "POT")]
        buyer = await container.create_user()(
            caller=OPERATOR, username="buyer", password="of this test alone"
        )
        decide, waited_for = container.decide_orders(), list[Any]()

        async def noting(
            requests: Sequence[Any], *, wait_for: Collection[Any] | None, **rest: Any
        ) -> Sequence[Any]:
            waited_for.append(wait_for)
            return await decide(requests, wait_for=wait_for, **rest)

        container.decide_orders.override(providers.Object(noting))

        async def order(product_id: int) -> Any:
            place = container.place_order()
            return await place(caller=buyer.as_caller, items=items((product_id, 1)))

        async with container.unit_of_work(many=True) as uow:
            await uow.batch.lock_alike(["TEA"])
            of_tea = asyncio.create_task(order(tea))
            await order(pot)
            assert not of_tea.done()
        await of_tea
        assert None not in waited_for
        await order(tea)
        assert waited_for[-1] is None, "nobody holds much any more"
