"""Reading, beside a bare Litestar handler that answers the same bytes as a constant."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import httpx
import msgspec

from bench import servers
from bench.candidates import World, sqlite_url
from bench.catalogue import (
    LARGE,
    ORDERS,
    OWNER,
    SMALL,
    STAFF,
    fill_large,
    fill_small,
    order_id,
    sku,
)
from bench.data import PRODUCTS, environment_of, settings_of
from bench.load import Load, send_orders, send_reads
from bench.pgbench import postmaster
from bench.processes import cpu_seconds
from bench.variants import BARE_BODY
from shop.domain.users import Caller, Role
from shop.entrypoints.container import build_container

WARM_UP_SECONDS = 1
ADDRESSES = 2_048
"""More than the framework remembers the routes of."""


class Reading(msgspec.Struct, frozen=True):
    """One round of a workload."""

    workload: str
    round: int
    load: Load
    bare: Load
    """The constant of the same bytes, just before or after."""
    server_cpu: float
    postgres_cpu: float
    """Microseconds for a request."""
    bytes: int
    """Of one answer's body."""

    @property
    def ratio(self) -> float:
        return self.load.rate / self.bare.rate

    def __str__(self) -> str:
        return (
            f"reading, {self.workload}: {self.load.rate:.0f}/s, {self.ratio:.3f} of a constant "
            f"({self.bare.rate:.0f}/s), p50 {self.load.p50:.2f}, p99 {self.load.p99:.1f} ms, CPU "
            f"{self.server_cpu:.0f} + {self.postgres_cpu:.0f} us"
        )


class Beside(msgspec.Struct, frozen=True):
    """Orders alone, and with readers beside them; one round."""

    round: int
    alone: float
    beside: float
    """Orders a second."""
    reads: float
    """Reads a second, meanwhile."""

    @property
    def kept(self) -> float:
        return self.beside / self.alone

    def __str__(self) -> str:
        return (
            f"reads beside orders: {self.beside:.0f} of {self.alone:.0f} orders/s "
            f"({self.kept:.2f}), with {self.reads:.0f} reads/s"
        )


@dataclass(frozen=True, kw_only=True)
class Workload:
    store: str
    addresses: Callable[["Shop"], Sequence[str]]
    clients: int = 64
    tokens: str = "buyers"


class Shop:
    """A running one, as those who write down addresses ask it."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url, self._tokens = url, tokens

    def get(self, address: str, who: str = "buyers") -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._tokens[who]}"}
        answer = httpx.get(self._url + address, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer

    def next_links(self, address: str, pages: int) -> list[str]:
        """The links from there on, without the host."""
        links: list[str] = []
        while len(links) < pages and (link := self.get(address).json()["next"]):
            address = link.removeprefix(self._url)
            links.append(address)
        return links


def _details(products: int) -> Callable[[Shop], list[str]]:
    dice = random.Random(products)  # noqa: S311  # a workload, no secret
    return lambda _: [f"/api/products/{dice.randint(1, products)}/" for _ in range(ADDRESSES)]


def _order_details(_: Shop) -> list[str]:
    # Every fourth is the owner's.
    return [f"/api/orders/{order_id(4 * n)}/" for n in range(0, ORDERS // 4, 37)][:ADDRESSES]


def _all_different(_: Shop) -> list[str]:
    """No two are the same: filters, orderings, depths."""
    dice = random.Random(4)  # noqa: S311
    filters = ("", "&in_stock=true", "&price_min=20.00", "&price_max=60.00")
    orderings = [sign + name for name in ("name", "price", "created") for sign in ("", "-")]
    return [
        f"/api/products/?page_size=50&ordering={dice.choice(orderings)}{dice.choice(filters)}"
        f"&page={dice.randint(1, 100)}&n={number}"
        for number in range(ADDRESSES)
    ]


def _words(words: Sequence[str]) -> Callable[[Shop], list[str]]:
    return lambda _: [
        f"/api/products/?search={word}&page_size=10&n={n}" for n in range(100) for word in words
    ]


PAGE = "/api/products/?page_size=50"
WORKLOADS: dict[str, Workload] = {
    "product detail of 1,000": Workload(store="1,000", addresses=_details(SMALL)),
    "product detail of 1,000,000": Workload(store="1,000,000", addresses=_details(LARGE)),
    "first page of 1,000": Workload(store="1,000", addresses=lambda _: [PAGE]),
    "first page of 1,000,000": Workload(store="1,000,000", addresses=lambda _: [PAGE]),
    "pages that all differ": Workload(store="1,000,000", addresses=_all_different),
    "first page, one reader": Workload(store="1,000,000", addresses=lambda _: [PAGE], clients=1),
    "deep pages, one reader": Workload(
        store="1,000,000",
        addresses=lambda shop: shop.next_links(f"{PAGE}&page=200", 50),
        clients=1,
    ),
    "order detail": Workload(store="1,000,000", addresses=_order_details, tokens="owner"),
    "orders page of an owner of 75,000": Workload(
        store="1,000,000", addresses=lambda _: ["/api/orders/?page_size=50"], tokens="owner"
    ),
    "staff's page of 300,000 orders": Workload(
        store="1,000,000", addresses=lambda _: ["/api/orders/?page_size=50"], tokens="staff"
    ),
    "staff's page of paid orders": Workload(
        store="1,000,000",
        addresses=lambda _: ["/api/orders/?page_size=50&status=paid"],
        tokens="staff",
    ),
    "search, rare words": Workload(
        store="1,000,000",
        addresses=_words([sku(number) for number in range(1, LARGE, 99_991)]),
        clients=16,
    ),
    "search, common words": Workload(
        store="1,000,000", addresses=_words(["oak", "lamp", "nordic", "steel"]), clients=16
    ),
    "product detail, one reader": Workload(store="1,000", addresses=_details(SMALL), clients=1),
    "product detail on SQLite": Workload(store="SQLite", addresses=_details(SMALL)),
    "first page on SQLite": Workload(store="SQLite", addresses=lambda _: [PAGE]),
}
BESIDE = "reads beside orders"


class Library:
    """The stores that are read, each filled when it is first needed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._urls: dict[str, str] = {}
        self._write_tokens()

    def url(self, store: str) -> str:
        if store not in self._urls:
            print(f"Filling the store of {store} products", flush=True)
            if store == "SQLite":
                self._urls[store] = sqlite_url(self._world.folder / "read.sqlite3")
            else:
                name = "read_" + store.replace(",", "_")
                self._urls[store] = self._world.postgres.create_database(name)
            fill = fill_large if store == "1,000,000" else fill_small
            asyncio.run(fill(self._urls[store]))
        return self._urls[store]

    def tokens(self, who: str) -> Path:
        return self._world.tokens if who == "buyers" else self._world.folder / f"{who}-token"

    def first_tokens(self) -> dict[str, str]:
        return {
            who: self.tokens(who).read_text().split()[0] for who in ("buyers", "owner", "staff")
        }

    def _write_tokens(self) -> None:
        tokens = build_container(settings_of("memory://")).access_tokens()
        for who, user_id, role in (
            ("owner", OWNER, Role.CUSTOMER),
            ("staff", STAFF, Role.STAFF),
        ):
            self.tokens(who).write_text(tokens.issue(Caller(user_id=user_id, role=role)) + "\n")


