"""Clients that are generated from the OpenAPI document: made without a warning, and they work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import Start
from tests.e2e.shops import Shop

TYPESCRIPT = Path(__file__).with_name("typescript")
GENERATOR = Path(sys.prefix) / "clients"
"""Where `make venv` puts it, with what it needs: beside Litestar it would change Litestar."""

PYTHON_CLIENT = """
import sys
from shop_client import AuthenticatedClient, Client
from shop_client.api.orders import amend_order, place_order, place_order_with_id
from shop_client.api.products import change_stock, list_products
from shop_client.api.tokens import sign_in
from shop_client.models import (
    Credentials, NewItem, NewOrder, OrderStatus, Problem, StockCount, StockDifference,
)

address, order_id = sys.argv[1:]
credentials = Credentials(username="admin", password="admin-password")
tokens = sign_in.sync(client=Client(base_url=address), body=credentials)
client = AuthenticatedClient(base_url=address, token=tokens.access)

[product] = list_products.sync(client=client, in_stock=True, page_size=1).results
def wanted(quantity):
    return NewOrder(items=[NewItem(product_id=product.id, quantity=quantity)])

placed = place_order_with_id.sync(order_id, client=client, body=wanted(2))
assert placed.status is OrderStatus.PLACED, placed
amended = amend_order.sync(order_id, client=client, body=wanted(3))
assert [line.quantity for line in amended.items] == [3], amended

difference = StockDifference(delta=5, reason="restock")
added = change_stock.sync(product.id, client=client, body=difference)
assert added.stock == product.stock - 3 + 5, added
count = StockCount(quantity=40, expected=added.stock, reason="correction")
counted = change_stock.sync(product.id, client=client, body=count)
assert counted.stock == 40, counted

refused = place_order.sync(client=client, body=NewOrder(items=[]))
assert isinstance(refused, Problem), refused
assert refused.errors[0].field == "items", refused
"""


def run(*command: str | Path, folder: Path, python_path: str = "") -> str:
    """What it says; it must succeed."""
    ran = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env=dict(os.environ) | {"PYTHONPATH": python_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def save_document(shop: Shop, folder: Path) -> Path:
    with shop.client() as client:
        document = folder / "openapi.json"
        document.write_bytes(client.get("/openapi.json").content)
    return document


def test_a_python_client_places_amends_and_restocks(start: Start, tmp_path: Path) -> None:
    assert GENERATOR.is_dir(), f"`make venv` puts openapi-python-client into {GENERATOR}."
    shop = start()
    document = save_document(shop, tmp_path)
    # Nothing is to be formatted afterwards.
    config = tmp_path / "config.yaml"
    config.write_text("post_hooks: []\n")
    generated = tmp_path / "generated"
    said = run(
        *[sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"],
        *["--path", str(document), "--output-path", f"{generated}/shop_client"],
        *["--meta", "none", "--config", str(config)],
        folder=tmp_path,
        python_path=str(GENERATOR),
    )
    assert "warning" not in said.lower()
    run(
        *[sys.executable, "-W", "error", "-c", PYTHON_CLIENT, shop.address, str(uuid4())],
        folder=tmp_path,
        python_path=f"{generated}:{GENERATOR}",
    )


@pytest.fixture
def typescript(tmp_path: Path) -> Path:
    """A folder with the client's source, and what npm brings."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = shutil.copytree(TYPESCRIPT, tmp_path / "typescript")
    brought = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if brought.returncode != 0:
        pytest.skip(f"npm cannot get what is pinned: {brought.stderr.strip()[-200:]}")
    return folder


def test_a_typescript_client_places_amends_and_restocks(
    start: Start, tmp_path: Path, typescript: Path
) -> None:
    shop = start()
    document = save_document(shop, tmp_path)
    tools = typescript / "node_modules" / ".bin"
    said = run(tools / "openapi-typescript", document, "-o", "schema.ts", folder=typescript)
    assert "warn" not in said.lower(), said
    run(tools / "tsc", "--project", ".", folder=typescript)
    run("node", "client.js", shop.address, str(uuid4()), folder=typescript)
