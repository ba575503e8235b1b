"""Staff who send rows again and again while the shop sells: nobody's sale is overwritten."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from shop.adapters.sql import tables
from tests.concurrency.deployment import Deployment, basket, until
from tests.concurrency.wire import Answer, Client, Gone
from tests.stores import sql_store

SYNCS = 16
STOCK, PRODUCTS = "/api/stock/changes/", "/api/products/bulk/"
PLENTY = 10_000
PROGRESS_SECONDS_MAX = 30.0
# What docs/api.md has of 503 that says: nothing was done.
NOT_DONE = {"overloaded", "database_unavailable", "write_conflict", "stock_busy"}


async def given_skus(deployment: Deployment, number: int, *, stock: int) -> dict[str, int]:
    """Products by SKU, made by rows."""
    first = await deployment.given_product(stock=1)
    skus = [f"SYNC-{first}-{n}" for n in range(number)]
    with deployment.clients(1, deployment.staff) as [client]:
        answer = await client.post(PRODUCTS, {"rows": [new(sku, stock) for sku in skus]})
    assert answer.status == 200, answer.body
    return {row["sku"]: row["product_id"] for row in answer.body["rows"]}


def new(sku: str, stock: int = 0, **fields: Any) -> dict[str, Any]:
    row = {"sku": sku, "name": sku, "price": "1.00", **fields}
    return row | {"stock": {"delta": stock, "reason": "restock"}} if stock else row


async def send(client: Client, path: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of the rows; sent again while the shop says that nothing was done."""
    while True:
        answer = await client.post(path, {"rows": rows, "policy": "each"})
        if answer.status == 200:
            answered: list[dict[str, Any]] = answer.body["rows"]
            return answered
        assert answer.status == 503, answer
        assert answer.code in NOT_DONE, answer


