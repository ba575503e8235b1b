"""What goes wrong around a cluster, besides the loss of its primary."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.hosts import OURS
from tests.cluster.outages import BUYERS, PAUSE, by, check, first_placed_after
from tests.concurrency.commands import run_command
from tests.concurrency.deployment import Deployment, basket, order_path
from tests.concurrency.load import loaded
from tests.concurrency.servers import ShopServer
from tests.concurrency.wire import Answer

BACK_SECONDS_MAX = 10.0
LEFT_SECONDS_MAX = 15.0
"""A server that holds COMMITs up is left after `SHOP_DATABASE_STATEMENT_TIMEOUT`, of 10."""
DEADLINE = 8.0
"""`SHOP_INTAKE_DEADLINE`."""
SLACK = 2.0


@by("hosts", "proxy", "keeping-proxy")
async def test_of_two_primaries_the_one_that_lost_its_place_answers_no_order(
    cluster: Cluster, shop: Deployment, way: str, measured: list[str]
) -> None:
    """Its Patroni hangs, and takes no connection of the shop's away."""
    products = await shop.given_products(8, stock=1_000_000)
    old = await asyncio.to_thread(lambda: cluster.primary)
    new = cluster.other(old)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        began = time.monotonic()
        await asyncio.to_thread(cluster.freeze_patroni, old)
        try:
            writable = await cluster.has_new_primary(new)
            assert await old.takes_changes(), "there were no two primaries"
            back = await first_placed_after(load, writable, within=LEFT_SECONDS_MAX)
            await load.has_placed(50)
        finally:
            await asyncio.to_thread(cluster.fence, old)
    measured.append(
        f"two primaries, by {way}: the second after {writable - began:.1f} s, "
        f"orders after {back - began:.1f} s, {back - writable:.1f} s later"
    )
    await asyncio.to_thread(cluster.heal)
    assert await asyncio.to_thread(lambda: cluster.primary) is new
    await check(load, shop, products)


@by("hosts")
async def test_a_primary_that_the_shop_cannot_hear_is_waited_for_and_then_serves(
    cluster: Cluster, shop: Deployment, measured: list[str]
) -> None:
    """Patroni sees nothing of it: both servers reach each other and etcd."""
    products = await shop.given_products(8, stock=1_000_000)
    primary = await asyncio.to_thread(lambda: cluster.primary)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        primary.host.lose_what_is_sent_to(OURS)
        try:
            await load.has_refused(2 * BUYERS)
            await _check_health(shop, ready=False)
        finally:
            primary.host.reach(OURS)
        healed = time.monotonic()
        back = await first_placed_after(load, healed, within=BACK_SECONDS_MAX)
        await load.has_placed(50)
    measured.append(f"a partition that ends: orders after {back - healed:.1f} s")
    assert await asyncio.to_thread(lambda: cluster.primary) is primary
    assert load.slowest < DEADLINE + SLACK
    for answer in load.refused:
        _check_words(answer)
    await check(load, shop, products)


@by("pooler")
async def test_pgbouncer_is_killed_and_started_again(
    cluster: Cluster, shop: Deployment, measured: list[str]
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        await asyncio.to_thread(cluster.programs["pgbouncer"].kill)
        try:
            await load.has_refused(2 * BUYERS)
            await _check_health(shop, ready=False)
        finally:
            cluster.start_pgbouncer()
        started = time.monotonic()
        back = await first_placed_after(load, started, within=BACK_SECONDS_MAX)
        await load.has_placed(50)
    measured.append(f"PgBouncer started again: orders after {back - started:.1f} s")
    for answer in load.refused:
        _check_words(answer)
    await check(load, shop, products)


@by("hosts", "pooler")
async def test_a_certificate_that_has_expired_is_noticed_by_the_next_connection(
    cluster: Cluster, shop: Deployment, way: str, measured: list[str]
) -> None:
    products = await shop.given_products(8, stock=1_000_000)
    primary = await asyncio.to_thread(lambda: cluster.primary)
    async with loaded(shop, products, buyers=BUYERS, pause=PAUSE) as load:
        await load.has_placed(50)
        await asyncio.to_thread(
            lambda: cluster.give_certificate(primary, expires_in=timedelta(hours=-1))
        )
        try:
            # The connections that are open go on.
            await load.has_placed(50)
            assert not load.refused
            await asyncio.to_thread(primary.execute, _END_SESSIONS)
            await load.has_refused(2 * BUYERS)
            await _check_health(shop, ready=False)
        finally:
            await asyncio.to_thread(cluster.give_certificate, primary)
        renewed = time.monotonic()
        back = await first_placed_after(load, renewed, within=BACK_SECONDS_MAX)
        await load.has_placed(50)
    measured.append(f"a certificate renewed, by {way}: orders after {back - renewed:.1f} s")
    for answer in load.refused:
        _check_words(answer)
    await check(load, shop, products)


_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_seller'"
)


