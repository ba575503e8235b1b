"""A running shop, and clients of it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from shop.entrypoints.demo import DEMO_USERS
from tests.concurrency.servers import ShopServer

# Empty is not set: the defaults, as nobody configures anything.
NO_SETTINGS = {
    "SHOP_DATABASE_URL": "",
    "SHOP_SECRET_KEY": "",
    "SHOP_ACCESS_TOKEN_LIFETIME": "",
}
DEMO, ADMIN = DEMO_USERS
# Else each client would read all certificates of the machine, which takes longer than its requests.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, kw_only=True)
class Shop:
    server: ShopServer
    folder: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, trust_env=False, verify=_NO_TLS)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        """A client that is signed in as the demo customer."""
        with self.client() as client:
            client.headers["Authorization"] = f"Bearer {sign_in(client)['access']}"
            yield client


def sign_in(client: httpx.Client) -> dict[str, str]:
    response = client.post(
        "/api/token/", json={"username": DEMO.username, "password": DEMO.password}
    )
    assert response.status_code == 200, response.text
    tokens: dict[str, str] = response.json()
    return tokens


def order_of(product_id: int, quantity: int) -> dict[str, Any]:
    return {"items": [{"product_id": product_id, "quantity": quantity}]}


def stock_of(client: httpx.Client, product_id: int) -> int:
    stock: int = client.get(f"/api/products/{product_id}/").json()["stock"]
    return stock
