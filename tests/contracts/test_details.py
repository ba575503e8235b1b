"""What many ask for at once by ids: the same from every store, and as it is when read alone."""

import asyncio
from datetime import timedelta

from shop.domain.errors import OrderNotFound, ProductNotFound
from shop.domain.users import OPERATOR
from tests.builders import NOON, items, order, order_id, order_line, product
from tests.stores import Store
from tests.use_cases import UseCases


async def test_products_by_their_ids_archived_ones_too(store: Store) -> None:
    async with store.unit_of_work() as uow:
        added = await uow.products.add([product(0, sku=f"S-{number}") for number in range(300)])
        await uow.commit()
    await store.archive_product(added[7].id)
    async with store.unit_of_work(read_only=True, batch=True) as uow:
        found = await uow.details.products([404, *(each.id for each in added)])
        assert await uow.details.products([]) == {}
    async with store.unit_of_work(read_only=True) as uow:
        assert found == {each.id: await uow.products.get(each.id) for each in added}
    assert found[added[7].id].archived


async def test_orders_by_their_ids_with_their_lines_in_order(shop: UseCases, store: Store) -> None:
    buyer = await shop.given_customer()
    products = [await shop.given_product() for _ in range(5)]
    orders = [
        order(
            number,
            user_id=buyer.user_id,
            lines=tuple(
                order_line(each.id, quantity=number)
                for each in reversed(products[: number % 5 + 1])
            ),
            created_at=NOON + timedelta(microseconds=number),
        )
        for number in range(1, 21)
    ]
    async with store.unit_of_work() as uow:
        await uow.batch.add(orders, [], products={})
        await uow.commit()
    async with store.unit_of_work(read_only=True, batch=True) as uow:
        ids = [order_id(404), *(each.id for each in reversed(orders))]
        assert await uow.details.orders(ids) == {each.id: each for each in orders}
        assert await uow.details.orders([]) == {}


async def test_each_who_asks_at_the_same_moment_gets_his_own(shop: UseCases) -> None:
    """Also who is refused: what is not there, what is another's, what is archived."""
    owner = await shop.given_customer()
    other, boss = await shop.given_customer(), await shop.given_staff()
    here, gone = await shop.given_product(), await shop.given_product()
    await shop.place_order(caller=owner, items=items((here.id, 1)), order_id=order_id(1))
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    products = [
        shop.read_product(caller=owner, product_id=wanted) for wanted in (here.id, gone.id, 404)
    ]
    orders = [
        shop.read_order(caller=caller, order_id=order_id(wanted))
        for caller in (owner, other, boss)
        for wanted in (1, 404)
    ]
    answers = await asyncio.gather(*products, *orders, return_exceptions=True)
    assert [getattr(answer, "id", type(answer)) for answer in answers] == [
        *(here.id, ProductNotFound, ProductNotFound),
        *(order_id(1), OrderNotFound, OrderNotFound, OrderNotFound, order_id(1), OrderNotFound),
    ]
