"""When something is wrong inside: clear answers outside, and everything in the log."""

import asyncio
import logging
from typing import Any, Self

import httpx
import pytest
from dependency_injector import providers

from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.domain.errors import ShopError
from shop.entrypoints.container import Container
from shop.entrypoints.http.errors import STATUSES
from tests.builders import staff
from tests.entrypoints.api import (
    client_of,
    container_for,
    opened_api,
    order_of,
    problem,
    settings_for,
)

AWAY = "postgresql+asyncpg://shop@/shop?host=/nowhere"
ORDER = "/api/orders/00000000-0000-4000-8000-000000000000/"

# Every request that needs the store.
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/api/token/", {"username": "customer", "password": "whatever"}),
    ("POST", "/api/token/refresh/", {"refresh": "whatever"}),
    ("POST", "/api/token/revoke/", {"refresh": "whatever"}),
    ("GET", "/api/products/", None),
    ("GET", "/api/products/1/", None),
    ("POST", "/api/products/", {"sku": "A", "name": "A", "price": "1"}),
    ("POST", "/api/products/1/stock/", {"delta": 1, "reason": "restock"}),
    ("GET", "/api/orders/", None),
    ("GET", ORDER, None),
    ("POST", "/api/orders/", order_of((1, 1))),
    ("POST", ORDER, order_of((1, 1))),
    ("POST", f"{ORDER}cancel/", None),
]


def staff_headers(container: Container) -> dict[str, str]:
    return {"Authorization": f"Bearer {container.access_tokens().issue(staff())}"}


class Bug(RuntimeError):
    pass


class Broken(MemoryUnitOfWork):
    async def __aenter__(self) -> Self:
        raise Bug("SELECT secret FROM inside")


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_a_bug_is_answered_with_the_request_id_and_nothing_of_the_inside(
    method: str, path: str, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    container = container_for(settings_for())
    container.unit_of_work.override(providers.Factory(Broken, database=container.memory))
    async with client_of(container) as client:
        response = await client.request(
            method, path, json=body, headers={"X-Request-ID": "id-1"} | staff_headers(container)
        )
    assert problem(response, 500, "internal_error")["request_id"] == "id-1"
    assert "secret" not in response.text
    assert "Bug" not in response.text
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "SELECT secret FROM inside" in caplog.text
    assert record.name == "shop.http"


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_without_its_database_everything_says_when_to_come_back(
    method: str, path: str, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    container = container_for(settings_for(AWAY))
    async with client_of(container) as client:
        response = await client.request(method, path, json=body, headers=staff_headers(container))
    problem(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert "/nowhere" not in response.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Gate:
    """Lets nobody into a transaction until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()


class Gated(MemoryUnitOfWork):
    gate: Gate

    async def __aenter__(self) -> Self:
        self.gate.reached.set()
        await self.gate.open.wait()
        return await super().__aenter__()


async def test_when_too_many_orders_wait_the_next_is_told_to_come_back() -> None:
    container = container_for(settings_for(intake_queue_max=1))
    async with opened_api(container) as api:
        tea = await api.given_product(stock=10)
        gate = Gate()

        def gated(*, read_only: bool = False, **_: object) -> MemoryUnitOfWork:
            if read_only:
                return MemoryUnitOfWork(database=container.memory(), read_only=True)
            unit_of_work = Gated(database=container.memory())
            unit_of_work.gate = gate
            return unit_of_work

        container.unit_of_work.override(providers.Callable(gated))

        async def order() -> httpx.Response:
            return await api.customer.post("/api/orders/", json=order_of((tea, 1)))

        served = asyncio.create_task(order())
        await gate.reached.wait()
        one, two = asyncio.create_task(order()), asyncio.create_task(order())
        done, waiting = await asyncio.wait([one, two], return_when=asyncio.FIRST_COMPLETED)
        [refused] = done
        problem(refused.result(), 503, "overloaded")
        assert int(refused.result().headers["retry-after"]) >= 1
        gate.open.set()
        assert (await served).status_code == 201
        assert [(await task).status_code for task in waiting] == [201]
        assert await api.stock_of(tea) == 8


def every(kind: type[ShopError]) -> list[type[ShopError]]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in every(below))]


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    kinds = [kind for kind in every(ShopError) if kind is not ShopError]
    for kind in kinds:
        assert any(known in STATUSES for known in kind.__mro__), kind
    codes = {kind: kind.code for kind in kinds if "code" in vars(kind)}
    assert len(set(codes.values())) == len(codes)
