"""Clients that hang up or dawdle harm nobody but themselves."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeAlias
from uuid import UUID, uuid4

import pytest

from shop.entrypoints.settings import Settings
from tests.concurrency.conftest import new_database
from tests.concurrency.deployment import (
    Deployment,
    all_at_once,
    basket,
    deployed,
    order_path,
)
from tests.concurrency.load import loaded
from tests.concurrency.wire import Answer, Client, Gone

REQUEST_SECONDS_MAX = 2.0
SLACK = 3.0
"""What a busy machine may add to a limit."""
PROMPT_SECONDS = 2.0


async def test_who_hangs_up_leaves_the_neighbours_served(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    initial = 100_000
    product = await deployment.given_product(stock=initial)
    leavers = 48
    asked: set[UUID] = set()
    for _ in range(effort(2, 20)):
        with deployment.clients(leavers) as leaving, deployment.clients(16) as staying:
            ids = [uuid4() for _ in leaving]
            asked.update(ids)
            requests = [
                client.request("POST", order_path(order_id), basket((product, 1)))
                for client, order_id in zip(leaving, ids, strict=True)
            ]
            # The last third stops in the middle of the body.
            cut = [r if i % 3 else r[:-10] for i, r in enumerate(requests)]
            wanted = [c.request("POST", "/api/orders/", basket((product, 2))) for c in staying]
            async with deployment.sales_held(product):
                # All of them wait for the same piece of stock when the leavers go.
                await asyncio.gather(*(client.connect() for client in leaving))
                neighbours = asyncio.create_task(all_at_once(staying, *wanted))
                await asyncio.gather(*(c.send(r) for c, r in zip(leaving, cut, strict=True)))
                await deployment.requests_have_arrived()
                for client in leaving:
                    client.close()
            answers = await neighbours
            assert [answer.status for answer in answers] == [201] * len(staying)
    with deployment.clients(1, deployment.staff) as [client]:
        for order_id in asked:
            answer = await client.get(order_path(order_id))
            assert answer.status in (200, 404), answer
    books = await deployment.books([product])
    assert books.on_hand[product] + books.taken(product) == initial
    await deployment.verify_stock()


@pytest.fixture(scope="module")
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A server that waits for a body no longer than the limit."""
    folder = tmp_path_factory.mktemp("guarded")
    database = new_database(request, "sqlite", folder, "")
    with deployed(folder, database, request_timeout=str(REQUEST_SECONDS_MAX)) as deployment:
        yield deployment


async def test_slow_peers_are_ended_and_others_are_served_meanwhile(guarded: Deployment) -> None:
    product = await guarded.given_product(stock=1_000_000)
    with guarded.clients(100) as slow:
        request = slow[0].request("POST", "/api/orders/", basket((product, 1)))
        head, body = request[: request.index(b"{")], request[request.index(b"{") :]
        async with asyncio.TaskGroup() as group:

            def dawdle(
                clients: list[Client],
                at_once: bytes,
                drop_by_drop: bytes = b"",
                *,
                answered_before: bool = False,
            ) -> list[_Ending]:
                return [
                    group.create_task(
                        _dawdle(client, at_once, drop_by_drop, answered_before=answered_before)
                    )
                    for client in clients
                ]

            slow_heads = [
                *dawdle(slow[:15], b"", request),
                *dawdle(slow[15:30], request[:30]),
                *dawdle(slow[30:40], request[:1]),
                *dawdle(slow[40:50], b""),
                *dawdle(slow[50:60], b"", answered_before=True),
            ]
            slow_bodies = [
                *dawdle(slow[60:80], head, body),
                *dawdle(slow[80:], head + body[:10]),
            ]
            async with loaded(guarded, [product], buyers=8) as load:
                await load.has_placed(300)
                await asyncio.wait(slow_bodies)
            assert not load.refused
            assert not load.cut_off
            assert load.slowest < PROMPT_SECONDS
    for ending in slow_bodies:
        answer, seconds = ending.result()
        assert answer is not None
        assert (answer.status, answer.code) == (408, "body_too_slow")
        assert seconds < REQUEST_SECONDS_MAX + SLACK
    for ending in slow_heads:
        answer, seconds = ending.result()
        assert answer is None or answer.status == 408
        assert seconds < Settings().keep_alive_timeout + SLACK
    # Nothing was ordered by halves, either.
    books = await guarded.books([product])
    assert books.orders.keys() == load.placed.keys()


_Ending: TypeAlias = "asyncio.Task[tuple[Answer | None, float]]"


async def _dawdle(
    client: Client, at_once: bytes, drop_by_drop: bytes, *, answered_before: bool = False
) -> tuple[Answer | None, float]:
    """The server's answer, if it gives one, and the seconds until it closed the connection."""
    if answered_before:
        assert (await client.get("/health/live")).status == 200
    started = time.monotonic()

    async def drip() -> None:
        with suppress(Gone):
            for i in range(len(drop_by_drop)):
                await client.send(drop_by_drop[i : i + 1])
                await asyncio.sleep(0.2)

    await client.send(at_once)
    dripping = asyncio.create_task(drip())
    answer = None
    try:
        answer = await client.answer()
        await client.answer()
    except Gone:
        return answer, time.monotonic() - started
    finally:
        dripping.cancel()
        await asyncio.wait([dripping])
    raise AssertionError(f"a second answer: {answer}")
