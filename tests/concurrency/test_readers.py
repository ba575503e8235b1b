"""Customers who search a large catalogue: they wait for each other, and orders go on."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from shop.domain.users import Caller, Role
from shop.entrypoints.container import build_container
from shop.entrypoints.settings import Settings
from tests.concurrency.deployment import Database, Deployment, deployed
from tests.concurrency.load import Load, loaded
from tests.concurrency.servers import SECRET_KEY
from tests.concurrency.wire import Client
from tests.postgresql import running_postgresql
from tests.stores import migrate

SEARCHERS = 12
BUYERS = 64
SECONDS = 8.0
ROUNDS = 3
KEPT = 0.5
"""Of their rate, orders keep at least so much."""

_FILL = """
INSERT INTO products (sku, name, description, price, currency, search_key, search_text,
    search_version, archived, version, created_at, modified_at)
SELECT 'LARGE-' || n, 'Teapot ' || n, 'One of many', 100 + n % 10000, 'EUR',
    'teapot ' || n || ' large-' || n, '  teapot  ' || n || '  large-' || n, 1, false, 1,
    now(), now()
FROM generate_series(1, 1000000) AS n;
INSERT INTO stock (product_id, on_hand) SELECT id, 0 FROM products;
ANALYZE products; ANALYZE stock;
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Of a million products."""
    with running_postgresql(durable=True) as server:
        migrate(server.create_database("large"))
        server.execute(_FILL, database="large")
        database = Database(url=server.url("large"), server=server)
        with deployed(tmp_path_factory.mktemp("large"), database) as deployment:
            yield deployment


@pytest.mark.long
async def test_orders_keep_half_their_rate_beside_those_who_search(large: Deployment) -> None:
    products = await large.given_products(8, stock=1_000_000)
    kept = []
    async with loaded(large, products, buyers=BUYERS) as load:
        await load.has_placed(500)
        for _ in range(ROUNDS):
            alone = await _rate(load)
            async with _searching(large):
                beside = await _rate(load)
            kept.append((beside / alone, beside, alone))
    # The rounds that others disturb on the same machine do not count.
    assert sorted(kept)[ROUNDS // 2][0] >= KEPT, kept
    assert not load.refused
    await load.check(large, products)


async def _rate(load: Load) -> float:
    """Orders a second."""
    before, started = len(load.placed), time.monotonic()
    await asyncio.sleep(SECONDS)
    return (len(load.placed) - before) / (time.monotonic() - started)


@asynccontextmanager
async def _searching(large: Deployment) -> AsyncIterator[None]:
    """Each customer asks for one search after the other, and is answered or told to come again."""
    container = build_container(Settings(database_url=large.database.url, secret_key=SECRET_KEY))
    tokens = container.access_tokens()
    # Nobody looks up who they are.
    customers = [Caller(user_id=1_000 + n, role=Role.CUSTOMER) for n in range(SEARCHERS)]
    clients = [Client(port=large.servers[0].port, token=tokens.issue(one)) for one in customers]
    statuses: list[int] = []
    searching = [asyncio.create_task(_search(client, statuses)) for client in clients]
    try:
        yield
    finally:
        for task in searching:
            task.cancel()
        await asyncio.wait(searching)
        for client in clients:
            client.close()
    assert 200 in statuses
    assert set(statuses) <= {200, 503}


async def _search(client: Client, statuses: list[int]) -> None:
    while True:
        answer = await client.get(f"/api/products/?search={random.randint(1_000, 9_999)}")  # noqa: S311
        assert answer.status == 200 or int(answer.headers["retry-after"]) >= 1, answer
        statuses.append(answer.status)
        await asyncio.sleep(0 if answer.status == 200 else 0.1)
