"""However servers end, an order that was answered is there afterwards."""

import asyncio
import os
import signal
from collections.abc import Callable
from uuid import uuid4

from tests.concurrency.deployment import Deployment, all_at_once, basket, order_path, until
from tests.concurrency.load import loaded

PLENTY = 1_000_000
RESPAWN_SECONDS_MAX = 30.0
STOP_BEGINS_SECONDS_MAX = 4.0


async def test_killing_every_process_in_mid_load_loses_no_answered_order(
    durable: Deployment, effort: Callable[[int, int], int]
) -> None:
    products = await durable.given_products(8, stock=PLENTY)
    [server] = durable.servers
    for _ in range(effort(2, 20)):
        async with loaded(durable, products) as load:
            await load.has_placed(100)
            server.kill()
        await asyncio.to_thread(server.start)
        assert not load.refused
        await load.check(durable)
        books = await durable.books(products)
        assert all(books.on_hand[p] + books.taken(p) == PLENTY for p in products)
        # Whoever got no answer repeats the order, which is then placed once.
        with durable.clients(1, *durable.customers) as [client]:
            for order_id in load.sent.keys() - load.placed.keys() - books.orders.keys():
                answer = await client.post(order_path(order_id), load.sent[order_id])
                assert answer.status == 201
    await durable.verify_stock()


async def test_a_stop_answers_what_is_under_way(durable: Deployment) -> None:
    product = await durable.given_product(stock=PLENTY)
    [server] = durable.servers
    with durable.clients(32) as clients:
        requests = [
            client.request("POST", order_path(uuid4()), basket((product, 1))) for client in clients
        ]
        async with durable.sales_held(product):
            answering = asyncio.gather(all_at_once(clients, *requests))
            await _are_being_served(durable)
            server.terminate()
            await until(lambda: not server.is_listening(), within=STOP_BEGINS_SECONDS_MAX)
            assert not answering.done()
        [answers] = await answering
    assert [answer.status for answer in answers] == [201] * len(clients)
    assert await asyncio.to_thread(server.wait) == 0
    books = await durable.books([product])
    assert len(books.orders) == len(clients)


async def _are_being_served(deployment: Deployment) -> None:
    """What was sent until now has reached the workers: later requests of others are answered."""
    for _ in range(2):
        with deployment.clients(16) as clients:
            probes = [client.request("GET", "/health/live") for client in clients]
            for answer in await all_at_once(clients, *probes):
                assert answer.status == 200


async def test_a_stop_in_mid_load_loses_no_answered_order(durable: Deployment) -> None:
    products = await durable.given_products(8, stock=PLENTY)
    [server] = durable.servers
    async with loaded(durable, products) as load:
        await load.has_placed(100)
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
    assert not load.refused
    await asyncio.to_thread(server.start)
    await load.check(durable)
    await durable.books(products)


async def test_a_killed_worker_is_replaced_while_the_other_serves_on(durable: Deployment) -> None:
    products = await durable.given_products(8, stock=PLENTY)
    [server] = durable.servers
    before = server.worker_pids
    async with loaded(durable, products, persistent=True) as load:
        await load.has_placed(100)
        os.kill(min(before), signal.SIGKILL)
        await load.has_placed(20)
        await until(lambda: server.worker_pids != before, within=RESPAWN_SECONDS_MAX)
        await load.has_placed(100)
    assert load.cut_off
    assert not load.refused
    assert len(server.worker_pids - before) == 1
    assert load.placed.keys() == load.sent.keys()
    await load.check(durable)
    await durable.books(products)