@by("hosts")
async def test_hosts_whose_clocks_differ_by_seconds_serve_the_same_shop(
    cluster: Cluster, shop: Deployment, tmp_path: Path
) -> None:
    """Eight seconds, which is more than `SHOP_TOKEN_LEEWAY`."""
    products = await shop.given_products(8, stock=1_000_000)
    with _clocks(shop, tmp_path, ahead=4, behind=-4) as both:
        token = await _signed_in(both, "clara")
        for client in (both.client(server=0), both.client(server=1)):
            with closing(client):
                client.token = token
                assert (await client.get("/api/users/me/")).status == 200
                assert (await client.get("/health/ready")).status == 200
        async with loaded(both, products, buyers=BUYERS) as load:
            await load.has_placed(100)
        assert not load.refused
        await check(load, both, products)
        await _cancelled_by_the_other(both, products[0])
        both.check_logs()


@contextmanager
def _clocks(shop: Deployment, folder: Path, **seconds: int) -> Iterator[Deployment]:
    """The same shop, by servers whose hosts have another time: so many seconds off."""
    servers = []
    with ExitStack() as stack:
        for name, offset in seconds.items():
            clock = folder / f"clock-{name}"
            clock.mkdir()
            (clock / "sitecustomize.py").write_text(_CLOCK.format(offset=offset))
            settings = {"PYTHONPATH": str(clock)}
            server = ShopServer(folder / name, shop.database.url, settings=settings)
            stack.callback(server.close)
            server.start()
            servers.append(server)
        yield replace(shop, servers=servers)


# Python runs it first of all. Between them these are the clocks that the shop looks at.
_CLOCK = """
import time
from datetime import datetime, timedelta

from shop.adapters import system

_time, _time_ns, _utc_now = time.time, time.time_ns, system.utc_now
time.time = lambda: _time() + {offset}
time.time_ns = lambda: _time_ns() + {offset} * 1_000_000_000
system.utc_now = lambda: _utc_now() + timedelta(seconds={offset})
"""


async def _cancelled_by_the_other(shop: Deployment, product: int) -> None:
    """An order that the server placed whose clock is ahead, by the one whose clock is behind."""
    with closing(shop.client(server=0)) as ahead, closing(shop.client(server=1)) as behind:
        placed = await ahead.post("/api/orders/", basket((product, 1)))
        assert placed.status == 201
        cancelled = await behind.post(order_path(placed.body["id"], "cancel"))
        assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
        of_ahead, of_behind = [
            datetime.fromisoformat(body["created"])
            for body in (
                placed.body,
                (await behind.post("/api/orders/", basket((product, 1)))).body,
            )
        ]
        assert of_ahead - of_behind > timedelta(seconds=7), "their clocks were the same"


async def _signed_in(shop: Deployment, username: str) -> str:
    """An access token, from the first server."""
    command = f"create-user {username} --password-stdin"
    await asyncio.to_thread(run_command, command, shop.database.url)
    with shop.clients(1) as [client]:
        client.token = ""
        body = {"username": username, "password": "correct horse battery"}
        answer = await client.post("/api/token/", body)
    assert answer.status == 200, answer
    return str(answer.body["access"])


def _check_words(answer: Answer) -> None:
    """Who may have been served is told to look before they repeat it, others when to come again."""
    assert answer.status == 503
    if answer.code == "outcome_unknown":
        assert "repeat" in answer.body["detail"]
        assert "retry-after" not in answer.headers
    else:
        assert answer.code in ("database_unavailable", "overloaded"), answer
        assert int(answer.headers["retry-after"]) >= 1


async def _check_health(shop: Deployment, *, ready: bool) -> None:
    with shop.clients(2) as clients:
        for client in clients:
            answer = await client.get("/health/ready")
            assert answer.status == (200 if ready else 503), answer
            assert (await client.get("/health/live")).status == 200
