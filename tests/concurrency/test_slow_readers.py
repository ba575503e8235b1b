"""Peers that do not read their answers lose their connections, and nobody else loses anything."""

import asyncio
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from shop.entrypoints.slow_readers import STOPPING_SECONDS_MAX
from tests.concurrency.deployment import until
from tests.concurrency.servers import FAILURES, ShopServer
from tests.concurrency.wire import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who reads")

BUNDLE = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: shop\r\n\r\n"
SMALL = b"GET /openapi.json HTTP/1.1\r\nHost: shop\r\n\r\n"
SEND_SECONDS_MAX = 3.0
RATE_MIN = 20_000
SLACK = 5.0
"""For a busy machine, and for the second between two looks at the connections."""
BYTES_MAX = 600_000
"""What a peer that does not read may cost a worker."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopServer]:
    settings = {
        "SHOP_SEND_TIMEOUT": str(SEND_SECONDS_MAX),
        "SHOP_SEND_RATE_MIN": str(RATE_MIN),
    }
    server = ShopServer(tmp_path_factory.mktemp("slow") / "shop", "memory://", settings=settings)
    server.start()
    yield server
    server.close()
    assert not [failure for failure in FAILURES if failure in server.log]


@contextmanager
def peers(server: ShopServer, number: int, request: bytes) -> Iterator[Sequence[socket.socket]]:
    """Connections that have asked for much; their own kernel keeps little for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
    with ExitStack() as stack:
        peers = []
        for _ in range(number):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            peer.settimeout(30)
            peer.connect(("127.0.0.1", server.port))
            peer.sendall(request)
            peers.append(peer)
        yield peers


def connections(server: ShopServer) -> int:
    """What the worker has open."""
    [pid] = server.worker_pids
    return sum(path.is_socket() for path in list(Path(f"/proc/{pid}/fd").iterdir()))


def memory(server: ShopServer) -> int:
    [pid] = server.worker_pids
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("request_", [BUNDLE * 20, SMALL * 200], ids=["large", "small"])
async def test_peers_that_never_read_are_ended_and_cost_little(
    server: ShopServer, effort: Callable[[int, int], int], request_: bytes
) -> None:
    number = effort(64, 1_040)
    with closing(Client(port=server.port)) as client:
        assert (
            await client.get("/docs/assets/favicon-32x32.png".replace("png", "x"))
        ).status == 404
    before, memory_before = connections(server), memory(server)
    started = time.monotonic()
    with peers(server, number, request_):
        # More than 1,024 take every place of the worker, and the next ones wait for theirs.
        rounds = -(-number // 1_024)
        await until(lambda: connections(server) >= min(number, 1_000), within=SLACK)
        await asyncio.sleep(SEND_SECONDS_MAX / 2)
        assert memory(server) - memory_before < 50_000_000 + number * BYTES_MAX
        within = rounds * (SEND_SECONDS_MAX + SLACK) - (time.monotonic() - started)
        await until(lambda: connections(server) <= before, within=within)
        with closing(Client(port=server.port)) as client:
            assert (await client.get("/health/live")).status == 200
    assert "connections.ended" in server.log


async def test_who_reads_too_slowly_is_ended_and_who_reads_fast_enough_is_not(
    server: ShopServer,
) -> None:
    async def read(peer: socket.socket, rate: int, most: int) -> int:
        """How much came until the end, or until it was enough."""
        loop = asyncio.get_running_loop()
        peer.setblocking(False)
        received = 0
        while received < most:
            try:
                part = await loop.sock_recv(peer, rate // 10)
            except ConnectionError:
                break
            if not part:
                break
            received += len(part)
            await asyncio.sleep(0.1)
        return received

    enough = 4 * int(SEND_SECONDS_MAX) * RATE_MIN
    with peers(server, 2, BUNDLE) as (slow, fast):
        started = time.monotonic()
        slow_got, fast_got = await asyncio.gather(
            read(slow, RATE_MIN // 10, enough), read(fast, RATE_MIN * 5, enough)
        )
    assert fast_got >= enough
    assert slow_got < 2 * SEND_SECONDS_MAX * RATE_MIN
    assert time.monotonic() - started < 3 * SEND_SECONDS_MAX + SLACK


async def test_an_answer_comes_whole_to_who_reads(server: ShopServer) -> None:
    _, writer = streams = await asyncio.open_connection("127.0.0.1", server.port)
    with closing(writer):
        writer.write(BUNDLE * 3)
        for _ in range(3):
            head = await streams[0].readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await streams[0].readexactly(length)
            assert length > 1_000_000
            assert body.startswith(b"/*! For license")


async def test_a_stop_does_not_wait_for_peers_that_do_not_read(tmp_path: Path) -> None:
    server = ShopServer(tmp_path / "shop", "memory://")
    await asyncio.to_thread(server.start)
    try:
        with peers(server, 64, BUNDLE * 20):
            await until(lambda: connections(server) >= 64, within=SLACK)
            await asyncio.sleep(1.5)
            started = time.monotonic()
            assert await asyncio.to_thread(server.stop) == 0
            assert time.monotonic() - started < STOPPING_SECONDS_MAX + SLACK
        assert "Killing" not in server.log
    finally:
        server.close()
