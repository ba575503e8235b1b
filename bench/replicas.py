"""Reading products with no, one and two replicas, all on this machine: `make bench-replicas`.

Each round tries every way once, one after the other, so that what the machine does besides is
shared by all. A replica here takes its processor time from the primary and the shop; what more
machines give is told by what a read costs each of them.
"""

import argparse
import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from bench.catalogue import SMALL, fill_small
from bench.data import environment_of, write_tokens
from bench.load import Load, send_reads
from bench.pgbench import postmaster
from bench.processes import cpu_seconds
from bench.servers import SHOP, START_SECONDS_MAX, Server, serving
from tests.postgresql import PostgresServer, follows, running_postgresql

CONNECTIONS = 64
FIT = r"^shop_replica_fit\{.*\} 1\.0$"
WAYS: Mapping[str, Sequence[str]] = {
    "product": [f"/api/products/{number}/" for number in range(1, SMALL + 1)],
    # So many that few are shared.
    "page": [f"/api/products/?page={number}&page_size=20" for number in range(1, SMALL // 20 + 1)],
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """A shop, and how it is asked."""

    name: str
    server: Server
    databases: Sequence[PostgresServer]
    """The primary first."""
    seen: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    load: Load
    shop_cpu: float
    database_cpu: Sequence[float]
    """Microseconds for a read; of each server of `Way.databases`."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-replicas", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="shop-bench-"))
    try:
        with _ways(folder) as ways:
            results: dict[tuple[str, str], list[Result]] = {}
            for number in range(options.rounds):
                for what in WAYS:
                    for way in ways:
                        result = _measured(way, what, folder, options.seconds, seed=number)
                        results.setdefault((what, way.name), []).append(result)
    finally:
        shutil.rmtree(folder)
    for (what, name), rounds in results.items():
        print(_line(what, name, rounds, results[what, "no replica"]))


@contextmanager
def _ways(folder: Path) -> Iterator[list[Way]]:
    with ExitStack() as stack:
        primary = stack.enter_context(running_postgresql())
        url = primary.create_database("shop")
        asyncio.run(fill_small(url))
        replicas = [stack.enter_context(running_postgresql(standby_of=primary)) for _ in range(2)]
        write_tokens(folder / "tokens")
        ways = []
        for number, name in enumerate(("no replica", "one replica", "two replicas")):
            hosts = "&".join(f"host={each.root}:5432" for each in replicas[:number])
            # Of one host the port would be part of its name.
            hosts = hosts if number > 1 else hosts.removesuffix(":5432")
            read_url = f"postgresql+asyncpg://shop@/shop?{hosts}" if hosts else ""
            of_server = folder / f"server-{number}"
            of_server.mkdir()
            environment = {**environment_of(url), "SHOP_DATABASE_READ_URL": read_url}
            server = stack.enter_context(
                serving(SHOP, workers=1, environment=environment, folder=of_server)
            )
            databases = [primary, *replicas[:number]]
            ways.append(Way(name=name, server=server, databases=databases))
            if number:
                seen = _placed(server, folder)
                for replica in replicas:
                    asyncio.run(follows(replica, primary))
                _wait_until_fit(server, number)
                marked = f"{name}, with a mark"
                ways.append(Way(name=marked, server=server, databases=databases, seen=seen))
        yield ways


def _wait_until_fit(server: Server, number: int) -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while len(re.findall(FIT, httpx.get(f"{server.url}/metrics").text, re.MULTILINE)) < number:
        assert time.monotonic() < give_up_at, "the replicas are not asked"
        time.sleep(0.1)


def _placed(server: Server, folder: Path) -> str:
    """The mark of an order."""
    token = (folder / "tokens").read_text().split()[0]
    answer = httpx.post(
        f"{server.url}/api/orders/",
        headers={"Authorization": f"Bearer {token}"},
        json={"items": [{"product_id": number, "quantity": 1} for number in (1, 2)]},
    )
    # Refusals have one as well.
    return answer.headers["X-Shop-Seen"]


def _measured(way: Way, what: str, folder: Path, seconds: int, *, seed: int) -> Result:
    addresses = folder / "addresses"
    addresses.write_text("".join(f"{address}\n" for address in WAYS[what]))
    processes = [way.server.pid, *(postmaster(each) for each in way.databases)]

    def send(seconds: int) -> Load:
        return send_reads(
            way.server.url,
            tokens=folder / "tokens",
            addresses=addresses,
            connections=CONNECTIONS,
            seconds=seconds,
            seed=seed,
            seen=way.seen,
        )

    send(1)
    before = [cpu_seconds(pid) for pid in processes]
    load = send(seconds)
    spent = [cpu_seconds(pid) - ago for pid, ago in zip(processes, before, strict=True)]
    assert not load.refused, load
    shop, *databases = [cpu * 1e6 / load.answered for cpu in spent]
    return Result(load=load, shop_cpu=shop, database_cpu=databases)


def _line(what: str, name: str, rounds: Sequence[Result], without: Sequence[Result]) -> str:
    shop = median(each.shop_cpu for each in rounds)
    added = shop / median(each.shop_cpu for each in without) - 1
    databases = [median(each) for each in zip(*(r.database_cpu for r in rounds), strict=True)]
    return (
        f"{what}, {name}: {median(each.load.rate for each in rounds):,.0f}/s, CPU us a read: shop "
        f"{shop:.0f} ({added:+.0%}), primary {databases[0]:.1f}, replicas "
        f"{', '.join(f'{each:.1f}' for each in databases[1:]) or '-'}"
    )


if __name__ == "__main__":
    main()
