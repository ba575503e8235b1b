"""The primary is lost, or hands over: no answered order is, and nobody restarts the shop."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.cluster.cluster import FAILOVER_SECONDS_MAX, Cluster, Node
from tests.concurrency.deployment import Deployment, order_path, until
from tests.concurrency.load import Load, loaded

BACK_SECONDS_MAX = 10.0
"""After the new primary has taken changes first."""
SWITCHOVER_SECONDS_MAX = 3.0
"""Without an order, when a primary hands over."""
BUYERS = 6
PAUSE = 0.1

FAULTS: dict[str, Callable[[Node], None]] = {
    "killed": lambda node: node.host.kill_all(),
    "switched-off": lambda node: node.host.switch_off(),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_primary_costs_no_answered_order_and_no_restart(
    cluster: Cluster, shop: Deployment, fault: str, measured: list[str], way: str
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    processes = [(server.pid, server.worker_pids) for server in shop.servers]
    lost = await asyncio.to_thread(lambda: cluster.primary)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        began = time.monotonic()
        await asyncio.to_thread(FAULTS[fault], lost)
        writable = await cluster.has_new_primary(cluster.other(lost))
        back = await _first_placed_after(load, writable, within=BACK_SECONDS_MAX)
        await load.has_placed(50)
    measured.append(
        f"primary {fault}, by {way}: a new one after {writable - began:.1f} s, "
        f"orders after {back - began:.1f} s, {back - writable:.1f} s later"
    )
    assert back - began < FAILOVER_SECONDS_MAX
    assert [(server.pid, server.worker_pids) for server in shop.servers] == processes
    await check(load, shop, products)


async def test_a_switchover_costs_three_seconds_at_most(
    cluster: Cluster, shop: Deployment, measured: list[str], way: str
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    before = await asyncio.to_thread(lambda: cluster.primary)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        await asyncio.to_thread(cluster.switch_over)
        await load.has_placed(50)
    assert await asyncio.to_thread(lambda: cluster.primary) is cluster.other(before)
    without = max(
        later - earlier for earlier, later in zip(load.placed_at, load.placed_at[1:], strict=False)
    )
    measured.append(f"switchover, by {way}: {without:.1f} s without an order")
    await check(load, shop, products)
    assert without < SWITCHOVER_SECONDS_MAX


async def _first_placed_after(load: Load, moment: float, *, within: float) -> float:
    await until(lambda: bool(load.placed_at) and load.placed_at[-1] > moment, within=within)
    return next(at for at in load.placed_at if at > moment)


async def check(load: Load, shop: Deployment, products: list[int]) -> None:
    """Only 503 was said meanwhile, all that was answered is there, and each order is there once.

    As clients do, an order without a good answer is sent again under its id.
    """
    assert not load.cut_off
    assert {answer.status for answer in load.refused} <= {503}
    await load.check(shop, products)
    with shop.clients(1) as [client]:
        for order_id in load.sent.keys() - load.placed.keys():
            client.token = load.tokens[order_id]
            answer = await client.post(order_path(order_id), load.sent[order_id])
            assert answer.status in (200, 201), answer
            load.placed[order_id] = answer.body
    await load.check(shop, products)
    await shop.verify_stock()
