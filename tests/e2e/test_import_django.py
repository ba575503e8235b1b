"""Moving in a shop that the real Django made, by the command, as an operator does."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from shop.adapters.sql import tables
from tests.concurrency.servers import environment, shop_command
from tests.databases import Lender
from tests.e2e.conftest import Start
from tests.old_shops import django_shop
from tests.postgresql import PostgresServer, unused_name
from tests.stores import Store, sql_store

SECONDS_MAX = 120
ROWS: dict[str, Any] = {
    "users": [
        {"username": "anna", "password": "the password of anna", "email": "anna@example.com"},
        {"username": "bert", "password": "the password of bert", "hasher": "scrypt"},
        {
            "username": "staff",
            "password": "the password of staff",
            "is_staff": True,
            "hasher": "argon2",
        },
        {"username": "lost", "password": "whatever", "hasher": "md5"},
    ],
    "products": [
        {"name": "Teapot", "price": "12.00", "stock": 10},
        {"name": "Cup", "price": "3.50", "stock": -1},
    ],
    "orders": [
        {"code": "ABCDEFGH1234", "user_id": 1, "items": [[1, 2], [2, 1]]},
        {"code": "ABCDEFGH1235", "user_id": 2, "items": [[1, 1]]},
    ],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database for Django."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.sqlite3'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgresql")
        name = unused_name("django")
        yield server.create_database(name).replace("+asyncpg", "")
        server.drop_database(name)


@pytest.fixture
def new_url(old_url: str, request: pytest.FixtureRequest) -> str:
    """Of a migrated database of the same kind."""
    kind = "sqlite" if old_url.startswith("sqlite") else "postgresql"
    url: str = request.getfixturevalue(f"{kind}_url")
    return url


@pytest.fixture
def another_url(
    old_url: str, request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path
) -> Iterator[str]:
    """Of one more."""
    if old_url.startswith("sqlite"):
        copy = shutil.copy(migrated_sqlite, tmp_path / "another.sqlite3")
        yield f"sqlite+aiosqlite:///{copy}"
    else:
        lender: Lender = request.getfixturevalue("lender")
        with lender.lend() as url:
            yield url


def import_django(old_url: str, new_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shop_command("import-django", old_url, *options),
        env=environment(new_url),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )


def verify(new_url: str) -> None:
    done = subprocess.run(
        shop_command("stock", "verify"), env=environment(new_url), timeout=SECONDS_MAX
    )
    assert done.returncode == 0


def sign_in(client: httpx.Client, username: str) -> dict[str, str]:
    """The headers of somebody with the password they had before."""
    response = client.post(
        "/api/token/", json={"username": username, "password": f"the password of {username}"}
    )
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access']}"}


@pytest.mark.parametrize(
    "old_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.long)], indirect=True
)
def test_a_shop_moves_in_and_its_clients_go_on(
    old_url: str, new_url: str, start: Start, tmp_path: Path
) -> None:
    django_shop(old_url, **ROWS)
    report = tmp_path / "report.jsonl"
    report.touch(0o644)
    done = import_django(old_url, new_url, "--report", str(report))
    assert done.returncode == 0, done.stderr
    assert "user 1: a column has no place here (email): left out." in done.stdout
    assert "user 4: the password hash is none" in done.stdout
    assert "product 2: the stock is below zero" in done.stdout
    assert report.stat().st_mode & 0o777 == 0o600
    told = [json.loads(line) for line in report.read_text().splitlines()]
    assert {(line["kind"], line["id"], line["value"]) for line in told} == {
        ("user", 1, "anna@example.com"),
        ("user", 4, "md5"),
        ("product", 2, "-1"),
    }
    verify(new_url)

    with start(new_url).client() as client:
        anna, bert, staff = (sign_in(client, name) for name in ("anna", "bert", "staff"))
        page = client.get("/api/products/", headers=anna).json()
        assert [(p["id"], p["name"], p["price"], p["stock"]) for p in page["results"]] == [
            (1, "Teapot", "12.00", 10),
            (2, "Cup", "3.50", 0),
        ]
        order = client.get("/api/orders/1/", headers=anna)
        assert order.status_code == 200
        assert (order.json()["code"], order.json()["status"]) == ("ABCDEFGH1234", "delivered")
        assert client.get("/api/orders/1/", headers=staff).json() == order.json()
        assert client.get("/api/orders/1/", headers=bert).status_code == 404
        assert client.get("/api/orders/2/", headers=bert).status_code == 200

        # The second pass, before the clients are sent here.
        django_shop(
            old_url,
            users=[{"username": "carla", "password": "the password of carla"}],
            orders=[{"code": "ABCDEFGH1236", "user_id": 5, "items": [[1, 4]]}],
            update=[{"model": "products.Product", "id": 1, "stock": 6}],
            delete=[{"model": "orders.Order", "id": 2}],
        )
        done = import_django(old_url, new_url)
        # Somebody has to decide about the one that was deleted; all else is done.
        assert done.returncode == 1
        assert "order 2: not there any more: left as it is here." in done.stdout
        assert "1 thing differs there and here" in " ".join(done.stderr.split())
        rows = [line.split("\t") for line in done.stdout.splitlines()[:5]]
        assert [row[2:] for row in rows] == [
            ["new", "changed"],
            ["1", "0"],
            ["0", "0"],
            ["0", "1"],
            ["1", "0"],
        ]
        carla = sign_in(client, "carla")
        assert client.get("/api/orders/3/", headers=carla).json()["code"] == "ABCDEFGH1236"
        assert client.get("/api/products/1/", headers=carla).json()["stock"] == 6
    verify(new_url)


@pytest.mark.parametrize("old_url", ["sqlite"], indirect=True)
def test_a_report_to_what_is_no_plain_file_leaves_it_as_it_is(
    old_url: str, new_url: str, tmp_path: Path
) -> None:
    """Of /dev/null nobody else could make use any more."""
    django_shop(old_url, **ROWS)
    pipe = tmp_path / "report"
    os.mkfifo(pipe, 0o644)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as read:
        mode = pipe.stat().st_mode
        done = import_django(old_url, new_url, "--dry-run", "--report", str(pipe))
        assert done.returncode == 0, done.stderr
        assert pipe.stat().st_mode == mode
        assert json.loads(read.readline())["kind"] == "user"

    done = import_django(old_url, new_url, "--dry-run", "--report", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full cannot be written: No space left on device." in " ".join(
        done.stderr.replace("│", " ").split()
    )


# --- killed ---

MANY = {"users": 300, "products": 200, "orders": 5_000}
KILLS = (3, 30)


@pytest.fixture
def many(old_url: str) -> str:
    django_shop(old_url, large=MANY)
    return old_url


@pytest.mark.parametrize(
    "old_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
async def test_killed_at_any_moment_and_run_again_it_comes_to_the_same(
    many: str, new_url: str, another_url: str, effort: Callable[[int, int], int]
) -> None:
    lines = run_until(many, new_url, lines=1_000, delay=0)
    assert lines >= 8, "it says how far it is"
    async with sql_store(new_url) as store:
        whole = await what_was_moved(store)
    assert len(whole["orders"]) == MANY["orders"]
    dice = random.Random()  # noqa: S311 - moments, no secrets
    async with sql_store(another_url) as store:
        for _ in range(effort(*KILLS)):
            run_until(many, another_url, lines=dice.randint(0, lines - 1), delay=dice.random() / 5)
            # As when somebody has waited for some seconds.
            await store.let_leases_expire()
        done = import_django(many, another_url)
        assert done.returncode == 0, done.stderr
        assert await what_was_moved(store) == whole
    verify(another_url)


def run_until(old_url: str, new_url: str, *, lines: int, delay: float) -> int:
    """Run the command, and kill it so many seconds after that many lines of progress.

    How many lines there were; a run that has fewer is not killed.
    """
    running = subprocess.Popen(
        shop_command("import-django", old_url),
        env=environment(new_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    told = 0
    while told < lines and running.stderr.readline():
        told += 1
    if told == lines:
        time.sleep(delay)
        os.killpg(running.pid, signal.SIGKILL)
    running.stderr.read()
    running.stderr.close()
    code = running.wait(timeout=SECONDS_MAX)
    assert code in (0, -signal.SIGKILL)
    return told


def test_who_interrupts_it_is_told_what_is_in_and_how_to_go_on(many: str, new_url: str) -> None:
    running = subprocess.Popen(
        shop_command("import-django", many),
        env=environment(new_url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stderr is not None
        while not re.fullmatch(r"\d+ of 5000 orders\n", running.stderr.readline()):
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=SECONDS_MAX)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 1
    assert "Traceback" not in said
    told = re.search(r"Interrupted: 300 users, 200 products and ([1-4],000) orders came in", said)
    assert told is not None, said
    assert "Run the same command again: it goes on from there." in said
    again = import_django(many, new_url)
    assert again.returncode == 0, again.stderr
    assert re.search(r"^orders\t5000\t[1-4]000\t0$", again.stdout, re.MULTILINE)
    verify(new_url)


# When something was moved, and the number of a row, are of the run that did it.
_OF_THE_RUN = {"stock_movements": ("id", "at"), "order_events": ("id", "at")}
_MOVED = (
    tables.users,
    tables.products,
    tables.stock,
    tables.orders,
    tables.order_lines,
    tables.order_events,
    tables.stock_movements,
    tables.moved_users,
    tables.moved_products,
)


async def what_was_moved(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Movements and events as they follow each other."""
    async with store.sql.read.connect() as connection:
        moved = {}
        for table in _MOVED:
            left_out = _OF_THE_RUN.get(table.name, ())
            columns = [column for column in table.columns if column.name not in left_out]
            rows = await connection.execute(select(*columns).order_by(*table.primary_key))
            moved[table.name] = [tuple(row) for row in rows]
        return moved


@pytest.mark.long
def test_a_shop_of_some_thousands_moves_in(old_url: str, new_url: str) -> None:
    many = {"users": 5_000, "products": 4_000, "orders": 20_000}
    django_shop(old_url, large=many)
    done = import_django(old_url, new_url)
    assert done.returncode == 0, done.stderr
    for stage, number in many.items():
        assert re.search(rf"^{stage}\t{number}\t{number}\t0$", done.stdout, re.MULTILINE)
    verify(new_url)
    again = import_django(old_url, new_url)
    for stage, number in many.items():
        assert re.search(rf"^{stage}\t{number}\t0\t0$", again.stdout, re.MULTILINE)
