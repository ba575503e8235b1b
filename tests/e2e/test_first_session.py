"""A stranger's first session, on the embedded database and on PostgreSQL."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.concurrency.servers import environment, shop_command
from tests.e2e.conftest import Start
from tests.e2e.shops import NO_SETTINGS, Shop, order_of, sign_in, stock_of

README = Path(__file__).parents[2] / "README.md"
FIRST_ANSWER_SECONDS_MAX = 10.0
"""Generous, for machines that are busy with other tests; a quiet one needs less than 2."""


def test_an_order_deducts_stock_and_outlives_a_restart_of_a_few_seconds(
    standing_shop: Shop,
) -> None:
    shop = standing_shop
    with shop.signed_in() as client:
        orders = client.get("/api/orders/").json()["count"]
        before = stock_of(client, 1)
        response = client.post("/api/orders/", json=order_of(1, 2))
        assert response.status_code == 201, response.text
        order = response.json()
        assert stock_of(client, 1) == before - 2
        refused = client.post("/api/orders/", json=order_of(1, before))
        assert refused.status_code == 409
        assert refused.json()["lines"] == [
            {"product_id": 1, "requested": before, "available": before - 2}
        ]
    assert shop.server.stop() == 0
    started = time.perf_counter()
    shop.server.start()
    with shop.client() as again:
        assert again.get("/api/health/").status_code == 200
        seconds = time.perf_counter() - started
        # Also the key is kept, so that a restart signs nobody out.
        again.headers["Authorization"] = client.headers["Authorization"]
        assert again.get(f"/api/orders/{order['id']}/").json() == order
        assert again.get("/api/orders/").json()["count"] == orders + 1
        assert stock_of(again, 1) == before - 2
    sys.stdout.write(f"first answer after {seconds:.2f} s (pytest -rP shows this)\n")
    assert seconds < FIRST_ANSWER_SECONDS_MAX, f"the first answer took {seconds:.1f} s"


def test_every_worker_knows_who_is_signed_in(standing_shop: Shop) -> None:
    with standing_shop.client() as client:
        headers = {"Authorization": f"Bearer {sign_in(client)['access']}"}
    for _ in range(10):
        with standing_shop.client() as fresh:
            assert fresh.get("/api/products/", headers=headers).status_code == 200


def test_the_docs_and_health_are_served(standing_shop: Shop) -> None:
    with standing_shop.client() as client:
        for path in ("/docs/", "/openapi.json", "/api/health/", "/health/live", "/health/ready"):
            assert client.get(path).status_code == 200
        assert client.get("/docs/assets/swagger-ui-bundle.js").status_code == 200


def test_the_session_of_the_readme_works_when_pasted_and_so_do_the_commands_after_it(
    start: Start,
) -> None:
    shop = start()
    paste_the_session(shop)
    make_a_user_and_products_of_ones_own(shop)


def paste_the_session(shop: Shop) -> None:
    session = re.search(r"<!-- tested: session -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert session is not None, "README.md marks its first session with <!-- tested: session -->"
    script = session[1]
    assert "http://127.0.0.1:8000" in script
    with shop.signed_in() as client:
        before = stock_of(client, 1)
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", shop.address[7:])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert '"code":"out_of_stock"' in ran.stdout
        assert '"code":"invalid_token"' not in ran.stdout
        assert f'"stock":{before - 2}' in ran.stdout
        assert stock_of(client, 1) == before - 2
        assert client.get("/api/orders/").json()["count"] == 1


def make_a_user_and_products_of_ones_own(shop: Shop) -> None:
    """The commands that the README goes on with, while the server runs."""

    def run(*arguments: str, stdin: str = "") -> str:
        return subprocess.run(
            shop_command(*arguments),
            cwd=shop.folder,
            env=environment("", NO_SETTINGS),
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run("create-user", "ann", "--password-stdin", stdin="correct horse\n")
    run("add-products", "--count", "20", "--seed", "9")
    with shop.client() as client:
        response = client.post("/api/token/", json={"username": "ann", "password": "correct horse"})
        client.headers["Authorization"] = f"Bearer {response.json()['access']}"
        assert client.get("/api/products/").json()["count"] == 70
        placed = client.post("/api/orders/", json=order_of(60, 1))
        assert placed.status_code == 201
    assert placed.json()["code"] in run("orders", "list")
    assert "agree" in run("stock", "verify")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_run_takes_a_port() -> None:
    ran = subprocess.run(
        ["make", "--dry-run", "run", "PORT=8001"],
        cwd=README.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "shop demo --port 8001\n" in ran.stdout
    assert "shop serve --port 8001\n" in ran.stdout
