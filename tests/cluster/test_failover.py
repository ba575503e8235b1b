"""The primary is lost, or hands over: no answered order is, and nobody restarts the shop."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.cluster.cluster import FAILOVER_SECONDS_MAX, TTL, Cluster, Node
from tests.cluster.outages import BUYERS, PAUSE, by, check, first_placed_after, longest_pause
from tests.concurrency.deployment import Deployment, until
from tests.concurrency.load import loaded

BACK_SECONDS_MAX = 10.0
"""After the new primary has taken changes first."""
SWITCHOVER_SECONDS_MAX = 3.0
"""Without an order, when a primary hands over."""

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
        back = await first_placed_after(load, writable, within=BACK_SECONDS_MAX)
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
    without = longest_pause(load)
    measured.append(f"switchover, by {way}: {without:.1f} s without an order")
    await check(load, shop, products)
    assert without < SWITCHOVER_SECONDS_MAX


@by("hosts")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_lost_standby_is_waited_for_until_patroni_has_noticed(
    cluster: Cluster, shop: Deployment, fault: str, measured: list[str]
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    primary = await asyncio.to_thread(lambda: cluster.primary)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        began = time.monotonic()
        await asyncio.to_thread(FAULTS[fault], cluster.other(primary))
        await until(lambda: time.monotonic() > began + TTL, within=FAILOVER_SECONDS_MAX)
        await load.has_placed(50)
    without = longest_pause(load)
    measured.append(f"standby {fault}: {without:.1f} s without an order")
    assert without < FAILOVER_SECONDS_MAX
    assert await asyncio.to_thread(lambda: cluster.primary) is primary
    await check(load, shop, products)
