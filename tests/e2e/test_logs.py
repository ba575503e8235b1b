"""Log lines of real processes: one form for all, whoever logs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.concurrency.servers import ShopServer, environment, shop_command
from tests.e2e.shops import Shop, order_of

# Runs in each process that is started with it: things that go wrong in ways that no request can
# bring about.
SITE = """
import os, sys

if "serve" in sys.argv:
    import asyncio, threading, warnings
    from shop.domain.services.count_lists import CountLists
    from shop.domain.services.keep_catalogue import ListProducts
    from shop.adapters.background import BackgroundTimes

    async def fail(self, **_):
        warnings.warn("an old way", UserWarning)
        threading.Thread(target=lambda: 1 / 0, name="counting").start()
        asyncio.get_running_loop().call_soon(lambda: {}["in the loop"])
        raise ValueError("in a handler\\n2026-01-01 [info] forged")

    async def fail_in_background(self, **_):
        raise ValueError("in the background")

    ListProducts.__call__ = fail
    CountLists.__call__ = fail_in_background
    BackgroundTimes.__init__.__kwdefaults__["first"] = 0.05
"""
EVENTS = (
    "Starting granian",
    "Spawning worker-2",
    "Started worker-2",
    "request.failed",
    "UserWarning: an old way",
    "thread.failed",
    "loop.failed",
    "task.failed",
    "sign_in.succeeded",
    "request",
    "Shutting down granian",
)


@pytest.fixture(params=["json", "text"])
def log_format(request: pytest.FixtureRequest) -> str:
    form: str = request.param
    return form


@contextmanager
def troubled(folder: Path, url: str, **settings: str) -> Iterator[Shop]:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    server = ShopServer(
        folder / "shop",
        url,
        workers=2,
        settings={"PYTHONPATH": str(folder / "site"), "PYTHONWARNINGS": "always", **settings},
    )
    try:
        server.start()
        yield Shop(server=server, folder=folder / "shop")
    finally:
        server.close()


def until_logged(server: ShopServer, *what: str) -> None:
    give_up_at = time.monotonic() + 30
    while missing := [one for one in what if one not in server.log]:
        assert time.monotonic() < give_up_at, (missing, server.log)
        time.sleep(0.02)


def test_all_that_a_server_logs_has_one_form(
    sqlite_url: str, tmp_path: Path, log_format: str
) -> None:
    settings = {"SHOP_LOG_FORMAT": log_format, "SHOP_ACCESS_LOG": "true"}
    subprocess.run(shop_command("demo"), env=environment(sqlite_url), check=True, cwd=tmp_path,
                   capture_output=True)  # fmt: skip
    with troubled(tmp_path, sqlite_url, **settings) as shop:
        with shop.signed_in() as client:
            assert client.get("/api/products/").status_code == 500
        until_logged(shop.server, "task.failed", "thread.failed", "loop.failed")
        assert shop.server.stop() == 0
        log = shop.server.log
    lines = log.splitlines()
    for event in EVENTS:
        assert event in log
    if log_format == "json":
        shown: list[dict[str, Any]] = [json.loads(line) for line in lines]
        assert all({"time", "level", "logger", "event"} <= line.keys() for line in shown)
        for name, cause in {
            "request.failed": "in a handler",
            "thread.failed": "ZeroDivisionError",
            "loop.failed": "in the loop",
            "task.failed": "in the background",
        }.items():
            found = [line for line in shown if line["event"] == name]
            assert found
            assert all(cause in line["exception"] for line in found)
        [failed] = [line for line in shown if line["event"] == "request.failed"]
        [request] = [line for line in shown if line.get("status") == 500]
        assert failed["request_id"] == request["request_id"]
        assert failed["user_id"] == request["user_id"]
    else:
        welcome, *heads = [line for line in lines if not line.startswith("    ")]
        assert welcome.startswith("Shop on http")
        assert all(line[:2] == "20" and " [" in line for line in heads)
        assert "\x1b" not in log
        assert not [line for line in heads if line.startswith("2026-01-01 [info] forged")]


def test_an_operator_finds_which_request_was_slow_and_who_rode_with_it(
    embedded_shop: Shop,
) -> None:
    """As docs/operate.md says, but for `jq`, which is not everywhere."""
    shop = embedded_shop
    with shop.signed_in() as client:
        answer = client.post("/api/orders/", json=order_of(1, 1), headers={"X-Request-ID": "mine"})
        assert answer.status_code == 201
    until_logged(shop.server, '"mine"')
    lines = [json.loads(line) for line in shop.server.log.splitlines()]
    [slow] = [
        line for line in lines if line["event"] == "request" and line.get("request_id") == "mine"
    ]
    assert slow["level"] == "warning"
    assert slow["order_id"] == answer.json()["id"]
    batch = [line for line in lines if line.get("batch_id") == slow["batch_id"]]
    assert slow in batch


@pytest.fixture
def embedded_shop(sqlite_url: str, tmp_path: Path) -> Iterator[Shop]:
    """One that takes every request for slow."""
    settings = {"SHOP_LOG_FORMAT": "json", "SHOP_LOG_SLOW": "0.0000001"}
    subprocess.run(shop_command("demo"), env=environment(sqlite_url), check=True, cwd=tmp_path,
                   capture_output=True)  # fmt: skip
    server = ShopServer(tmp_path / "shop", sqlite_url, settings=settings)
    try:
        server.start()
        yield Shop(server=server, folder=tmp_path / "shop")
    finally:
        server.close()


@pytest.mark.parametrize("destination", ["full", "closed", "stuck"])
@pytest.mark.parametrize("workers", [1, 2])
def test_requests_are_answered_whatever_becomes_of_the_log(
    sqlite_url: str, tmp_path: Path, destination: str, workers: int
) -> None:
    port_holder = ShopServer(tmp_path / "shop", sqlite_url)
    reader, writer = os.pipe()
    if destination == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    if destination == "closed":
        os.close(reader)
    server = subprocess.Popen(
        shop_command("serve", "--port", str(port_holder.port), "--workers", str(workers)),
        cwd=tmp_path,
        env=environment(sqlite_url, {"SHOP_ACCESS_LOG": "true", "SHOP_LOG_FORMAT": "json"}),
        stdout=subprocess.DEVNULL,
        stderr=writer,
        start_new_session=True,
    )
    os.close(writer)
    try:
        give_up_at = time.monotonic() + 60
        while not port_holder.is_listening():
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port_holder.port}"
        with httpx.Client(base_url=address, timeout=10, trust_env=False) as client:
            for _ in range(1_000):
                # More than the pipe takes.
                assert client.get("/nowhere/" + "x" * 500).status_code == 404
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=30)
        if destination != "closed":
            os.close(reader)
        port_holder.close()


# --- commands ---


def command(
    *arguments: str, url: str, folder: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shop_command(*arguments), cwd=folder, env=environment(url, settings), check=False,
        capture_output=True, text=True, input="a password that is good\n",
    )  # fmt: skip


def test_in_production_what_operators_do_is_in_the_audit_trail(
    sqlite_url: str, tmp_path: Path
) -> None:
    production = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": "0123456789abcdef" * 4}
    done = command(
        "create-user", "ann", "--password-stdin", url=sqlite_url, folder=tmp_path, **production
    )
    assert done.returncode == 0, done.stderr
    assert "Created" in done.stdout
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["event"], line["audit"], line["role"]) == ("user.created", True, "customer")


def test_in_development_commands_say_what_they_do_and_nothing_else(
    sqlite_url: str, tmp_path: Path
) -> None:
    done = command("create-user", "ann", "--password-stdin", url=sqlite_url, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_that_breaks_says_so_in_a_line(sqlite_url: str, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from shop.domain.services import keep_users\n"
        "from shop.entrypoints.cli.main import run\n"
        "async def fail(self, **_):\n"
        "    raise ValueError('no luck')\n"
        "keep_users.CreateUser.__call__ = fail\n"
        "sys.argv = ['shop', 'demo']\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(sqlite_url, {"SHOP_LOG_FORMAT": "json"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["event"], line["level"]) == ("process.failed", "critical")
    assert "ValueError: no luck" in line["exception"]
