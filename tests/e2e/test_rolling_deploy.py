"""The servers of the last release are replaced by new ones, and nobody who orders notices."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shop.domain.users import Caller, Role
from tests.concurrency.deployment import Database, Deployment, basket
from tests.concurrency.load import has_answered, ordering
from tests.concurrency.servers import ShopServer, command_of, environment
from tests.concurrency.wire import Client
from tests.haproxy import PROGRAM, running_haproxy
from tests.postgresql import PostgresServer, unused_name

ROOT = Path(__file__).parents[2]
LAST_RELEASE = Path(__file__).with_name("last_release.txt").read_text().strip()
PASSWORD = "a password of its own"
PLENTY = 1_000_000
COMMAND_SECONDS_MAX = 120.0


@pytest.fixture(scope="module")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its packages."""
    folder = tmp_path_factory.mktemp("last-release")
    if _git("rev-parse", "--is-shallow-repository") != b"false\n":
        pytest.skip("The last release is not here: git fetch --unshallow, in a clone.")
    archive = _git("archive", LAST_RELEASE, "src")
    assert archive is not None, f"tests/e2e/last_release.txt names no commit: {LAST_RELEASE}"
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    source = folder / "src"
    where = "import shop, sys; sys.exit(not shop.__file__.startswith(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": str(source)}
    subprocess.run([sys.executable, "-c", where, source], env=environment, check=True)
    return source


def _git(*words: str) -> bytes | None:
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True)
    return done.stdout if done.returncode == 0 else None


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, postgresql: PostgresServer, tmp_path: Path
) -> Database:
    """With nothing in it."""
    if request.param == "sqlite":
        return Database(url=f"sqlite+aiosqlite:///{tmp_path}/shop.sqlite3")
    return Database(url=postgresql.create_database(unused_name("rolling")), server=postgresql)


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason="HAProxy is not installed: apt install haproxy")
async def test_replacing_the_last_release_loses_no_request(
    database: Database, last_release: Path, tmp_path: Path
) -> None:
    run(database, tmp_path, "migrate", source=last_release)
    with serving(database, tmp_path, last_release) as servers:
        deployment = await signed_up(database, servers, last_release, tmp_path)
        first, second = servers
        product = await deployment.given_product(stock=PLENTY)
        with running_haproxy([server.port for server in servers]) as port:
            async with ordering(deployment, port, product, clients=16) as answered:
                for server in servers:
                    await has_answered(answered, server, 50)
                await asyncio.to_thread(run, database, tmp_path, "migrate")
                await is_ready(first, second)
                for server, source in (
                    (first, None),
                    (second, None),
                    # And back again, which the notes of a release promise as well.
                    (first, last_release),
                ):
                    assert await asyncio.to_thread(server.stop) == 0
                    server.set_program(source)
                    await asyncio.to_thread(server.start)
                    await is_ready(first, second)
                    # One of each release serves now, or both are new.
                    for each in servers:
                        await has_answered(answered, each, 50)
        assert {status for status, _ in answered} == {201}
        books = await deployment.books([product])
        assert len(books.orders) == len(answered)
        assert books.on_hand[product] == PLENTY - len(answered)
        await deployment.verify_stock()
        await each_understands_what_the_other_wrote(deployment, product)
        deployment.check_logs()


async def each_understands_what_the_other_wrote(deployment: Deployment, product: int) -> None:
    """A list, an order and a change of it, written by one server and read by the other."""
    for writes, reads in ((0, 1), (1, 0)):
        writer, reader = deployment.client(server=writes), deployment.client(server=reads)
        staff = deployment.client(deployment.staff, server=reads)
        placed = await writer.post("/api/orders/", basket((product, 2)))
        assert placed.status == 201
        path = f"/api/orders/{placed.body['id']}/"
        read = (await reader.get(path)).body
        # A newer one may say more.
        assert all(read[name] == placed.body[name] for name in ("status", "total", "items"))
        assert (await reader.get("/api/orders/")).body["results"][0]["id"] == placed.body["id"]
        changed = await staff.post(f"{path}cancel/", {})
        assert changed.status == 200, changed
        assert (await writer.get(path)).body["status"] == "cancelled"
        for client in (writer, reader, staff):
            client.close()


async def is_ready(*servers: ShopServer) -> None:
    for server in servers:
        client = Client(port=server.port)
        answer = await client.get("/health/ready")
        client.close()
        assert answer.status == 200, (
            f"{answer.body}: do not stop the last release's servers; see docs/develop.md, "
            "Expand and contract"
        )


@contextmanager
def serving(database: Database, folder: Path, source: Path) -> Iterator[list[ShopServer]]:
    """Two servers of that release."""
    servers = [
        ShopServer(folder / f"server-{n}", database.url, settings={"SHOP_DRAIN_SECONDS": "2"})
        for n in (1, 2)
    ]
    try:
        for server in servers:
            server.set_program(source)
            server.start()
        yield servers
    finally:
        for server in servers:
            server.close()


async def signed_up(
    database: Database, servers: list[ShopServer], source: Path, folder: Path
) -> Deployment:
    """A customer and a member of staff of that release, who have signed in there."""
    customer, staff = Caller(user_id=1, role=Role.CUSTOMER), Caller(user_id=2, role=Role.STAFF)
    tokens = {}
    for caller, name, *options in ((customer, "buyer"), (staff, "keeper", "--staff")):
        words = ["create-user", name, "--password-stdin", *options]
        await asyncio.to_thread(run, database, folder, *words, source=source)
        client = Client(port=servers[0].port)
        answer = await client.post("/api/token/", {"username": name, "password": PASSWORD})
        client.close()
        assert answer.status == 200, answer
        tokens[caller] = answer.body["access"]
    return Deployment(
        database=database,
        servers=servers,
        customers=[customer],
        staff=staff,
        folder=folder,
        tokens=tokens,
    )


def run(database: Database, folder: Path, *words: str, source: Path | None = None) -> None:
    """A `shop` command of that release, or of the one under test."""
    program = {"PYTHONPATH": str(source)} if source else {}
    subprocess.run(
        command_of(source, *words),
        cwd=folder,
        env=environment(database.url, program),
        input=f"{PASSWORD}\n".encode(),
        check=True,
        capture_output=True,
        timeout=COMMAND_SECONDS_MAX,
    )
