"""What is compared, and how one measurement of it goes."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench import servers
from bench.data import (
    LINES_MAX,
    SIGNING_IN,
    environment_of,
    fill,
    problems_of,
    settings_of,
    write_tokens,
)
from bench.load import Load, people_signing_in, send_orders
from bench.pgbench import TRANSACTIONS, postmaster, run_transactions
from bench.processes import cpu_seconds, machine_cpu_seconds, pace, waited_cpu_seconds
from bench.variants import BARE_BODY, order_answer
from shop.entrypoints.container import build_container
from tests.postgresql import PostgresServer

TEMPLATE = "filled"
SIGNING_IN_CANDIDATE = f"shop, {SIGNING_IN} sign-ins"
WARM_UP_SECONDS = 2
DISTURBANCE_MAX = 0.15
SLOWDOWN_MAX = 1.25
ATTEMPTS_MAX = 3


class Case(msgspec.Struct, frozen=True, order=True):
    """One cell of the comparison."""

    candidate: str
    workload: str
    clients: int
    workers: int = 1

    def __str__(self) -> str:
        workers = f" x{self.workers}" if self.workers > 1 else ""
        return f"{self.candidate}{workers}, {self.workload}, {self.clients} clients"


class Measurement(msgspec.Struct, frozen=True):
    """One round of a case."""

    case: Case
    round: int
    load: Load
    server_cpu: float
    postgres_cpu: float
    """Milliseconds for an order."""
    disturbance: float
    """Processor cores that were somebody else's meanwhile."""
    problems: list[str]
    slowdown: float = 1.0
    """How much longer a fixed piece of work took than at its fastest in this run."""

    @property
    def is_quiet(self) -> bool:
        return self.disturbance <= DISTURBANCE_MAX and self.slowdown <= SLOWDOWN_MAX


@dataclass(frozen=True, kw_only=True)
class World:
    """Filled stores to copy from, and a folder to work in."""

    postgres: PostgresServer
    folder: Path
    tokens: Path
    sqlite: Path

    @contextmanager
    def copied_postgres(self) -> Iterator[str]:
        """A fresh copy; its URL."""
        yield self.postgres.create_database("shop", template=TEMPLATE)
        self.postgres.drop_database("shop")

    @contextmanager
    def copied_sqlite(self) -> Iterator[str]:
        path = self.folder / "shop.sqlite3"
        shutil.copy(self.sqlite, path)
        yield sqlite_url(path)
        for file in self.folder.glob("shop.sqlite3*"):
            file.unlink()


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


def create_world(postgres: PostgresServer, folder: Path, *, filled: bool) -> World:
    """`filled`: with the stores that orders are placed in."""
    world = World(
        postgres=postgres,
        folder=folder,
        tokens=folder / "tokens",
        sqlite=folder / "filled.sqlite3",
    )
    write_tokens(world.tokens)
    if not filled:
        return world
    asyncio.run(fill(postgres.create_database(TEMPLATE)))
    postgres.execute((TRANSACTIONS / "functions.sql").read_text(), database=TEMPLATE)
    asyncio.run(fill(sqlite_url(world.sqlite)))
    return world


def measure(world: World, case: Case, *, number: int, seconds: int) -> Measurement:
    """Warm a candidate up, load it, and prove that it did what it answered.

    While somebody else keeps the processor busy, of this machine or of its host, it is measured
    again, and the quietest time counts.
    """
    measure_one = _measure_pgbench if case.candidate.startswith("pgbench") else _measure_server
    attempts: list[Measurement] = []
    while len(attempts) < ATTEMPTS_MAX:
        slowdown = pace.slowdown()
        measured = measure_one(world, case, number, seconds)
        attempts.append(replace(measured, slowdown=max(slowdown, pace.slowdown())))
        if attempts[-1].problems:
            return attempts[-1]
        if attempts[-1].is_quiet:
            return attempts[-1]
    return min(attempts, key=lambda attempt: attempt.disturbance + attempt.slowdown)


