"""Unexpected failures of a running shop, as Sentry receives them."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

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
        "[masked] is not among the defined enum values" in event["exception"]["values"][-1]["value"]
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
