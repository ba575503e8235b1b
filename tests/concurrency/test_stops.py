"""However servers end, an order that was answered is there afterwards."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.concurrency.deployment import Deployment, all_at_once, basket, order_path, until
from tests.concurrency.load import changing, loaded
from tests.concurrency.wire import Gone
from tests.stores import sql_store

PLENTY = 1_000_000
RESPAWN_SECONDS_MAX = 30.0
STOP_BEGINS_SECONDS_MAX = 4.0
UNDER_WAY_SECONDS = 2.0
"""How long requests go on after a stop has begun."""


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
        books = await load.check(durable, products)
        assert all(books.on_hand[p] + books.taken(p) == PLENTY for p in products)
        # Whoever got no answer repeats the order, which is then placed once.
        with durable.clients(1, *durable.customers) as [client]:
            for order_id in load.sent.keys() - load.placed.keys() - books.orders.keys():
                answer = await client.post(order_path(order_id), load.sent[order_id])
                assert answer.status == 201
    await durable.verify_stock()


async def test_killing_every_process_in_mid_load_loses_no_answered_change(
    durable: Deployment, effort: Callable[[int, int], int]
) -> None:
    """They ride in the batches of the orders beside them."""
    products = await durable.given_products(4, stock=PLENTY)
    [server], [buyer] = durable.servers, durable.customers[:1]
    for _ in range(effort(2, 20)):
        async with (
            loaded(durable, products) as load,
            changing(durable, buyer, products[0]) as changes,
        ):
            await load.has_placed(60)
            await changes.have_been_made(60)
            server.kill()
        await asyncio.to_thread(server.start)
        assert not load.refused
        books = await load.check(durable, products)
        await changes.check(durable, buyer)
        assert all(books.on_hand[p] + books.taken(p) == PLENTY for p in products)
    await durable.verify_stock()


# Of PostgreSQL only: nothing holds up a commit of SQLite and nothing else.
@pytest.mark.parametrize("_durable_deployment", ["postgresql"], indirect=True)
async def test_nobody_is_answered_before_the_commit(durable: Deployment) -> None:
    product = await durable.given_product(stock=PLENTY)
    async with _commits_held(durable) as is_committing:
        with durable.clients(16) as clients:
            requests = [
                client.request("POST", "/api/orders/", basket((product, 1))) for client in clients
            ]
            for client, request in zip(clients, requests, strict=True):
                await client.send(request)
            answering = [asyncio.create_task(client.answer()) for client in clients]
            give_up_at = time.monotonic() + STOP_BEGINS_SECONDS_MAX
            while not await is_committing():
                assert time.monotonic() < give_up_at
            await durable.requests_have_arrived()
            assert not any(task.done() for task in answering)
            durable.servers[0].kill()
            assert all(
                isinstance(end, Gone)
                for end in await asyncio.gather(*answering, return_exceptions=True)
            )


@asynccontextmanager
async def _commits_held(deployment: Deployment) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Every COMMIT of an order waits until the end of the block; yields whether one does."""
    async with sql_store(deployment.database.url) as store:

        async def run(statement: str) -> bool:
            async with store.sql.read.connect() as connection:
                return bool((await connection.execute(text(statement))).scalar())

        async with store.sql.read.connect() as holder:
            await holder.execute(text("SELECT pg_advisory_lock(1)"))
            async with store.sql.patient.begin() as connection:
                for statement in _HOLD_COMMITS:
                    await connection.execute(text(statement))
            try:
                yield lambda: run("SELECT count(*) FROM pg_locks WHERE objid = 1 AND NOT granted")
            finally:
                await holder.execute(text("SELECT pg_advisory_unlock(1)"))
                async with store.sql.patient.begin() as connection:
                    await connection.execute(text("DROP FUNCTION wait_for_test CASCADE"))


_HOLD_COMMITS = (
    """
    CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END'
    """,
    """
    CREATE CONSTRAINT TRIGGER wait_for_test AFTER INSERT ON orders
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test()
    """,
)


async def test_a_stop_answers_what_is_under_way(durable: Deployment) -> None:
    product = await durable.given_product(stock=PLENTY)
    [server] = durable.servers
    with durable.clients(32) as clients:
        requests = [
            client.request("POST", order_path(uuid4()), basket((product, 1))) for client in clients
        ]
        async with durable.sales_held(product):
            answering = asyncio.create_task(all_at_once(clients, *requests))
            await durable.requests_have_arrived()
            server.terminate()
            await until(lambda: not server.is_listening(), within=STOP_BEGINS_SECONDS_MAX)
            # A server that waits for less than its time would be gone by then.
            await asyncio.sleep(UNDER_WAY_SECONDS)
            assert not answering.done()
        answers = await answering
    assert [answer.status for answer in answers] == [201] * len(clients)
    assert await asyncio.to_thread(server.wait) == 0
    books = await durable.books([product])
    assert len(books.orders) == len(clients)


async def test_a_stop_in_mid_load_loses_no_answered_order(durable: Deployment) -> None:
    products = await durable.given_products(8, stock=PLENTY)
    [server] = durable.servers
    async with loaded(durable, products) as load:
        await load.has_placed(100)
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
    assert not load.refused
    await asyncio.to_thread(server.start)
    await load.check(durable, products)


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
    await load.check(durable, products)