def _measure_pgbench(world: World, case: Case, number: int, seconds: int) -> Measurement:
    with world.copied_postgres() as url:
        run = partial(
            run_transactions,
            world.postgres,
            "shop",
            transaction=f"{case.workload}_{case.candidate.removeprefix('pgbench ')}",
            clients=case.clients,
            seed=number,
            folder=world.folder,
        )
        return _measured(world, case, number, seconds, url=url, server=None, run=run)


_COMMANDS = {
    "shop": servers.SHOP,
    "shop on SQLite": servers.SHOP,
    SIGNING_IN_CANDIDATE: servers.SHOP,
    "constant": servers.CONSTANT,
    "constant, directly": servers.DIRECT,
    "naive": servers.NAIVE,
    "bare": servers.BARE,
}
_NEEDS_NO_DATABASE = "constant", "bare"
_LINES = {"hot": 1, "spread": (1 + LINES_MAX) // 2}
"""Of an order that is answered, on average."""
# One transaction for each order queues long for the pool's connections; it shall not fail by that.
_NAIVE_PATIENCE = {
    "SHOP_DATABASE_POOL_TIMEOUT": "60",
    "SHOP_DATABASE_LOCK_TIMEOUT": "60",
    "SHOP_DATABASE_STATEMENT_TIMEOUT": "60",
}


def _measure_server(world: World, case: Case, number: int, seconds: int) -> Measurement:
    copied = world.copied_sqlite if case.candidate.endswith("SQLite") else world.copied_postgres
    environment = _NAIVE_PATIENCE if case.candidate == "naive" else {}
    if case.candidate == "bare":
        environment = {BARE_BODY: str(_write_answer(world, case.workload))}
    with (
        copied() as url,
        servers.serving(
            _COMMANDS[case.candidate],
            workers=case.workers,
            environment={**environment_of(url), **environment},
            folder=world.folder,
        ) as server,
        _beside(case, server.url),
    ):
        run = partial(
            send_orders,
            server.url,
            tokens=world.tokens,
            workload=case.workload,
            connections=case.clients,
            seed=number,
        )
        return _measured(world, case, number, seconds, url=url, server=server.pid, run=run)


def _write_answer(world: World, workload: str) -> Path:
    file = world.folder / f"answer-{workload}"
    container = build_container(settings_of("memory://"))
    file.write_bytes(order_answer(container, _LINES[workload]))
    return file


def _beside(case: Case, url: str) -> AbstractContextManager[None]:
    return people_signing_in(url) if case.candidate == SIGNING_IN_CANDIDATE else nullcontext()


def _measured(
    world: World,
    case: Case,
    number: int,
    seconds: int,
    *,
    url: str,
    server: int | None,
    run: Callable[..., Load],
) -> Measurement:
    world.postgres.execute("CHECKPOINT")
    warm_up = run(seconds=WARM_UP_SECONDS)
    before = _costs(world, server)
    began = time.monotonic()
    load = run(seconds=seconds)
    took = time.monotonic() - began
    server_cpu, postgres_cpu, generator_cpu, machine_cpu = (
        after - earlier for after, earlier in zip(_costs(world, server), before, strict=True)
    )
    loads = (warm_up, load)
    problems = [f"{each.refused} orders refused" for each in loads if each.refused]
    problems += [f"{each.broken} requests without an answer" for each in loads if each.broken]
    if not case.candidate.startswith(_NEEDS_NO_DATABASE):
        # pgbench ends with its last transaction; wrk hangs up on the requests under way.
        cut_off = 0 if server is None else 2 * case.clients
        answered = sum(each.answered for each in loads)
        problems += problems_of(url, answered=answered, cut_off=cut_off)
    return Measurement(
        case=case,
        round=number,
        load=load,
        server_cpu=1000 * server_cpu / max(load.answered, 1),
        postgres_cpu=1000 * postgres_cpu / max(load.answered, 1),
        disturbance=(machine_cpu - server_cpu - postgres_cpu - generator_cpu) / took,
        problems=problems,
    )


def _costs(world: World, server: int | None) -> tuple[float, float, float, float]:
    """CPU seconds so far: of the server, PostgreSQL, ended children, the machine and its host."""
    return (
        cpu_seconds(server) if server is not None else 0.0,
        cpu_seconds(postmaster(world.postgres)),
        waited_cpu_seconds(),
        sum(machine_cpu_seconds()),
    )
