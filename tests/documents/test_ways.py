"""The pages of the way of a request name the files that it goes through, in their order."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

import shop
from reference.ways import DETAIL, LIST, PLACING, Way
from shop.entrypoints.http.app import build_app
from tests.entrypoints.api import Api, container_for, opened_api, settings_for

SOURCE = f"{Path(shop.__file__).parent.as_posix()}/"


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    container = container_for(settings_for(sqlite_url))
    async with opened_api(container, build_app(container)) as api:
        yield api


@contextmanager
def watched() -> Iterator[list[str]]:
    """The files of the shop in the order in which a function of theirs was first entered."""
    entered: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (name := frame.f_code.co_filename).startswith(SOURCE):
            entered.setdefault(name.removeprefix(SOURCE))

    modules: list[str] = []
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield modules
    finally:
        sys.setprofile(before)
        modules += entered


async def assert_goes(
    way: Way, client: httpx.AsyncClient, method: str, path: str, **body: Any
) -> None:
    # The first request also builds what all later ones use.
    for _ in range(2):
        with watched() as modules:
            response = await client.request(method, path, **body)
        assert response.is_success
    steps = [step.module for step in way.steps]
    assert [module for module in modules if module in steps] == steps


async def test_an_order_goes_the_way_that_is_told(api: Api) -> None:
    product = await api.given_product()
    body = {"items": [{"product_id": product.id, "quantity": 1}]}
    await assert_goes(PLACING, api.customer, "POST", "/api/orders/", json=body)


async def test_a_product_goes_the_way_that_is_told(api: Api) -> None:
    product = await api.given_product()
    await assert_goes(DETAIL, api.customer, "GET", f"/api/products/{product.id}/")


async def test_a_page_goes_the_way_that_is_told(api: Api) -> None:
    await api.given_product()
    await assert_goes(LIST, api.customer, "GET", "/api/products/?page_size=5")