def measure_reading(
    world: World, library: Library, name: str, *, number: int, seconds: int
) -> Reading:
    workload = WORKLOADS[name]
    url = library.url(workload.store)
    tokens = library.tokens(workload.tokens)
    addresses = world.folder / "addresses"
    body = world.folder / "body"

    def load(server: servers.Server, of: Path, length: int) -> Load:
        return send_reads(
            server.url,
            tokens=tokens,
            addresses=of,
            connections=workload.clients,
            seconds=length,
            seed=number,
        )

    with _serving(world, servers.SHOP, environment_of(url)) as server:
        shop = Shop(server.url, library.first_tokens())
        wanted = workload.addresses(shop)
        addresses.write_text("".join(f"{address}\n" for address in wanted))
        body.write_bytes(shop.get(wanted[0], workload.tokens).content)
        load(server, addresses, WARM_UP_SECONDS)
        before = cpu_seconds(server.pid), cpu_seconds(postmaster(world.postgres))
        measured = load(server, addresses, seconds)
        after = cpu_seconds(server.pid), cpu_seconds(postmaster(world.postgres))
    environment = {**environment_of("memory://"), BARE_BODY: str(body)}
    with _serving(world, servers.BARE, environment) as server:
        constant = world.folder / "constant"
        constant.write_text("/\n")
        load(server, constant, WARM_UP_SECONDS)
        bare = load(server, constant, seconds)
    answered = max(measured.answered, 1)
    return Reading(
        workload=name,
        round=number,
        load=measured,
        bare=bare,
        server_cpu=1e6 * (after[0] - before[0]) / answered,
        postgres_cpu=1e6 * (after[1] - before[1]) / answered,
        bytes=body.stat().st_size,
    )


@contextmanager
def _serving(world: World, command: tuple[str, ...], environment: Any) -> Iterator[servers.Server]:
    with servers.serving(
        command, workers=1, environment=environment, folder=world.folder
    ) as server:
        yield server


def measure_beside(world: World, library: Library, *, number: int, seconds: int) -> Beside:
    """Half as many details as orders, by readers who wait between their requests."""
    readers = 32
    addresses = world.folder / "addresses"
    dice = random.Random(number)  # noqa: S311
    addresses.write_text(
        "".join(f"/api/products/{dice.randint(1, PRODUCTS)}/\n" for _ in range(ADDRESSES))
    )
    with (
        world.copied_postgres() as url,
        _serving(world, servers.SHOP, environment_of(url)) as server,
    ):

        def order(length: int) -> Load:
            return send_orders(
                server.url,
                tokens=world.tokens,
                workload="spread",
                connections=64,
                seconds=length,
                seed=number,
            )

        order(WARM_UP_SECONDS)
        alone = order(seconds)
        with ThreadPoolExecutor(1) as thread:
            reading = thread.submit(
                send_reads,
                server.url,
                tokens=library.tokens("buyers"),
                addresses=addresses,
                connections=readers,
                seconds=seconds,
                seed=number,
                delay=round(1000 * readers / (alone.rate / 2)),
            )
            beside = order(seconds)
            reads = reading.result()
    return Beside(round=number, alone=alone.rate, beside=beside.rate, reads=reads.rate)


def select_p50(url: str) -> float:
    """Milliseconds of a bare SELECT by key over asyncpg."""
    return asyncio.run(_select_p50(url))


async def _select_p50(url: str) -> float:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        took = []
        for number in range(1, 2_001):
            began = time.perf_counter()
            await connection.fetchrow("SELECT * FROM products WHERE id = $1", number % SMALL + 1)
            took.append(1000 * (time.perf_counter() - began))
        return median(took[200:])
    finally:
        await connection.close()
