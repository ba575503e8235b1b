"""The page on Litestream, litestream.md: killed with the shop under load, restored, and sound."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.documents.pages import DOCS, named
from tests.documents.shells import run
from tests.e2e.conftest import Start
from tests.e2e.shops import Shop, order_of

PAGE = DOCS / "how-to" / "litestream.md"
COPIED_SECONDS_MAX = 60.0
"""A bound on what a test may take: a copy is made every second."""


def block(name: str) -> str:
    [text] = named(PAGE, name)
    return text


@contextmanager
def replicating(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    (folder / "litestream.yml").write_text(block("litestream.yml"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (folder / "litestream.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", block("replicate")],
            cwd=folder,
            env={"PATH": path},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)


def buy(client: httpx.Client) -> str:
    response = client.post("/api/orders/", json=order_of(2, 1))
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


@contextmanager
def buying(client: httpx.Client) -> Iterator[list[str]]:
    """Order after order, until the shop is gone; those that were answered, the first first."""
    answered: list[str] = []

    def work() -> None:
        with suppress(httpx.TransportError):
            while True:
                answered.append(buy(client))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield answered
    finally:
        thread.join(timeout=60)


def given_stock(shop: Shop) -> None:
    with shop.client() as staff:
        body = {"username": "admin", "password": "admin-password"}
        token = staff.post("/api/token/", json=body).json()["access"]
        change = {"delta": 100_000, "reason": "for the drill"}
        header = {"Authorization": f"Bearer {token}"}
        assert staff.post("/api/products/2/stock/", json=change, headers=header).is_success


def copied(folder: Path) -> str:
    """What a restored copy says of its orders, when its stock was verified."""
    verify = "SHOP_DATABASE_URL=sqlite+aiosqlite:///copy.sqlite3 shop stock verify\n"
    script = block("check the copies")
    assert verify in script
    listing = verify.replace("stock verify", "orders list --limit 1000 --json")
    return run(script.replace(verify, verify + listing), folder)


def wait_until_copied(folder: Path, order: str) -> str:
    """The orders that are copied then."""
    give_up_at = time.monotonic() + COPIED_SECONDS_MAX
    orders = ""
    while order not in orders:
        assert time.monotonic() < give_up_at, (folder / "litestream.log").read_text()
        with suppress(AssertionError):  # there may be no copy yet
            orders = copied(folder)
    return orders


def test_what_was_answered_a_while_ago_outlives_the_disk_and_what_is_lost_is_the_end(
    start: Start,
) -> None:
    shop = start()
    given_stock(shop)
    with replicating(shop.folder) as litestream, shop.signed_in() as client:
        early = [buy(client) for _ in range(3)]
        wait_until_copied(shop.folder, early[-1])
        assert run(block("how far"), shop.folder).strip()
        with buying(client) as answered:
            while len(answered) < 100:
                time.sleep(0.01)
            # Both at once, in the middle of it, and then the disk.
            litestream.send_signal(signal.SIGKILL)
            shop.server.kill()
        (shop.folder / "var" / "shop.sqlite3").write_bytes(b"lost")
        assert "agree" in run(block("restore"), shop.folder)
        assert (shop.folder / "var" / "shop.sqlite3").stat().st_mode & 0o077 == 0
        shop.server.start()
        there = [client.get(f"/api/orders/{each}/").status_code == 200 for each in answered]
        assert all(client.get(f"/api/orders/{each}/").status_code == 200 for each in early)
        # What is lost was answered after all that is left.
        assert there == sorted(there, reverse=True)
        buy(client)
    assert "agree" in run("shop stock verify", shop.folder)


@pytest.mark.long
def test_killed_alone_it_goes_on_where_it_was_and_the_shop_notices_nothing(start: Start) -> None:
    shop = start()
    given_stock(shop)
    with shop.signed_in() as client:
        placed = []
        for _ in range(2):
            with replicating(shop.folder):
                placed += [buy(client) for _ in range(5)]
                time.sleep(1)
            # Nobody copies these now.
            placed += [buy(client) for _ in range(5)]
        with replicating(shop.folder):
            placed.append(buy(client))
            orders = wait_until_copied(shop.folder, placed[-1])
        assert all(each in orders for each in placed)


def test_the_copies_are_for_their_owner_alone(start: Start) -> None:
    shop = start()
    with replicating(shop.folder):
        give_up_at = time.monotonic() + COPIED_SECONDS_MAX
        while not list((shop.folder / "copies").rglob("*.ltx")):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
    for path in (shop.folder / "copies").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
