"""What is switched off is not even imported: it costs time at each start, and memory for good."""

import subprocess
import sys

import pytest

# Litestar looks by itself whether there is an OpenTelemetry; that much is not ours to spare.
COSTLY = {"opentelemetry.sdk", "opentelemetry.exporter", "requests", "sentry_sdk"}

COMMAND = "import shop.entrypoints.cli.main"
WORKER = """
import shop.entrypoints.workers
from shop.entrypoints.container import build_container
from shop.entrypoints.http.app import build_app
from shop.entrypoints.settings import load_settings

build_app(build_container(load_settings({"SHOP_DATABASE_URL": "memory://", **SETTINGS})))
"""
# A command of whoever has them switched on for the server.
OPENED = """
import shop.entrypoints.cli.main
from shop.entrypoints.container import build_container
from shop.entrypoints.settings import load_settings

container = build_container(load_settings({
    "SHOP_DATABASE_URL": "memory://",
    "SHOP_TRACES_ENDPOINT": "http://127.0.0.1:1",
    "SHOP_SENTRY_DSN": "http://key@127.0.0.1:1/1",
}))
container.place_order(), container.list_orders()
"""
TRACED = '"SHOP_TRACES_ENDPOINT": "http://127.0.0.1:1"'


def imported(program: str) -> set[str]:
    """Modules that are there when the program ends."""
    program += "\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "program",
    [COMMAND, WORKER.replace("SETTINGS", "{}"), OPENED],
    ids=["command", "worker", "command of who has them"],
)
def test_who_does_not_need_them_does_not_import_them(program: str) -> None:
    assert not imported(program) & COSTLY


def test_who_traces_does() -> None:
    assert imported(WORKER.replace("SETTINGS", f"{{{TRACED}}}")) & COSTLY == COSTLY - {"sentry_sdk"}
