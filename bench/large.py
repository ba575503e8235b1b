"""A large shop to look at: a million products, and a million orders with lines and ledger.

`make demo-large` runs it, on the database of SHOP_DATABASE_URL or on a file of its own. It goes the
shop's own ways, in large batches; run again it goes on where it was interrupted.
"""

import argparse
import asyncio
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import func, select, text

from shop.adapters.sql.tables import orders
from shop.domain.errors import WriteConflict
from shop.domain.orders import OrderItem, OrderRequest, Placed
from shop.domain.services.decide_orders import DecideOrders
from shop.domain.users import Role, User
from shop.entrypoints.cli.progress import progress_of
from shop.entrypoints.cli.running import connected
from shop.entrypoints.container import Container
from shop.entrypoints.demo import make_demo
from shop.entrypoints.samples import add_samples
from shop.entrypoints.settings import load_settings

FILE = Path("var/large.sqlite3")
BYTES_OF_BOTH = 2_500
"""What a product and an order take on the disk in SQLite, with the log beside the file."""

BUYERS = 1_000
FAITHFUL = 0.075
"""The first buyer's share of all orders."""
LINES_MAX = 3
ORDERS_PER_STEP = 1_000


async def fill(products: int, orders_wanted: int) -> None:
    settings = load_settings()
    async with connected(settings, creates=True, writing=True, in_bulk=True) as container:
        await container.schema().upgrade()
        await make_demo(container)
        buyers = await _buyers(container)
        with progress_of("products", products) as advance:
            await add_samples(container, count=products, seed=1, advance=advance)
        # Databases plan for the sizes that they know.
        await _analyze(container)
        dice = random.Random(time.time_ns())  # noqa: S311  # baskets, not secrets
        requests = _requests(container, buyers, products, dice)
        with progress_of("orders", orders_wanted) as advance:
            left = orders_wanted - await _count_orders(container)
            advance(orders_wanted - left)
            while left > 0:
                batch = [next(requests) for _ in range(min(left, ORDERS_PER_STEP))]
                # Some products are sold out in the end; those orders are asked for anew.
                placed = await place(container.decide_orders(), batch)
                advance(placed)
                left -= placed
        await _analyze(container)


async def place(decide: DecideOrders, batch: Sequence[OrderRequest]) -> int:
    """How many were placed. What took too long to be committed is decided again in halves.

    As the intake does it; here there is nobody who waits only for so long.
    """
    try:
        answers = await decide(batch)
    except WriteConflict:
        if len(batch) == 1:
            raise
        half = len(batch) // 2
        return await place(decide, batch[:half]) + await place(decide, batch[half:])
    return sum(isinstance(answer, Placed) for answer in answers)


async def _buyers(container: Container) -> list[int]:
    """Their ids; they are made once, and cannot sign in."""
    ids = []
    async with container.unit_of_work() as uow:
        for number in range(1, BUYERS + 1):
            name = f"buyer-{number}"
            buyer = await uow.users.find(name) or await uow.users.add(
                User(
                    id=0,
                    username=name,
                    password_hash="none",
                    role=Role.CUSTOMER,
                    disabled=False,
                    created_at=container.clock()(),
                )
            )
            ids.append(buyer.id)
        await uow.commit()
    return ids


def _requests(
    container: Container, buyers: list[int], products: int, dice: random.Random
) -> Iterator[OrderRequest]:
    new_id = container.new_id()
    while True:
        lines = dice.sample(range(1, products + 1), dice.randint(1, min(LINES_MAX, products)))
        yield OrderRequest(
            order_id=new_id(),
            user_id=buyers[0] if dice.random() < FAITHFUL else dice.choice(buyers),
            items=tuple(OrderItem(product_id=product_id, quantity=1) for product_id in lines),
        )


async def _count_orders(container: Container) -> int:
    async with container.engines().read.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(orders)) or 0


async def _analyze(container: Container) -> None:
    async with container.engines().patient.connect() as patient:
        connection = await patient.execution_options(isolation_level="AUTOCOMMIT")
        is_postgresql = connection.dialect.name == "postgresql"
        await connection.execute(text("VACUUM (ANALYZE)" if is_postgresql else "ANALYZE"))


def _require_room(products: int) -> None:
    FILE.parent.mkdir(exist_ok=True, mode=0o700)
    free, needed = shutil.disk_usage(FILE.parent).free, products * BYTES_OF_BOTH
    if free < needed and not FILE.exists():
        raise SystemExit(
            f"{FILE} would take about {needed // 10**6} MB, and {free // 10**6} MB are free; "
            "set SHOP_DATABASE_URL to another place."
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo-large", description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    chosen = parser.parse_args()
    url = f"sqlite+aiosqlite:///{FILE}"
    if os.environ.setdefault("SHOP_DATABASE_URL", url) == url:
        _require_room(chosen.products)
    asyncio.run(fill(chosen.products, chosen.orders))


if __name__ == "__main__":
    main()