class Buyers:
    """They buy without a pause until they are told to stop."""

    def __init__(self, deployment: Deployment, product_ids: list[int]) -> None:
        self._deployment, self._products = deployment, product_ids
        self._stopping = False
        self.answers: list[Answer] = []

    async def buy(self) -> None:
        with self._deployment.clients(16) as clients:
            await asyncio.gather(*(self._buy(client, n) for n, client in enumerate(clients)))

    async def _buy(self, client: Client, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        while not self._stopping:
            wanted = dice.sample(self._products, 5)
            body = basket(*((product, dice.randint(1, 3)) for product in wanted))
            self.answers.append(await client.post("/api/orders/", body))

    def stop(self) -> None:
        self._stopping = True

    def check(self) -> None:
        outcomes = Counter(answer.status for answer in self.answers)
        assert outcomes[201] > SYNCS, outcomes
        refused = [answer for answer in self.answers if answer.status != 201]
        assert {answer.code for answer in refused} <= {"out_of_stock"} | NOT_DONE


async def test_syncs_that_expect_or_add_overwrite_no_sale(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    products = await given_skus(deployment, 100, stock=PLENTY)
    deadlocks_before = deployment.database.deadlocks
    buyers = Buyers(deployment, list(products.values()))
    by_hand: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()

    async def sync(client: Client, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        believed = dict.fromkeys(products, PLENTY)
        for _ in range(effort(3, 30)):
            # Each in an order of its own, and with a part of all.
            skus = dice.sample(list(products), 60)
            changes = {sku: dice.choice([-2, 1, 3]) for sku in skus}
            rows = [
                {"sku": sku, "delta": change, "reason": "restock"}
                if n % 2
                else {
                    "sku": sku,
                    "quantity": believed[sku] + change,
                    "expected": believed[sku],
                    "reason": "counted",
                }
                for n, (sku, change) in enumerate(changes.items())
            ]
            for row in await send(client, STOCK, rows):
                outcomes[row["outcome"]] += 1
                if row["outcome"] == "changed":
                    by_hand[row["sku"]] += changes[row["sku"]]
                    believed[row["sku"]] = row["stock"]
                else:
                    assert row["error"]["code"] == "stock_changed"
                    believed[row["sku"]] = row["error"]["actual"]

    buying = asyncio.create_task(buyers.buy())
    with deployment.clients(SYNCS, deployment.staff) as clients:
        await asyncio.gather(*(sync(client, seed) for seed, client in enumerate(clients)))
    buyers.stop()
    await buying
    buyers.check()
    assert outcomes["changed"]
    assert outcomes["refused"], "or it was no race"
    books = await deployment.books(products.values())
    for sku, product in products.items():
        assert books.on_hand[product] + books.taken(product) == PLENTY + by_hand[sku]
    # Not even one that was overcome by trying again.
    assert deployment.database.deadlocks == deadlocks_before
    await deployment.verify_stock()


@pytest.mark.long
async def test_absolute_syncs_of_products_leave_a_ledger_that_adds_up(
    deployment: Deployment, effort: Callable[[int, int], int]
) -> None:
    products = await given_skus(deployment, 50, stock=PLENTY)
    deadlocks_before = deployment.database.deadlocks
    buyers = Buyers(deployment, list(products.values()))

    async def sync(client: Client, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        for _ in range(effort(3, 30)):
            rows = [
                {
                    "sku": sku,
                    "name": f"{sku} of {seed}",
                    "stock": {"quantity": PLENTY, "absolute": True, "reason": "counted"},
                }
                for sku in dice.sample(list(products), 40)
            ]
            for row in await send(client, PRODUCTS, rows):
                assert row["outcome"] in ("changed", "unchanged")
                assert row["stock"] == PLENTY

    buying = asyncio.create_task(buyers.buy())
    with deployment.clients(SYNCS, deployment.staff) as clients:
        await asyncio.gather(*(sync(client, seed) for seed, client in enumerate(clients)))
    buyers.stop()
    await buying
    buyers.check()
    await deployment.books(products.values())
    assert deployment.database.deadlocks == deadlocks_before
    await deployment.verify_stock()


@pytest.mark.long
async def test_new_products_of_many_syncs_are_created_once(deployment: Deployment) -> None:
    [seen] = (await given_skus(deployment, 1, stock=1)).values()
    skus = [f"NEW-{seen}-{n}" for n in range(500)]
    deadlocks_before = deployment.database.deadlocks
    created: Counter[str] = Counter()

    async def sync(client: Client, seed: int) -> None:
        # Each in an order of its own, and some in capitals.
        shuffled = random.Random(seed).sample(skus, len(skus))  # noqa: S311
        written = [sku.lower() if seed % 2 else sku for sku in shuffled]
        for row in await send(client, PRODUCTS, [new(sku, 2) for sku in written]):
            assert row["outcome"] in ("created", "changed")
            created[row["sku"].upper()] += row["outcome"] == "created"

    with deployment.clients(SYNCS, deployment.staff) as clients:
        await asyncio.gather(*(sync(client, seed) for seed, client in enumerate(clients)))
    assert created == dict.fromkeys(skus, 1)
    assert deployment.database.deadlocks == deadlocks_before
    with deployment.clients(1, deployment.staff) as [client]:
        answer = await client.get(f"/api/products/?sku={skus[0]}")
    assert [product["stock"] for product in answer.body["results"]] == [2 * SYNCS]
    await deployment.verify_stock()


@pytest.mark.long
async def test_whoever_hangs_up_leaves_whole_requests(deployment: Deployment) -> None:
    products = await given_skus(deployment, 100, stock=PLENTY)

    async def sync(client: Client, number: int) -> None:
        await client.send(client.request("POST", STOCK, rows_of(products, number)))
        await asyncio.sleep(0.002 * (number % 12))
        client.close()

    for start in range(0, 48, SYNCS):
        with deployment.clients(SYNCS, deployment.staff) as clients:
            await asyncio.gather(*(sync(client, start + n) for n, client in enumerate(clients)))
    await deployment.requests_have_arrived()
    assert set((await written(deployment)).values()) <= {len(products)}
    await deployment.verify_stock()


async def test_killing_the_server_leaves_whole_requests_that_a_key_repeats_once(
    durable: Deployment, effort: Callable[[int, int], int]
) -> None:
    products = await given_skus(durable, 100, stock=PLENTY)
    [server] = durable.servers
    answered: set[str] = set()
    sent: set[int] = set()

    async def sync(client: Client, start: int) -> None:
        with suppress(Gone):
            for number in range(start, start + 1_000):
                sent.add(number)
                await repeat(client, number)

    async def repeat(client: Client, number: int) -> None:
        body, key = rows_of(products, number), f"{min(products)}-{number}"
        answer = await client.post(STOCK, body, idempotency_key=key)
        assert answer.status in (200, 503), answer
        if answer.status == 200:
            answered.add(note_of(products, number))

    for round_ in range(effort(2, 20)):
        with durable.clients(8, durable.staff) as clients:
            starts = [round_ * 100_000 + n * 1_000 for n in range(len(clients))]
            syncs = [
                asyncio.create_task(sync(client, start))
                for client, start in zip(clients, starts, strict=True)
            ]
            is_under_way = partial(_has_grown, answered, len(answered) + 10)
            await until(is_under_way, within=PROGRESS_SECONDS_MAX)
            server.kill()
            await asyncio.gather(*syncs)
        await asyncio.to_thread(server.start)
        stored = await written(durable)
        assert {stored[note] for note in answered} == {len(products)}, "answered and lost"
        assert set(stored.values()) == {len(products)}
    with durable.clients(1, durable.staff) as [client]:
        for number in sent:
            await repeat(client, number)
    stored = await written(durable)
    assert {stored[note_of(products, number)] for number in sent} == {len(products)}
    await durable.verify_stock()


def _has_grown(collected: Collection[str], number: int) -> bool:
    return len(collected) >= number


def note_of(products: dict[str, int], number: int) -> str:
    return f"sync {number} of {min(products)}"


def rows_of(products: dict[str, int], number: int) -> dict[str, Any]:
    """One more of each, in an order of its own; the note says by which request."""
    skus = random.Random(number).sample(list(products), len(products))  # noqa: S311
    reason = note_of(products, number)
    return {"rows": [{"sku": sku, "delta": 1, "reason": reason} for sku in skus]}


async def written(deployment: Deployment) -> Counter[str]:
    """How many movements there are by each note of these tests."""
    movements = tables.stock_movements
    statement = (
        select(movements.c.note, func.count())
        .where(movements.c.note.like("sync %"))
        .group_by(movements.c.note)
    )
    async with sql_store(deployment.database.url) as store, store.sql.read.connect() as connection:
        return Counter(dict(iter(await connection.execute(statement))))
