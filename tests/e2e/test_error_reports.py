"""Unexpected failures of a running shop, as Sentry receives them."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.concurrency.servers import environment, port_of, reserved, shop_command
from tests.e2e.conftest import Start
from tests.e2e.shops import Shop, order_of
from tests.receivers import Sentry, sentry

STOP_SECONDS_MAX = 15.0
PLANTED = "planted-status"


@pytest.fixture
def seen() -> Iterator[Sentry]:
    with sentry() as seen:
        yield seen


def spoil(folder: Path) -> None:
    """Leave orders in a status that there is not, as no part of the shop could."""
    connection = sqlite3.connect(folder / "var/shop.sqlite3", timeout=30)
    with connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE orders SET status = ?", (f"token={PLANTED}",))
    connection.close()


def fail(shop: Shop, client: httpx.Client, **headers: str) -> httpx.Response:
    placed = client.post("/api/orders/", json=order_of(1, 1)).json()
    spoil(shop.folder)
    return client.get(f"/api/orders/{placed['id']}/", headers=headers)


def test_an_unexpected_failure_is_reported_once_with_what_it_takes_to_find_it(
    start: Start, seen: Sentry
) -> None:
    shop = start(SHOP_SENTRY_DSN=seen.dsn, SHOP_TRACES_ENDPOINT="http://127.0.0.1:1")
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with shop.signed_in() as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
        response = fail(shop, client, traceparent=traceparent)
        assert response.status_code == 500
        for _ in range(20):
            assert client.get(response.url).status_code == 500
        # What is refused, and what is expected to fail, is nobody's failure.
        assert client.get("/api/products/999/").status_code == 404
        user_id = client.get("/api/users/me/").json()["id"]
    [event] = seen.wait_for()
    assert shop.server.stop() == 0

    [event] = seen.events
    assert [kind for kind, _ in seen.items] == ["event"]
    assert event["tags"]["request_id"] == response.headers["x-request-id"]
    assert event["tags"]["route"] == "GET /api/orders/{order_id}"
    assert event["tags"]["trace_id"] == response.json()["trace_id"] == traceparent.split("-")[1]
    assert event["user"] == {"id": str(user_id)}
    assert event["environment"] == "development"
    assert event["release"].startswith("shop@")
    assert (
        "[hidden] is not among the defined enum values" in event["exception"]["values"][-1]["value"]
    )
    everything = b"".join(seen.received.bodies).decode()
    assert token not in everything
    assert PLANTED not in everything
    assert Sentry.KEY not in everything + shop.server.log


def test_sentry_that_is_away_is_no_ones_trouble(start: Start) -> None:
    shop = start(SHOP_SENTRY_DSN=f"http://{Sentry.KEY}@127.0.0.1:1/1")
    with shop.signed_in() as client:
        assert fail(shop, client).status_code == 500
        started = time.monotonic()
        for _ in range(100):
            assert client.get("/api/products/1/").status_code == 200
            assert client.get("/api/health").status_code == 200
        assert time.monotonic() - started < 10
    started = time.monotonic()
    assert shop.server.stop() == 0
    assert time.monotonic() - started < STOP_SECONDS_MAX
    assert Sentry.KEY not in shop.server.log
    assert "urllib3" not in shop.server.log


# Runs in each process that is started with it: a worker that cannot serve.
SITE = """
import multiprocessing
import threading

import shop.entrypoints.http.app as app
from shop.adapters.background import Background

multiprocessing.set_start_method({method!r}, force=True)

def fail(*_):
    thread = threading.Thread(target=lambda: 1 / 0, name="counting")
    thread.start()
    thread.join()
    raise ValueError("at https://shop.example/?password=" + "-".join(["planted", "status"]))

{place} = fail
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("place", ["app.build_app", "Background.start"])
def test_what_ends_a_worker_is_a_line_and_is_reported(
    sqlite_url: str, tmp_path: Path, seen: Sentry, method: str, place: str
) -> None:
    """Before it serves, or as it begins to; whether it inherits what was set up or not."""
    (tmp_path / "sitecustomize.py").write_text(SITE.format(method=method, place=place))
    settings = {
        "SHOP_SENTRY_DSN": seen.dsn,
        "SHOP_LOG_FORMAT": "json",
        "PYTHONPATH": str(tmp_path),
    }
    reservation = reserved()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            shop_command("serve", "--port", str(port_of(reservation))),
            cwd=tmp_path,
            env=environment(sqlite_url, settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        event = seen.received.wait_until(
            lambda: next((one for one in seen.events if one["level"] == "fatal"), None)
        )
        until_logged(tmp_path / "log", "Unexpected exit")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        reservation.close()
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    failed = [line for line in lines if line["event"] == "process.failed"]
    assert failed
    assert failed[0]["level"] == "critical"
    assert "in fail\n" in failed[0]["exception"]
    assert "ValueError: at https://shop.example/?password=[hidden]" in failed[0]["exception"]
    assert [line["event"] for line in lines if "exception" in line][:2] == [
        "thread.failed",
        "process.failed",
    ], "and nothing else"
    assert PLANTED not in text
    assert PLANTED not in b"".join(seen.received.bodies).decode()


def until_logged(path: Path, text: str) -> None:
    give_up_at = time.monotonic() + 30
    while text not in path.read_text():
        assert time.monotonic() < give_up_at, path.read_text()
        time.sleep(0.02)
