"""The Compose stack, from `make docker/compose/up` to an order that both databases have.

Played over podman's socket. PostgreSQL, PgBouncer, HAProxy and Prometheus are Debian's; Grafana is
only checked against the schema of Compose files, in `tests/harness/test_compose.py`.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.images.conftest import PROD
from tests.images.engine import ROOT, Engine

PROFILES = "scale monitoring"
_ADDRESSES = {
    "PUBLISH_ADDRESS": "127.0.0.1:18600",
    "BALANCED_ADDRESS": "127.0.0.1:18601",
    "PROMETHEUS_ADDRESS": "127.0.0.1:18602",
}


@dataclass
class Stack:
    """A copy of the project, in which `make` commands Compose."""

    folder: Path
    environment: dict[str, str]

    def make(self, *arguments: str) -> str:
        # `-o`: the image is there already, from the same Dockerfile.
        return self._run("make", "--no-print-directory", "-o", "docker/compose/build", *arguments)

    def compose(self, *arguments: str) -> str:
        profiles = [f"--profile={name}" for name in PROFILES.split()]
        return self._run(*self.environment["COMPOSE"].split(), *profiles, *arguments)

    def query(self, service: str, sql: str) -> str:
        command = ("psql", "--username=shop", "--tuples-only", "--no-align", f"--command={sql}")
        return self.compose("exec", "-T", service, *command, "shop").strip()

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def stack(
    images: Engine, services: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    if shutil.which("docker-compose") is None:
        pytest.skip("No stack was played: docker-compose is not installed.")
    folder = tmp_path_factory.mktemp("shop")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.split("\0"):
        if name and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "deploy" / "monitoring").mkdir(exist_ok=True)
    override = Path(__file__).parent / "compose.override.yml"
    # Compose takes the names that an engine without a registry has.
    for name in ("shop:local", "docker.io/library/shop:local"):
        images.podman("tag", PROD, name)
    with images.serving() as socket:
        made = Stack(
            folder,
            {
                **os.environ,
                **socket,
                **_ADDRESSES,
                **dict.fromkeys(
                    ["POSTGRES_IMAGE", "PGBOUNCER_IMAGE", "HAPROXY_IMAGE", "PROMETHEUS_IMAGE"],
                    services,
                ),
                "COMPOSE": f"docker-compose -f docker-compose.yml -f {override}",
            },
        )
        made.make(".env")
        yield made
        made.make("docker/compose/down")
        assert images.podman("ps", "--quiet") == ""


@dataclass
class Client:
    address: str

    def call(
        self, method: str, path: str, body: object = None, access: str = ""
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        if access:
            headers["Authorization"] = f"Bearer {access}"
        content = None if body is None else json.dumps(body)
        with closing(http.client.HTTPConnection(self.address, timeout=30)) as connection:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def sign_in(self, username: str, password: str) -> str:
        credentials = {"username": username, "password": password}
        status, tokens = self.call("POST", "/api/token/", credentials)
        assert status == 200, tokens
        return str(tokens["access"])

    def order_one(self, access: str) -> str:
        status, page = self.call("GET", "/api/products/?in_stock=true", access=access)
        assert status == 200
        product = page["results"][0]["id"]
        lines = {"items": [{"product_id": product, "quantity": 1}]}
        status, order = self.call("POST", "/api/orders/", lines, access)
        assert status == 201, order
        return str(order["id"])


def wait_for(what: str, seen: Any, seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < give_up_at, f"{what} did not come in {seconds} seconds"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def passwords(stack: Stack) -> dict[str, str]:
    """What `up` prints, the first time and never again."""
    shown = stack.make("docker/compose/up")
    found = dict(re.findall(r"^  (customer|staff) +([0-9a-f]{24})$", shown, re.MULTILINE))
    assert set(found) == {"customer", "staff"}, shown
    assert "Added 50 products" in shown
    assert f"http://{_ADDRESSES['PUBLISH_ADDRESS']}/docs/" in shown
    return found


def test_up_gives_a_shop_that_takes_an_order(passwords: dict[str, str]) -> None:
    client = Client(_ADDRESSES["PUBLISH_ADDRESS"])
    order = client.order_one(client.sign_in("customer", passwords["customer"]))
    staff = client.sign_in("staff", passwords["staff"])
    status, paid = client.call("POST", f"/api/orders/{order}/pay/", {}, staff)
    assert (status, paid["status"]) == (200, "paid")


def test_up_again_shows_no_password_and_adds_nothing(
    stack: Stack, passwords: dict[str, str]
) -> None:
    shown = stack.make("docker/compose/up")
    assert "password" not in shown.lower()
    assert "Added" not in shown
    for password in passwords.values():
        assert password not in shown
        assert password not in stack.compose("logs", "--no-color")


def test_no_demo_password_fits(passwords: dict[str, str]) -> None:
    client = Client(_ADDRESSES["PUBLISH_ADDRESS"])
    for name, password in (("demo", "demo-password"), ("admin", "admin-password")):
        status, _ = client.call("POST", "/api/token/", {"username": name, "password": password})
        assert status == 401


def test_services_have_no_rights_and_write_nowhere(
    images: Engine, passwords: dict[str, str]
) -> None:
    for container in images.podman("ps", "--format={{.Names}}").split():
        [state] = json.loads(images.podman("inspect", container))
        if "web" in container:
            assert state["HostConfig"]["ReadonlyRootfs"]
            assert state["EffectiveCaps"] in (None, [])
            assert state["Config"]["User"] == "65534:65534"


def test_scaled_out_no_order_is_lost_while_a_server_stops(
    stack: Stack, passwords: dict[str, str]
) -> None:
    shown = stack.make("docker/compose/up", f"PROFILES={PROFILES.split()[0]}")
    assert _ADDRESSES["BALANCED_ADDRESS"] in shown
    client = Client(_ADDRESSES["BALANCED_ADDRESS"])

    def serves() -> bool:
        try:
            return client.call("GET", "/health/ready")[0] == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    wait_for("an answer through HAProxy", serves)
    access = client.sign_in("customer", passwords["customer"])
    stopping = subprocess.Popen(
        [*stack.environment["COMPOSE"].split(), "--profile=scale", "stop", "web-1"],
        cwd=stack.folder,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    orders = [client.order_one(access)]
    while stopping.poll() is None:
        orders.append(client.order_one(access))
    orders.append(client.order_one(access))
    assert stopping.returncode == 0

    ids = ",".join(orders)
    count = f"SELECT count(*) FROM orders WHERE id = ANY('{{{ids}}}')"  # noqa: S608
    assert stack.query("db", count) == str(len(orders))
    wait_for("the orders on the replica", lambda: stack.query("replica", count) == str(len(orders)))
    assert stack.query("replica", "SELECT pg_is_in_recovery()") == "t"
    streaming = "SELECT application_name || ' ' || state FROM pg_stat_replication"
    assert stack.query("db", streaming) == "replica streaming"
    # The two servers behind HAProxy came through PgBouncer, which is one client beside `web`.
    clients = "SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE usename = 'shop'"
    assert stack.query("db", clients) == "2"
    stack.compose("up", "--detach", "web-1")


def test_a_replica_that_lost_its_data_copies_it_anew(
    stack: Stack, passwords: dict[str, str]
) -> None:
    stack.compose("rm", "--stop", "--force", "-v", "replica")
    stack.compose("up", "--detach", "replica")
    state = "SELECT state FROM pg_stat_replication WHERE application_name = 'replica'"
    wait_for("the replica", lambda: stack.query("db", state) == "streaming")


def test_prometheus_sees_every_server(stack: Stack, passwords: dict[str, str]) -> None:
    stack.compose("up", "--detach", "prometheus", "web-1")
    client = Client(_ADDRESSES["PROMETHEUS_ADDRESS"])

    def up() -> list[str]:
        try:
            _, answer = client.call("GET", "/api/v1/query?query=up%7Bjob%3D%22shop%22%7D")
        except (OSError, ValueError, http.client.HTTPException):
            return []
        return [sample["value"][1] for sample in answer["data"]["result"]]

    wait_for("three servers that answer", lambda: up() == ["1", "1", "1"], seconds=120)


def test_migrations_can_be_run_by_hand(stack: Stack, passwords: dict[str, str]) -> None:
    stack.make("docker/compose/migrate")


def test_a_stack_that_was_stopped_comes_back_with_its_data(
    stack: Stack, passwords: dict[str, str]
) -> None:
    count = stack.query("db", "SELECT count(*) FROM orders")
    stack.make("docker/compose/down")
    shown = stack.make("docker/compose/up")
    assert "password" not in shown.lower()
    assert stack.query("db", "SELECT count(*) FROM orders") == count
