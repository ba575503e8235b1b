"""What is read: a thousand products, or a million of them with 300,000 orders, made by COPY."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain, islice
from typing import Any
from uuid import UUID

import asyncpg

from bench.data import add_buyers, analyze, opened
from shop.adapters.sql.orders import line_rows, order_row
from shop.adapters.sql.products import product_row
from shop.domain.money import Money
from shop.domain.orders import Order, OrderLine, OrderStatus
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Role
from shop.entrypoints.container import Container
from shop.entrypoints.samples import sample_products

SMALL, LARGE = 1_000, 1_000_000
ORDERS = 300_000
OWNER, OWNED = 1, 75_000
"""The buyer who has so many of them."""
STAFF = 2
LINES = 3
_STEP = 20_000

Rows = Iterable[dict[str, Any]]


async def fill_small(url: str) -> None:
    """Through the shop's own use cases; on any store."""
    async with opened(url) as container:
        await _prepare(container)
        for start in range(0, SMALL, 250):
            products = _samples(container, range(start, start + 250))
            await container.add_products()(caller=OPERATOR, products=list(products))
        await analyze(container)


async def fill_large(url: str) -> None:
    async with opened(url) as container:
        await _prepare(container)
        async with container.unit_of_work() as uow:
            driver: asyncpg.Connection[Any] = uow.driver
            # The index for searching is built in one go when all are there.
            await driver.execute("SET LOCAL statement_timeout = 0; DROP INDEX products_search")
            products = _many_products(container)
            while few := list(islice(products, _STEP)):
                await _copy(driver, "products", map(product_row, few))
            await _copy(driver, "stock", ({"product_id": n, "on_hand": n % 5} for n in _all_ids()))
            # Not looking each key up, which takes several times as long as the rows.
            await driver.execute("SET LOCAL session_replication_role = replica")
            orders = _orders(container)
            while some := list(islice(orders, _STEP)):
                await _copy(driver, "orders", map(order_row, some))
                lines = (row for order in some for row in line_rows(order))
                await _copy(driver, "order_lines", lines)
            await uow.commit()
        await container.schema().upgrade()
        await analyze(container)
        await container.count_lists()(caller=OPERATOR)


def _all_ids() -> range:
    return range(1, LARGE + 1)


async def _prepare(container: Container) -> None:
    await container.schema().upgrade()
    await add_buyers(container)
    async with container.unit_of_work() as uow:
        await uow.users.save(replace(await uow.users.lock(STAFF), role=Role.STAFF))
        await uow.commit()


def _samples(container: Container, numbers: range) -> Iterator[Product]:
    """One a second, so that `created` orders them."""
    now = container.clock()()
    for number in numbers:
        yield from sample_products(
            seed=1,
            numbers=[number],
            currency=container.settings().currency,
            at=now - timedelta(seconds=2 * LARGE - number),
        )


def sku(number: int) -> str:
    return f"LRG-{number:07d}"


def _many_products(container: Container) -> Iterator[Product]:
    """A few samples again and again: to make each anew takes longer than to store it."""
    patterns = list(_samples(container, range(2 * SMALL)))
    start = container.clock()() - timedelta(seconds=2 * LARGE)
    for number in range(LARGE):
        yield replace(
            patterns[number % len(patterns)],
            sku=sku(number),
            created_at=start + timedelta(seconds=number),
        )


def _orders(container: Container) -> Iterator[Order]:
    dice = random.Random(2)  # noqa: S311  # baskets, not secrets
    now = container.clock()()
    price = Money(amount=1_290, currency=container.settings().currency)
    statuses = list(OrderStatus)
    for number in range(ORDERS):
        at = now - timedelta(seconds=2 * ORDERS - number)
        yield Order(
            id=order_id(number),
            code=f"{number:012d}",
            user_id=OWNER if number % (ORDERS // OWNED) == 0 else dice.randint(3, 1_000),
            status=statuses[dice.randrange(len(statuses))],
            lines=tuple(
                OrderLine(product_id=product_id, name="Nordic Oak Chair", price=price, quantity=1)
                for product_id in dice.sample(range(1, LARGE), LINES)
            ),
            currency=price.currency,
            digest=bytes(32),
            version=1,
            created_at=at,
            modified_at=at,
        )


def order_id(number: int) -> UUID:
    """In the order of their making, as the shop's own are."""
    return UUID(int=(number + 1) << 80 | 0x7 << 76 | 0b10 << 62)


async def _copy(driver: "asyncpg.Connection[Any]", table: str, rows: Rows) -> None:
    rows = iter(rows)
    first = next(rows)
    records = (tuple(row.values()) for row in chain([first], rows))
    await driver.copy_records_to_table(table, records=records, columns=list(first), timeout=300)
