"""Two replicas that are late by up to two seconds, and away now and then: own changes are seen."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.concurrency.deployment import Database, Deployment, all_at_once, basket, deployed
from tests.concurrency.wire import Client
from tests.haproxy import PROGRAM, haproxy_of_databases
from tests.postgresql import PostgresServer, running_postgresql, unused_name
from tests.stores import migrate

CLIENTS = 16
LAG_SECONDS_MAX = 2.0
RESTARTED_EVERY = 20
"""So many changes of the lag, each of them after a third of a second or so."""
LISTED_EVERY = 10


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with running_postgresql(synchronous_commit="on") as server:
        yield server


@pytest.fixture(scope="module")
def replicas(primary: PostgresServer) -> Iterator[list[PostgresServer]]:
    with (
        running_postgresql(standby_of=primary) as one,
        running_postgresql(standby_of=primary) as other,
    ):
        yield [one, other]


@pytest.fixture(
    params=[
        "each by its own address",
        pytest.param(
            "behind HAProxy",
            marks=pytest.mark.skipif(
                PROGRAM is None, reason="HAProxy is not installed (Debian: apt install haproxy)"
            ),
        ),
    ]
)
def replicated(
    request: pytest.FixtureRequest,
    primary: PostgresServer,
    replicas: list[PostgresServer],
    tmp_path: Path,
) -> Iterator[Deployment]:
    name = unused_name("replicated")
    database = Database(url=primary.create_database(name), server=primary)
    migrate(database.url)
    with ExitStack() as stack:
        folders: Sequence[Path] = [replica.root for replica in replicas]
        if request.param == "behind HAProxy":
            # Each connection leads to another replica than the one before.
            folders = [stack.enter_context(haproxy_of_databases(folders))]
        hosts = "&".join(f"host={folder}:5432" for folder in folders)
        # Of one host the port would be part of its name.
        hosts = hosts if len(folders) > 1 else hosts.removesuffix(":5432")
        read_url = f"postgresql+asyncpg://shop@/{name}?{hosts}"
        yield stack.enter_context(
            deployed(tmp_path, database, workers=(2,), database_read_url=read_url)
        )


async def test_nobody_misses_what_they_have_just_changed(
    replicated: Deployment, replicas: list[PostgresServer], effort: Callable[[int, int], int]
) -> None:
    rounds = effort(200, 100_000) // CLIENTS
    await replicas_are_fit(replicated)
    with replicated.clients(CLIENTS) as clients:
        async with lagging(replicas), asyncio.TaskGroup() as group:
            for client in clients:
                product = await replicated.given_product(stock=rounds + 1)
                group.create_task(buy_and_look(client, product, rounds))
    served = await reads_served(replicated)
    # Both ways were gone.
    assert served["replica"] > 0
    assert served["behind"] > 0


async def buy_and_look(client: Client, product: int, rounds: int) -> None:
    """Nobody else buys it: it is known what must be left."""
    bought = await client.post("/api/orders/", basket((product, 1)))
    mark = {"x_shop_seen": bought.headers["x-shop-seen"]}
    sku = (await client.ask("GET", f"/api/products/{product}/", **mark)).body["sku"]
    for done in range(1, rounds + 1):
        placed = await client.post("/api/orders/", basket((product, 1)))
        assert placed.status == 201, placed
        mark = {"x_shop_seen": placed.headers["x-shop-seen"]}
        shown = await client.ask("GET", f"/api/products/{product}/", **mark)
        assert (shown.status, shown.body["stock"]) == (200, rounds - done), done
        if done % LISTED_EVERY == 0:
            page = await client.ask("GET", f"/api/products/?sku={sku}", **mark)
            assert page.status == 200, page
            assert [one["stock"] for one in page.body["results"]] == [rounds - done], done


@asynccontextmanager
async def lagging(replicas: list[PostgresServer]) -> AsyncIterator[None]:
    """Each is later or less late from moment to moment, and restarted now and then."""

    async def change() -> None:
        for number in count(1):
            replica = random.choice(replicas)  # noqa: S311
            lag = random.choice([0.0, random.uniform(0, LAG_SECONDS_MAX)])  # noqa: S311
            await asyncio.to_thread(set_lag, replica, lag)
            if number % RESTARTED_EVERY == 0:
                await asyncio.to_thread(replica.stop)
                await asyncio.to_thread(replica.start)
            await asyncio.sleep(random.uniform(0, 0.6))  # noqa: S311

    changing = asyncio.create_task(change())
    try:
        yield
    finally:
        changing.cancel()
        await asyncio.wait([changing])


def set_lag(replica: PostgresServer, seconds: float) -> None:
    replica.execute(f"ALTER SYSTEM SET recovery_min_apply_delay = '{int(seconds * 1_000)}ms'")
    replica.execute("SELECT pg_reload_conf()")


async def replicas_are_fit(deployment: Deployment) -> None:
    """Until all workers have looked at them."""
    async with asyncio.timeout(30):
        while re.search(r"\nshop_replica_fit\{.*\} 1", await metrics(deployment)) is None or (
            "unfit" in await served_now(deployment)
        ):
            pass  # each look is many round trips, which give the servers their time


async def served_now(deployment: Deployment) -> set[str]:
    """Who serves a few reads that are made now."""
    before = await reads_served(deployment)
    with deployment.clients(8) as clients:
        requests = [client.request("GET", "/api/products/999999/") for client in clients]
        for answer in await all_at_once(clients, *requests):
            assert answer.status == 404, answer
    after = await reads_served(deployment)
    return {by for by, number in after.items() if number > before.get(by, 0)}


async def reads_served(deployment: Deployment) -> dict[str, float]:
    found = re.findall(
        r'^shop_replica_reads_total\{served="(\w+)"\} (\S+)$',
        await metrics(deployment),
        re.MULTILINE,
    )
    return {by: float(number) for by, number in found}


async def metrics(deployment: Deployment) -> str:
    port = deployment.servers[0].port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text
