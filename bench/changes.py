"""Orders beside clients who amend and cancel, with the database here and further away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench import servers
from bench.candidates import WARM_UP_SECONDS, World
from bench.data import environment_of
from bench.distance import further_away
from bench.load import Load, send_changes, send_orders

CLIENTS, CHANGING = 64, 10
WORKLOADS = {
    "changes, the database on this machine": 0.0,
    "changes, the database 50 ms away": 0.05,
    "changes, on SQLite": None,
}
"""Seconds to PostgreSQL, one way; None is SQLite."""


class Changing(msgspec.Struct, frozen=True):
    """One round: so many clients order, and then some of them amend and cancel instead."""

    workload: str
    round: int
    alone: float
    """Orders a second of all clients."""
    beside: float
    """Of those who go on ordering; what the others order does not count."""
    changes: float
    """Requests a second of those who change their orders, who place them as well."""
    problems: list[str]

    @property
    def kept(self) -> float:
        return self.beside / self.alone


@contextmanager
def serving_from_afar(world: World, away: float | None) -> Iterator[str]:
    """The URL of a shop with one worker, on PostgreSQL so many seconds away, or on SQLite."""
    with (
        _database(world, away) as url,
        servers.serving(
            servers.SHOP,
            workers=1,
            environment=environment_of(url),
            folder=world.folder,
        ) as server,
    ):
        yield server.url


def measure_changing(world: World, workload: str, *, number: int, seconds: int) -> Changing:
    with serving_from_afar(world, WORKLOADS[workload]) as url:

        def order(length: int, connections: int = CLIENTS) -> Load:
            return send_orders(
                url,
                tokens=world.tokens,
                workload="hot",
                connections=connections,
                seconds=length,
                seed=number,
            )

        order(WARM_UP_SECONDS)
        alone = order(seconds)
        with ThreadPoolExecutor(1) as thread:
            changing = thread.submit(
                send_changes,
                url,
                tokens=world.tokens,
                connections=CHANGING,
                seconds=seconds,
            )
            beside = order(seconds, CLIENTS - CHANGING)
            changes = changing.result()
    return Changing(
        workload=workload,
        round=number,
        alone=alone.rate,
        beside=beside.rate,
        changes=changes.rate,
        problems=[
            f"{load.refused} refused, {load.broken} without an answer"
            for load in (alone, beside, changes)
            if load.refused or load.broken
        ],
    )


@contextmanager
def _database(world: World, away: float | None) -> Iterator[str]:
    """A fresh copy; its URL, as the shop reaches it."""
    with world.copied_sqlite() if away is None else world.copied_postgres() as url:
        if not away:
            yield url
            return
        folder = world.folder / "away"
        folder.mkdir(exist_ok=True)
        host = Path(world.postgres.root)
        with further_away(host, folder=folder, seconds=away) as near:
            yield url.replace(str(host), str(near))
