"""PostgreSQL goes away and comes back: clients are told in time, and nobody restarts anything."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from tests.concurrency.deployment import Database, Deployment, deployed, order_path
from tests.concurrency.load import loaded
from tests.postgresql import TEMPLATE, PostgresServer, unused_name

DEADLINE = 2.0
SLACK = 1.5
"""What a busy machine may add to a deadline."""
RECOVERY_SECONDS_MAX = 10.0


@pytest.fixture(scope="module")
def impatient(
    durable_postgresql: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Two workers that wait for nothing longer than the deadline."""
    url = durable_postgresql.create_database(unused_name("outage"), template=TEMPLATE)
    with deployed(
        tmp_path_factory.mktemp("outage"),
        Database(url=url, server=durable_postgresql),
        workers=(2,),
        intake_deadline=str(DEADLINE),
        database_connect_timeout="1",
        database_pool_timeout="1",
        database_statement_timeout="1",
        database_lock_timeout="1",
    ) as deployment:
        yield deployment


@pytest.mark.parametrize("outage", ["stopped", "crashed", "frozen"])
async def test_while_postgresql_is_away_clients_are_told_so_and_then_all_goes_on(
    impatient: Deployment,
    durable_postgresql: PostgresServer,
    effort: Callable[[int, int], int],
    outage: str,
) -> None:
    products = await impatient.given_products(8, stock=1_000_000)
    [server] = impatient.servers
    pids = server.pid, server.worker_pids
    for _ in range(effort(1, 10)):
        # Leaves open connections behind, which the outage will find idle.
        await _check_health(impatient, ready=True)
        async with loaded(impatient, products) as load:
            await load.has_placed(100)
            begin, end = _OUTAGES[outage]
            await asyncio.to_thread(begin, durable_postgresql)
            try:
                await load.has_refused(32)
                await _check_health(impatient, ready=False)
                await _check_reading_is_refused(impatient, products[0])
            finally:
                await asyncio.to_thread(end, durable_postgresql)
            async with asyncio.timeout(RECOVERY_SECONDS_MAX):
                await load.has_placed(100)
            await _check_health(impatient, ready=True)
        assert (server.pid, server.worker_pids) == pids
        assert not load.cut_off
        assert {answer.status for answer in load.refused} == {503}
        for answer in load.refused:
            # Who may have been served is not told to come again.
            unknown = answer.code == "outcome_unknown"
            assert unknown or int(answer.headers["retry-after"]) >= 1
            assert not (unknown and "retry-after" in answer.headers)
        await _check_not_placed(impatient, load.not_done)
        assert max(answer.seconds for answer in load.refused) < DEADLINE + SLACK
        await load.check(impatient, products)
    await impatient.verify_stock()


async def test_connections_that_idled_through_an_outage_fail_nobody(
    impatient: Deployment, durable_postgresql: PostgresServer
) -> None:
    await _check_health(impatient, ready=True)
    await asyncio.to_thread(durable_postgresql.stop)
    await asyncio.to_thread(durable_postgresql.start)
    await _check_health(impatient, ready=True)


def _crash(server: PostgresServer) -> None:
    """As a power cut, but for what the machine has in memory: no server process finishes."""
    os.kill(_postmaster(server), signal.SIGQUIT)
    server.stop()


def _freeze(server: PostgresServer) -> None:
    """As a network that swallows everything: connections stay open, and nobody answers."""
    _signal_all(server, signal.SIGSTOP)


def _thaw(server: PostgresServer) -> None:
    _signal_all(server, signal.SIGCONT)


_OUTAGES: dict[str, tuple[Callable[[PostgresServer], None], Callable[[PostgresServer], None]]] = {
    "stopped": (PostgresServer.stop, PostgresServer.start),
    "crashed": (_crash, PostgresServer.start),
    "frozen": (_freeze, _thaw),
}


def _postmaster(server: PostgresServer) -> int:
    return int((server.root / "data" / "postmaster.pid").read_text().split()[0])


def _signal_all(server: PostgresServer, number: signal.Signals) -> None:
    postmaster = _postmaster(server)
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    for pid in (postmaster, *map(int, children)):
        # A backend may be gone since it was listed.
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def _check_health(deployment: Deployment, *, ready: bool) -> None:
    with deployment.clients(8) as clients:
        for answer in await asyncio.gather(*(client.get("/health/live") for client in clients)):
            assert answer.status == 200
            assert answer.seconds < SLACK
        for answer in await asyncio.gather(*(client.get("/health/ready") for client in clients)):
            assert answer.status == (200 if ready else 503), answer
            assert ready or int(answer.headers["retry-after"]) >= 1


async def _check_not_placed(deployment: Deployment, order_ids: Sequence[UUID]) -> None:
    """What was refused without a doubt was not done."""
    with deployment.clients(1) as [client]:
        for order_id in order_ids:
            assert (await client.get(order_path(order_id))).status == 404


async def _check_reading_is_refused(deployment: Deployment, product: int) -> None:
    with deployment.clients(1) as [client]:
        answer = await client.get(f"/api/products/{product}/")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert answer.seconds < DEADLINE + SLACK
