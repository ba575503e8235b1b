"""What the benchmarks compare the shop with still serves, and answers orders."""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from litestar.testing import TestClient
from litestar.types import ASGIApp

from bench import variants
from shop.domain.services.place_order import PlaceOrder
from shop.domain.users import Caller, Role
from shop.entrypoints.container import build_container
from shop.entrypoints.settings import load_settings

ORDER = {"items": [{"product_id": 1, "quantity": 1}]}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    body = tmp_path / "body"
    body.write_text("{}")
    monkeypatch.setenv("SHOP_DATABASE_URL", "memory://")
    monkeypatch.setenv("SHOP_SECRET_KEY", "of the benchmarks alone, and long enough")
    monkeypatch.setenv(variants.BARE_BODY, str(body))
    # As it is, also after a variant has put something else in its place.
    with patch.object(PlaceOrder, "__call__", PlaceOrder.__call__):
        yield


@pytest.mark.parametrize(
    "create",
    [
        variants.create_constant,
        variants.create_direct,
        variants.create_bare,
        variants.create_naive,
    ],
)
def test_each_answers_orders(create: Callable[[], ASGIApp]) -> None:
    with TestClient(create()) as client:
        assert client.get("/health/ready").status_code == 200
        answer = client.post("/api/orders/", json=ORDER, headers=_customer())
        assert answer.status_code == 201, answer.text


def _customer() -> dict[str, str]:
    token = build_container(load_settings()).access_tokens()
    issued = token.issue(Caller(user_id=1, role=Role.CUSTOMER))
    return {"Authorization": f"Bearer {issued}"}
