"""What a standby that each commit waits for costs, by each way to the primary."""

import asyncio
import time

from tests.cluster.cluster import Cluster
from tests.cluster.outages import check
from tests.concurrency.deployment import Deployment
from tests.concurrency.load import loaded

BUYERS = 16
SECONDS = 4.0
ROUNDS = 3


async def test_orders_with_and_without_a_standby_that_is_waited_for(
    cluster: Cluster, shop: Deployment, way: str, measured: list[str]
) -> None:
    """On one machine the standby's work is done by the same processors: no bound would be fair."""
    products = await shop.given_products(64, stock=1_000_000)
    rates: dict[bool, list[float]] = {True: [], False: []}
    try:
        for _ in range(ROUNDS):
            for synchronous in rates:
                await asyncio.to_thread(cluster.set_synchronous, synchronous)
                rates[synchronous].append(await _orders_a_second(shop, products))
    finally:
        await asyncio.to_thread(cluster.set_synchronous, True)
    for synchronous, found in rates.items():
        ranged = f"{sorted(found)[ROUNDS // 2]:,.0f} ({min(found):,.0f} to {max(found):,.0f})"
        waited_for = "waited for" if synchronous else "not waited for"
        measured.append(f"orders a second, by {way}, the standby {waited_for}: {ranged}")


async def _orders_a_second(shop: Deployment, products: list[int]) -> float:
    async with loaded(shop, products, buyers=BUYERS) as load:
        await load.has_placed(100)
        before, began = len(load.placed), time.monotonic()
        await asyncio.sleep(SECONDS)
        rate = (len(load.placed) - before) / (time.monotonic() - began)
    assert not load.refused
    await check(load, shop, products)
    return rate
