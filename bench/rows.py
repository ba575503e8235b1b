"""Rows of stock, a thousand in each request: how many a second, and what orders keep meanwhile."""

import asyncio
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from sqlalchemy import select

from bench import servers
from bench.candidates import World
from bench.data import PRODUCTS, environment_of, opened, verified
from bench.load import Load, send_orders, send_rows
from bench.pgbench import postmaster
from bench.processes import cpu_seconds
from shop.adapters.sql import tables
from shop.domain.bulk import ROWS_MAX
from shop.domain.users import OPERATOR, Caller, Role

BESIDE = "rows beside orders"
CONNECTIONS = 4
WANTED = 11_000
"""Rows a second that are sent beside orders: a tenth more than the target."""
BODIES = 32
WARM_UP_SECONDS = 1


class Rows(msgspec.Struct, frozen=True):
    """Rows alone, orders alone, and both; one round."""

    round: int
    rows_alone: float
    """A second, as fast as they go, at `CONNECTIONS`."""
    server_cpu: float
    postgres_cpu: float
    """Microseconds for a row."""
    alone: float
    beside: float
    """Orders a second."""
    rows: float
    """Rows a second, meanwhile."""
    problems: list[str]

    @property
    def kept(self) -> float:
        return self.beside / self.alone

    def __str__(self) -> str:
        return (
            f"rows: {self.rows_alone:.0f}/s alone, CPU {self.server_cpu:.0f} + "
            f"{self.postgres_cpu:.0f} us each; beside orders {self.rows:.0f}/s, which kept "
            f"{self.beside:.0f} of {self.alone:.0f}/s ({self.kept:.2f})"
        )


def measure_rows(world: World, *, number: int, seconds: int) -> Rows:
    token, bodies = world.folder / "boss-token", world.folder / "rows"
    with (
        world.copied_postgres() as url,
        servers.serving(
            servers.SHOP, workers=1, environment=environment_of(url), folder=world.folder
        ) as server,
    ):
        boss, skus = asyncio.run(_boss_and_skus(url))
        token.write_text(boss + "\n")
        _write_bodies(bodies, skus, seed=number)

        def order(length: int) -> Load:
            return send_orders(
                server.url,
                tokens=world.tokens,
                workload="spread",
                connections=64,
                seconds=length,
                seed=number,
            )

        def sync(length: int, every: float = 0) -> Load:
            return send_rows(
                server.url,
                token=token,
                bodies=bodies,
                connections=CONNECTIONS,
                seconds=length,
                every=every,
            )

        sync(WARM_UP_SECONDS)
        before = cpu_seconds(server.pid), cpu_seconds(postmaster(world.postgres))
        fast = sync(seconds)
        after = cpu_seconds(server.pid), cpu_seconds(postmaster(world.postgres))
        order(WARM_UP_SECONDS)
        alone = order(seconds)
        with ThreadPoolExecutor(1) as thread:
            syncing = thread.submit(sync, seconds, 1000 * ROWS_MAX / WANTED)
            beside = order(seconds)
            rows = syncing.result()
        problems = [
            f"{load.refused} refused, {load.broken} without an answer"
            for load in (fast, alone, beside, rows)
            if load.refused or load.broken
        ]
        changed = max(fast.answered * ROWS_MAX, 1)
        return Rows(
            round=number,
            rows_alone=fast.rate * ROWS_MAX,
            server_cpu=1e6 * (after[0] - before[0]) / changed,
            postgres_cpu=1e6 * (after[1] - before[1]) / changed,
            alone=alone.rate,
            beside=beside.rate,
            rows=rows.rate * ROWS_MAX,
            problems=problems + verified(url),
        )


async def _boss_and_skus(url: str) -> tuple[str, Sequence[str]]:
    """The access token of a member of staff, and what rows name products by."""
    async with opened(url) as container:
        boss = await container.create_user()(
            caller=OPERATOR, username="boss", password="of the benchmark alone", role=Role.STAFF
        )
        token = container.access_tokens().issue(Caller(user_id=boss.id, role=Role.STAFF))
        async with container.engines().read.connect() as connection:
            statement = select(tables.products.c.sku).limit(PRODUCTS)
            return token, (await connection.scalars(statement)).all()


def _write_bodies(path: Path, skus: Sequence[str], *, seed: int) -> None:
    """One a line; each has products at random, in any order."""
    dice = random.Random(seed)  # noqa: S311  # a workload, no secret
    with path.open("w") as file:
        for _ in range(BODIES):
            rows = [
                {"sku": sku, "delta": 1, "reason": "restock"} for sku in dice.sample(skus, ROWS_MAX)
            ]
            file.write(json.dumps({"rows": rows, "policy": "each"}) + "\n")
