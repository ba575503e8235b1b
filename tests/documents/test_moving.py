"""The page on moving: a shop that serves goes from SQLite to PostgreSQL, and its clients go on."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.concurrency.servers import ShopServer
from tests.documents.pages import DOCS, named
from tests.documents.shells import run
from tests.documents.test_backups import Buyer
from tests.e2e.conftest import Start
from tests.e2e.shops import NO_SETTINGS, Shop, order_of, sign_in
from tests.postgresql import PostgresServer, unused_name

PAGE = DOCS / "how-to" / "move.md"
SECRETS = {name: value for name, value in NO_SETTINGS.items() if name != "SHOP_DATABASE_URL"}
# In links, whichever port a server has.
HOST = {"Host": "shop.example"}


def block(name: str) -> str:
    [text] = named(PAGE, name)
    return text


@contextmanager
def a_database(server: PostgresServer) -> Iterator[str]:
    """An empty one, not migrated."""
    name = unused_name("moved")
    try:
        yield server.create_database(name)
    finally:
        server.drop_database(name)


@contextmanager
def buying(buyer: Buyer) -> Iterator[None]:
    """A list that is longer is not counted, and each database has its own estimate."""
    stop = threading.Event()

    def work() -> None:
        while len(buyer.placed) < 200 and not stop.is_set():
            buyer.buy()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def read(client: httpx.Client, path: str) -> tuple[int, bytes, str | None, str | None]:
    answer = client.get(path)
    return (
        answer.status_code,
        answer.content,
        answer.headers.get("ETag"),
        answer.headers.get("Link"),
    )


def everything(
    customer: httpx.Client, staff: httpx.Client, order: str
) -> dict[tuple[str, str], Any]:
    """A sample of what there is to read, by customer and by staff."""
    of_both = [
        "/api/products/1/",
        "/api/products/?page_size=7",
        "/api/products/?page_size=7&page=3",
        "/api/products/?ordering=-price&in_stock=true",
        "/api/products/?search=blanket&ordering=relevance",
        "/api/orders/",
        "/api/orders/?page_size=2",
        f"/api/orders/{order}/",
        f"/api/orders/{order}/history/",
        "/api/users/me/",
        "/api/products/1000000/",
    ]
    read_by: dict[tuple[str, str], Any] = {
        (who, path): read(client, path)
        for who, client in (("customer", customer), ("staff", staff))
        for path in of_both
    }
    for path in ("/api/products/2/movements/", "/api/products/1/movements/?page_size=1"):
        read_by["staff", path] = read(staff, path)
    read_by["customer", "sessions"] = read(customer, "/api/users/me/sessions/")
    # And where the links of a page lead.
    following = customer.get("/api/products/?page_size=7").json()["next"]
    read_by["customer", "next"] = read(customer, following.removeprefix("http://shop.example"))
    return read_by


def change(client: httpx.Client, path: str, body: Any = None) -> tuple[int, bytes]:
    """Made once for its key."""
    answer = client.post(path, json=body, headers={"Idempotency-Key": f"moving {path}"})
    return answer.status_code, answer.content


@pytest.mark.long
def test_a_shop_moves_and_its_clients_go_on(
    start: Start, migrated_postgresql: PostgresServer, tmp_path: Path
) -> None:
    shop = start()
    again = tmp_path / "again"
    with a_database(migrated_postgresql) as rehearsed, a_database(migrated_postgresql) as moved:
        second = ShopServer(again, moved, workers=2, settings=SECRETS)
        try:
            with shop.client() as customer, shop.client() as staff:
                tokens = sign_in(customer)
                admin = {"username": "admin", "password": "admin-password"}
                access = staff.post("/api/token/", json=admin).json()["access"]
                customer.headers.update(HOST | {"Authorization": f"Bearer {tokens['access']}"})
                staff.headers.update(HOST | {"Authorization": f"Bearer {access}"})
                more = {"delta": 5_000, "reason": "for the rehearsal"}
                assert staff.post("/api/products/2/stock/", json=more).is_success
                buyer = Buyer(customer)
                with buying(buyer):
                    run(block("rehearse"), shop.folder)
                rehearsal = block("import the rehearsal")
                said = run(rehearsal, shop.folder, PostgreSQL=rehearsed)
                assert "The ledger agrees with the stock and with all orders." in said
                order = buyer.placed[0]
                changes = [
                    ("/api/orders/", order_of(1, 2)),
                    (f"/api/orders/{order}/cancel/", {}),
                ]
                answers = [change(customer, *each) for each in changes]
                assert [status for status, _ in answers] == [201, 200], answers
                before = everything(customer, staff, order)
                assert {answer[0] for answer in before.values()} == {200, 404}
            assert shop.server.stop() == 0
            run(block("move"), shop.folder, PostgreSQL=moved)
            (again / "var").mkdir()
            shutil.copy(shop.folder / "var" / "secret_key", again / "var" / "secret_key")
            second.start()
            there = Shop(server=second, folder=again)
            with there.client() as other_customer, there.client() as other_staff:
                other_customer.headers.update(customer.headers)
                other_staff.headers.update(staff.headers)
                after = everything(other_customer, other_staff, order)
                for asked, answer in before.items():
                    assert after[asked] == answer, asked
                # What is repeated is not done again, and what is new comes after what was there.
                repeated = [change(other_customer, *each) for each in changes]
                assert [status for status, _ in repeated] == [200, 200]
                assert [content for _, content in repeated] == [content for _, content in answers]
                refreshed = other_customer.post(
                    "/api/token/refresh/", json={"refresh": tokens["refresh"]}
                )
                assert refreshed.status_code == 200, refreshed.text
                assert Buyer(other_customer).buy() not in buyer.placed
            assert second.stop() == 0
            assert "agree" in run("shop stock verify", again, SHOP_DATABASE_URL=moved)
            # And back, into a file.
            back = "sqlite+aiosqlite:///back.sqlite3"
            run("shop export back", again, SHOP_DATABASE_URL=moved)
            said = run("shop migrate && shop import back", again, SHOP_DATABASE_URL=back)
            assert "each table has the checksum of the export" in said
        finally:
            second.close()
