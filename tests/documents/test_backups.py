"""The drill of the page on backups: back up under load, lose the database, restore, go on."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.concurrency.servers import ShopServer
from tests.documents.pages import DOCS, named
from tests.documents.shells import run
from tests.e2e.conftest import Start, make_demo
from tests.e2e.shops import Shop, order_of
from tests.postgresql import TEMPLATE, PostgresServer, _bin_folders, unused_name

PAGE = DOCS / "how-to" / "back-up.md"


def block(name: str) -> str:
    [text] = named(PAGE, name)
    return text


class Buyer:
    """Places order after order, beside whatever goes on."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.placed: list[str] = []
        self._stop = threading.Event()

    def buy(self) -> str:
        response = self._client.post("/api/orders/", json=order_of(2, 1))
        assert response.status_code == 201, response.text
        self.placed.append(response.json()["id"])
        return self.placed[-1]

    @contextmanager
    def buying(self) -> Iterator[None]:
        def work() -> None:
            while not self._stop.is_set():
                self.buy()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def is_there(client: httpx.Client, order_id: str) -> bool:
    return client.get(f"/api/orders/{order_id}/").status_code == 200


def placed_around(
    shop: Shop, client: httpx.Client, back_up: str, *programs: Path, **variables: str
) -> list[str]:
    """The orders before the backup, the first of them; and the one after it, the last."""
    staff_stock = {"delta": 5_000, "reason": "for the drill"}
    with shop.client() as staff:
        body = {"username": "admin", "password": "admin-password"}
        token = staff.post("/api/token/", json=body).json()["access"]
        header = {"Authorization": f"Bearer {token}"}
        assert staff.post("/api/products/2/stock/", json=staff_stock, headers=header).is_success
    buyer = Buyer(client)
    before = [buyer.buy() for _ in range(3)]
    with buyer.buying():
        run(back_up, shop.folder, *programs, **variables)
    return [*before, buyer.buy()]


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="there is no sqlite3")
def test_a_backup_of_sqlite_is_restored(start: Start) -> None:
    shop = start()
    with shop.signed_in() as client:
        *before, after = placed_around(shop, client, block("back up sqlite"))
        run(block("check sqlite"), shop.folder)
        # The host crashed: what was written last is still beside the database.
        shop.server.kill()
        assert (shop.folder / "var" / "shop.sqlite3-wal").stat().st_size
        (shop.folder / "var" / "shop.sqlite3").write_bytes(b"lost")
        assert "agree" in run(block("restore sqlite"), shop.folder)
        shop.server.start()
        assert all(is_there(client, order) for order in before)
        assert not is_there(client, after)
        assert client.post("/api/orders/", json=order_of(2, 1)).status_code == 201
    assert "agree" in run("shop stock verify", shop.folder)


def test_python_backs_sqlite_up_as_well(start: Start) -> None:
    shop = start()
    with shop.signed_in() as client:
        placed_around(shop, client, block("back up sqlite with python"))
    copy = "sqlite+aiosqlite:///backups/shop-python.sqlite3"
    assert "agree" in run("shop stock verify", shop.folder, SHOP_DATABASE_URL=copy)
    assert (shop.folder / "backups" / "shop-python.sqlite3").stat().st_mode & 0o077 == 0


PROGRAMS = next((f for f in _bin_folders() if (f / "pg_dump").exists()), None)
"""Where PostgreSQL's are, of the version of the server of the tests."""


@pytest.mark.skipif(PROGRAMS is None, reason="there is no pg_dump")
def test_a_backup_of_postgresql_is_restored(
    migrated_postgresql: PostgresServer, tmp_path: Path
) -> None:
    assert PROGRAMS
    server = migrated_postgresql
    lost, restored = unused_name("lost"), unused_name("restored")
    address = f"postgresql://shop@/%s?host={server.root}"
    variables = {
        "DATABASE": address % lost,
        "MAINTENANCE": address % "postgres",
        "RESTORED": address % restored,
    }
    folder = tmp_path / "shop"
    url = server.create_database(lost, template=TEMPLATE)
    first = ShopServer(folder, url, workers=2)
    second = ShopServer(tmp_path / "again", server.url(restored), workers=2)
    try:
        make_demo(folder, url)
        first.start()
        shop = Shop(server=first, folder=folder)
        with shop.signed_in() as client:
            back_up = block("back up postgresql")
            *before, after = placed_around(shop, client, back_up, PROGRAMS, **variables)
        assert first.stop() == 0
        server.drop_database(lost)
        restore = block("restore postgresql").replace("shop_restored", restored)
        run(restore, folder, PROGRAMS, **variables)
        assert "agree" in run(block("check postgresql"), folder, **variables)
        second.start()
        with Shop(server=second, folder=folder).signed_in() as client:
            assert all(is_there(client, order) for order in before)
            assert not is_there(client, after)
            assert client.post("/api/orders/", json=order_of(2, 1)).status_code == 201
        assert second.stop() == 0
    finally:
        first.close()
        second.close()
        for name in (lost, restored):
            if server.has_database(name):
                server.drop_database(name)
