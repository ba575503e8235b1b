"""Metrics for who may see them: at a port of their own, or with a token, on a real server."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.concurrency.servers import FAILURES, ShopServer, environment, shop_command

TOKEN = "a-token-of-the-scraper"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Start = Callable[..., ShopServer]


@pytest.fixture
def start(tmp_path: Path, sqlite_url: str) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(*, workers: int = 1, settings: Mapping[str, str]) -> ShopServer:
            server = ShopServer(
                tmp_path / "shop", sqlite_url, workers=workers, settings=dict(settings)
            )
            stack.callback(server.close)
            server.start()
            return server

        yield start


@pytest.fixture
def own_port() -> Iterator[int]:
    """Bound but never listening: nobody else is given it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def ask(
    port: int, *, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def sound(server: ShopServer) -> bool:
    return server.stop() == 0 and not [sign for sign in FAILURES if sign in server.log]


def test_without_a_setting_anybody_may_see_them(start: Start) -> None:
    server = start(settings={})
    status, headers, text = ask(server.port)
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "shop_build_info" in text
    _, headers, text = ask(server.port, Accept=OPEN_METRICS)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert sound(server)


def test_with_a_token_set_it_must_be_shown(start: Start) -> None:
    server = start(settings={"SHOP_METRICS_TOKEN": TOKEN})
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
        status, headers, text = ask(server.port, **wrong)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "shop_" not in text
        assert TOKEN not in text
    status, _, text = ask(server.port, Authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert "shop_build_info" in text
    assert sound(server)
    assert TOKEN not in server.log


def test_at_a_port_of_their_own_they_are_nowhere_else(start: Start, own_port: int) -> None:
    server = start(settings={"SHOP_METRICS_ADDRESS": f"127.0.0.1:{own_port}"})
    status, _, text = ask(server.port)
    assert (status, "shop_build_info" in text) == (404, False)
    status, headers, text = ask(own_port)
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert 'http_route="(none)"' in text
    assert ask(own_port, Accept=OPEN_METRICS)[2].endswith("# EOF\n")
    assert ask(own_port, method="HEAD")[0::2] == (200, "")
    assert ask(own_port, path="/")[0] == 404
    assert ask(own_port, path="/api/products/")[0] == 404
    assert ask(own_port, method="POST")[0] == 405
    # Nobody else serves the shop there.
    assert sound(server)
    with pytest.raises(ConnectionRefusedError):
        ask(own_port)


def test_the_token_is_asked_for_at_that_port_as_well(start: Start, own_port: int) -> None:
    server = start(
        settings={
            "SHOP_METRICS_ADDRESS": f"127.0.0.1:{own_port}",
            "SHOP_METRICS_TOKEN": TOKEN,
        }
    )
    assert ask(own_port)[0] == 401
    assert ask(own_port, authorization=f"Bearer {TOKEN}")[0] == 200
    assert sound(server)
    assert TOKEN not in server.log


def test_that_port_answers_for_all_workers_while_they_are_replaced(
    start: Start, own_port: int
) -> None:
    server = start(workers=2, settings={"SHOP_METRICS_ADDRESS": f"127.0.0.1:{own_port}"})
    for _ in range(20):
        assert ask(server.port, path="/api/health/")[0] == 200
    counted = 'http_route="/api/health"} 20.0'
    assert [counted in ask(own_port)[2] for _ in range(10)] == [True] * 10
    before = server.worker_pids
    os.kill(min(before), signal.SIGKILL)
    give_up_at = time.monotonic() + 30
    while server.log.count("Started worker-") < 3:
        assert time.monotonic() < give_up_at
        # The other one answers meanwhile; what the dead one was asked is lost.
        time.sleep(0.05)
    os.kill(max(before), signal.SIGKILL)
    while server.log.count("Started worker-") < 4:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert [counted in ask(own_port)[2] for _ in range(10)] == [True] * 10
    server.stop()


def test_peers_that_say_nothing_or_too_much_hold_up_no_scraper(start: Start, own_port: int) -> None:
    server = start(settings={"SHOP_METRICS_ADDRESS": f"127.0.0.1:{own_port}"})
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(("127.0.0.1", own_port)))
        assert ask(own_port)[0] == 200
        much = stack.enter_context(socket.create_connection(("127.0.0.1", own_port), timeout=10))
        much.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 40_000)
        with much.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"431"
        silent = stack.enter_context(socket.create_connection(("127.0.0.1", own_port), timeout=10))
        started = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - started < 9
        assert ask(own_port)[0] == 200
    assert sound(server)


def refused(sqlite_url: str, address: str, folder: Path) -> str:
    """What it says, and does not start."""
    done = subprocess.run(
        shop_command("serve", "--port", "1"),
        cwd=folder,
        env=environment(sqlite_url, {"SHOP_METRICS_ADDRESS": address}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    # In a box, over several lines.
    return " ".join(done.stderr.replace("│", " ").split())


def test_an_address_that_cannot_be_stops_the_start_with_a_sentence(
    sqlite_url: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        said = refused(sqlite_url, taken, tmp_path)
        assert f"SHOP_METRICS_ADDRESS is wrong: Cannot listen on {taken}" in said
    for no_port in ("127.0.0.1:99999", "127.0.0.1:1"):
        said = refused(sqlite_url, no_port, tmp_path)
        assert "SHOP_METRICS_ADDRESS is wrong: it needs a port of its own" in said
