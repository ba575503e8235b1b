"""The shop before the first measured order, and the proof after the last one."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import func, select, text

from shop.adapters.sql.tables import order_lines, orders, products, stock
from shop.domain.orders import OrderItem, OrderRequest
from shop.domain.products import Product
from shop.domain.users import OPERATOR, Caller, Role, User
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.samples import sample_products
from shop.entrypoints.settings import Settings

BUYERS = 1_000
PRODUCTS = 10_000
STOCK = 1_000_000_000
LINES_MAX = 5
OLD_ORDERS = 50_000
"""PostgreSQL plans for the sizes it knows: on empty tables foreign keys are checked by scans."""

SIGNING_IN = 50
"""Those of the buyers who have a password."""
PASSWORD = "the password of the benchmark"

SECRET_KEY = "of the benchmark, and of nothing else"
_PER_STEP = 250


def settings_of(url: str) -> Settings:
    return Settings(
        database_url=url,
        secret_key=SECRET_KEY,
        access_token_lifetime=86_400,
        # So that counting orders has its price, and refuses none.
        orders_per_minute=1_000_000,
        trusted_proxies="127.0.0.1",
    )


def environment_of(url: str) -> Mapping[str, str]:
    """What tells a process of the shop the same."""
    settings = settings_of(url)
    return {
        "SHOP_DATABASE_URL": settings.database_url,
        "SHOP_SECRET_KEY": settings.secret_key,
        "SHOP_ACCESS_TOKEN_LIFETIME": str(settings.access_token_lifetime),
        "SHOP_ORDERS_PER_MINUTE": str(settings.orders_per_minute),
        "SHOP_TRUSTED_PROXIES": settings.trusted_proxies,
    }


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Container]:
    container = build_container(settings_of(url))
    try:
        yield container
    finally:
        await container.engines().dispose()


async def fill(url: str) -> None:
    """Schema, buyers, products and old orders, all through the shop's own use cases."""
    async with opened(url) as container:
        await container.schema().upgrade()
        await add_buyers(container)
        await _add_products(container)
        dice = random.Random(1)  # noqa: S311  # baskets, not secrets
        for start in range(0, OLD_ORDERS, _PER_STEP):
            await container.decide_orders()([_old_order(container, dice) for _ in range(_PER_STEP)])
            if start == 0:
                await analyze(container)
        await analyze(container)


async def add_buyers(container: Container) -> None:
    password_hash = await container.hasher().hash(PASSWORD)
    async with container.unit_of_work() as uow:
        for number in range(1, BUYERS + 1):
            buyer = await uow.users.add(
                User(
                    id=0,
                    username=f"buyer-{number}",
                    password_hash=password_hash if number <= SIGNING_IN else "none",
                    role=Role.CUSTOMER,
                    disabled=False,
                    created_at=container.clock()(),
                )
            )
            assert buyer.id == number, "the load asks for buyers by number"
        await uow.commit()


async def _add_products(container: Container) -> None:
    for start in range(0, PRODUCTS, _PER_STEP):
        samples = sample_products(
            seed=1,
            numbers=range(start, start + _PER_STEP),
            currency=container.settings().currency,
            at=container.clock()(),
        )
        added = await container.add_products()(
            caller=OPERATOR, products=[_in_plenty(p) for p in samples]
        )
        assert added[0].id == start + 1, "the load asks for products by number"


def _in_plenty(product: Product) -> Product:
    return Product.new(
        sku=product.sku,
        name=product.name,
        description=product.description,
        price=product.price,
        stock=STOCK,
        at=product.created_at,
    )


def _old_order(container: Container, dice: random.Random) -> OrderRequest:
    chosen = dice.sample(range(1, PRODUCTS + 1), dice.randint(1, LINES_MAX))
    return OrderRequest(
        order_id=container.new_id()(),
        user_id=dice.randint(1, BUYERS),
        items=tuple(OrderItem(product_id=product_id, quantity=1) for product_id in chosen),
    )


async def analyze(container: Container) -> None:
    # In autocommit mode, as VACUUM asks for.
    async with container.engines().write.connect() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        await connection.execute(text("VACUUM (ANALYZE)" if is_postgresql else "ANALYZE"))


def write_tokens(path: Path) -> None:
    """An access token of each buyer, one a line."""
    tokens = build_container(settings_of("memory://")).access_tokens()
    buyers = (Caller(user_id=number, role=Role.CUSTOMER) for number in range(1, BUYERS + 1))
    path.write_text("".join(f"{tokens.issue(buyer)}\n" for buyer in buyers))


def problems_of(url: str, *, answered: int, cut_off: int) -> list[str]:
    """What is wrong with the shop after `answered` new orders.

    `cut_off` is how many more there may be: placed, but their buyers had hung up by then.
    """
    problems = asyncio.run(_problems_of(url, answered, cut_off))
    return problems + verified(url)


def verified(url: str) -> list[str]:
    """What `shop stock verify` finds."""
    run = subprocess.run(
        [Path(sys.executable).with_name("shop"), "stock", "verify"],
        env=environment_of(url),
        capture_output=True,
        text=True,
    )
    return [f"shop stock verify: {run.stdout}{run.stderr}"] if run.returncode else []


async def _problems_of(url: str, answered: int, cut_off: int) -> list[str]:
    problems = []
    async with opened(url) as container, container.engines().read.connect() as connection:
        stored = await connection.scalar(select(func.count()).select_from(orders)) or 0
        new = stored - OLD_ORDERS
        if new < answered:
            problems.append(f"{answered - new} of {answered} answered orders are lost")
        if new > answered + cut_off:
            problems.append(f"{new} orders are stored, but only {answered} were answered")
        sold = (
            select(order_lines.c.product_id, func.sum(order_lines.c.quantity).label("quantity"))
            .group_by(order_lines.c.product_id)
            .subquery()
        )
        wrong = await connection.scalar(
            select(func.count())
            .select_from(products)
            .join(stock)
            .outerjoin(sold, sold.c.product_id == products.c.id)
            .where(stock.c.on_hand + func.coalesce(sold.c.quantity, 0) != STOCK)
        )
        if wrong:
            problems.append(f"of {wrong} products the stock is not what the order lines say")
    return problems
