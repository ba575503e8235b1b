"""The clients of the tutorial, run as they stand there, against a shop whose answers get lost."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from shop.entrypoints.settings import EMBEDDED_DATABASE_URL
from tests.concurrency.servers import ShopServer
from tests.documents.flaky import Fault, Flaky
from tests.documents.pages import TUTORIALS, named
from tests.e2e.shops import NO_SETTINGS, Shop, stock_of

TUTORIAL = TUTORIALS / "a-client-that-retries.md"
PROGRAMS = {"client.py": sys.executable, "client.mjs": "node", "client.sh": "bash"}
UNKNOWN = "it is not known whether it was done"


def missing(name: str) -> str:
    """Why this machine cannot run a client; empty if it can."""
    needed = {"client.mjs": ["node"], "client.sh": ["bash", "curl", "openssl"]}.get(name, [])
    absent = [program for program in needed if shutil.which(program) is None]
    return f"there is no {' and no '.join(absent)}" if absent else ""


@dataclass(frozen=True)
class Client:
    name: str
    folder: Path

    def run(self, flaky: Flaky, *arguments: int, deadline: int = 40, seconds: int = 10) -> "Ran":
        [text] = named(TUTORIAL, self.name)
        for name, shown, now in (("DEADLINE", 40, deadline), ("TRY", 10, seconds)):
            for written in (f"{name}_SECONDS = {shown}.0", f"{name}_SECONDS={shown}"):
                text = text.replace(written, written.replace(str(shown), str(now)))
        assert f"DEADLINE_SECONDS = {deadline}.0" in text or f"DEADLINE_SECONDS={deadline}" in text
        path = self.folder / self.name
        path.write_text(text)
        with flaky.listening() as address:
            begun = time.monotonic()
            ran = subprocess.run(
                [PROGRAMS[self.name], str(path), *map(str, arguments)],
                env=os.environ | {"SHOP": address},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        return Ran(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - begun)


@dataclass(frozen=True)
class Ran:
    code: int
    said: str
    complained: str
    seconds: float


@pytest.fixture(params=PROGRAMS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    if reason := missing(request.param):
        pytest.skip(reason)
    return Client(request.param, tmp_path)


@pytest.fixture(scope="module")
def shop(embedded_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One for all: each test looks at what its own orders changed."""
    folder = tmp_path_factory.mktemp("clients") / "shop"
    server = ShopServer(folder, EMBEDDED_DATABASE_URL, settings=NO_SETTINGS)
    shutil.copytree(embedded_demo, folder, dirs_exist_ok=True)
    try:
        server.start()
        yield Shop(server=server, folder=folder)
    finally:
        server.close()


def counted(shop: Shop) -> tuple[int, int]:
    """Orders of the demo customer, and the stock of product 1."""
    with shop.signed_in() as http:
        return http.get("/api/orders/").json()["count"], stock_of(http, 1)


def test_an_order_is_placed_once_whatever_becomes_of_the_answers(
    client: Client, shop: Shop
) -> None:
    orders, stock = counted(shop)
    faults = [Fault.UNAVAILABLE, Fault.LOST, Fault.UNKNOWN, Fault.TOO_MANY, Fault.BAD_GATEWAY]
    flaky = Flaky(shop.server.port, faults=[*faults])
    ran = client.run(flaky, 1, 2)
    assert ran.code == 0, ran.complained
    order = json.loads(ran.said)
    assert (order["status"], order["items"][0]["quantity"]) == ("placed", 2)
    assert counted(shop) == (orders + 1, stock - 2)
    assert [asked.fault for asked in flaky.asked] == [*faults, None]
    assert len({asked.name for asked in flaky.asked}) == 1
    for one, following in pairwise(flaky.asked):
        if one.fault in (Fault.UNAVAILABLE, Fault.TOO_MANY):
            assert following.at - one.at >= 1


def test_a_server_that_is_silent_is_asked_again(client: Client, shop: Shop) -> None:
    orders, stock = counted(shop)
    flaky = Flaky(shop.server.port, faults=[Fault.SILENT])
    ran = client.run(flaky, 1, 1, seconds=2)
    assert ran.code == 0, ran.complained
    assert counted(shop) == (orders + 1, stock - 1)


def test_at_the_deadline_it_says_that_nobody_knows(client: Client, shop: Shop) -> None:
    orders, stock = counted(shop)
    flaky = Flaky(shop.server.port, faults=[], always=Fault.LOST)
    # curl has this time for the order alone, and looks at it before a wait, which doubles.
    deadline, longest = (3, 12) if client.name == "client.sh" else (8, 8)
    ran = client.run(flaky, 1, 1, deadline=deadline)
    assert ran.code == 1
    assert UNKNOWN in ran.complained
    assert len(flaky.asked) > 2, ran
    assert flaky.asked[-1].at - flaky.asked[0].at < longest
    # So that it can be asked for later.
    assert flaky.asked[0].name.strip("/").rpartition("/")[2] in ran.complained
    # Nobody knew, and it was placed, once.
    assert counted(shop) == (orders + 1, stock - 1)


def test_nobody_waits_beyond_the_deadline(client: Client, shop: Shop) -> None:
    flaky = Flaky(shop.server.port, faults=[Fault.MUCH_LATER])
    ran = client.run(flaky, 1, 1)
    assert ran.code == 1
    assert len(flaky.asked) == 1
    assert ran.seconds < 30
    said = UNKNOWN if client.name == "client.sh" else "nothing was done"
    assert said in ran.complained


def test_what_may_have_been_done_stays_unknown_whatever_comes_after(
    client: Client, shop: Shop
) -> None:
    flaky = Flaky(shop.server.port, faults=[Fault.UNKNOWN, Fault.MUCH_LATER])
    ran = client.run(flaky, 1, 1)
    assert (ran.code, len(flaky.asked)) == (1, 2)
    assert UNKNOWN in ran.complained


def test_what_is_refused_is_not_repeated(client: Client, shop: Shop) -> None:
    before = counted(shop)
    flaky = Flaky(shop.server.port, faults=[])
    ran = client.run(flaky, 1, 100_000)
    assert ran.code == 1
    assert "out_of_stock" in ran.complained
    assert len(flaky.asked) == 1
    assert counted(shop) == before


@pytest.mark.parametrize("client", ["client.py", "client.mjs"], indirect=True)
def test_it_signs_in_again_once(client: Client, shop: Shop) -> None:
    orders, stock = counted(shop)
    flaky = Flaky(shop.server.port, faults=[Fault.EXPIRED])
    ran = client.run(flaky, 1, 1)
    assert ran.code == 0, ran.complained
    assert counted(shop) == (orders + 1, stock - 1)
    always = Flaky(shop.server.port, faults=[], always=Fault.EXPIRED)
    ran = client.run(always, 1, 1)
    assert (ran.code, len(always.asked)) == (1, 2)


def test_the_page_says_how_to_run_them() -> None:
    [lines] = named(TUTORIAL, "run a client")
    shown = [line.partition("#")[0].split() for line in lines.splitlines()]
    assert [words[1] for words in shown] == list(PROGRAMS)
    assert [words[0] for words in shown] == ["python3", "node", "bash"]
