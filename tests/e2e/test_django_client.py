"""A client of the Django shop that this one took over from; it was not changed for it.

It knows four addresses, keeps the first refresh token it is given, and follows links blindly.
"""

from collections.abc import Iterator
from typing import Any

import httpx

from tests.e2e.conftest import Start
from tests.e2e.shops import DEMO, Shop, order_of, stock_of


class DjangoRestClient:
    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        tokens = http.post(
            "/api/token/", json={"username": DEMO.username, "password": DEMO.password}
        ).json()
        self._access, self._refresh = tokens["access"], tokens["refresh"]

    def renew(self) -> None:
        response = self._http.post("/api/token/refresh/", json={"refresh": self._refresh})
        response.raise_for_status()
        self._access = response.json()["access"]

    def request(self, method: str, url: str, **body: Any) -> httpx.Response:
        """Renews its access token when it is refused, and tries again."""
        for _ in range(2):
            response = self._http.request(
                method,
                url,
                headers={"Authorization": f"Bearer {self._access}", "Accept": "application/json"},
                **body,
            )
            if response.status_code != 401:
                break
            self.renew()
        return response

    def forget_access(self) -> None:
        """As after five minutes."""
        self._access = "expired"

    def all(self, url: str) -> Iterator[dict[str, Any]]:
        link: str | None = url
        while link:
            page = self.request("GET", link).json()
            yield from page["results"]
            link = page["next"]


def test_it_works_unchanged(start: Start) -> None:
    shop = start()
    with shop.client() as http:
        use(shop, DjangoRestClient(http))


def use(shop: Shop, client: DjangoRestClient) -> None:
    second = client.request("GET", "/api/products/?page=2").json()
    assert set(second) == {"count", "next", "previous", "results"}
    assert second["count"] == 50
    assert [product["id"] for product in second["results"]] == list(range(11, 21))
    assert second["next"].startswith(f"{shop.address}/api/products/?")
    assert second["previous"].startswith(f"{shop.address}/api/products/?")

    products = list(client.all("/api/products/?page=2"))
    assert [product["id"] for product in products] == list(range(11, 51))
    assert {"id", "name", "price", "stock"} <= set(products[0])

    before = products[0]["stock"]
    response = client.request("POST", "/api/orders/", json=order_of(products[0]["id"], 1))
    assert response.status_code == 201
    assert [order["id"] for order in client.all("/api/orders/")] == [response.json()["id"]]

    for _ in range(3):
        client.forget_access()
        assert client.request("GET", "/api/orders/").json()["count"] == 1

    missing = client.request("GET", "/api/products/?page=6")
    assert missing.status_code == 404
    with shop.signed_in() as other:
        assert stock_of(other, products[0]["id"]) == before - 1
