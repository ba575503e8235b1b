"""What requests leave in the metrics: how long they took, what was refused, and what was sold."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shop.adapters.sql import engine
from shop.domain.services.keep_catalogue import ListProducts
from tests.entrypoints.api import Api, container_for, opened_api, order_of, placed, settings_for


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """Built anew, so that it has counted nothing yet."""
    in_memory = request.param == "memory"
    url = "memory://" if in_memory else request.getfixturevalue(f"{request.param}_url")
    async with opened_api(container_for(settings_for(url))) as api:
        yield api


async def metric(api: Api, name: str, **labels: str) -> float:
    """The sum of what has these labels."""
    text = (await api.anonymous.get("/metrics")).text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} "))
        and all(f'{label}="{value}"' in line for label, value in labels.items())
    )


ORDERS = {"http_request_method": "POST", "http_route": "/api/orders"}


async def test_why_orders_are_refused_is_counted_by_reason(api: Api) -> None:
    teapot = await api.given_product(stock=3)
    for wanted, answer in ((2, 201), (2, 409), (2, 409)):
        response = await api.customer.post("/api/orders/", json=order_of((teapot, wanted)))
        assert response.status_code == answer
    assert (await api.customer.post("/api/orders/", json={"items": []})).status_code == 400
    assert (await api.anonymous.post("/api/orders/", json={})).status_code == 401
    refused = {
        reason: await metric(api, "shop_refusals_total", **ORDERS, reason=reason)
        for reason in ("out_of_stock", "invalid_fields", "unauthenticated")
    }
    assert refused == {"out_of_stock": 2, "invalid_fields": 1, "unauthenticated": 1}
    assert await metric(api, "shop_refusals_total", **ORDERS) == 4
    for status, number in {"201": 1, "409": 2, "400": 1, "401": 1}.items():
        counted = await metric(
            api,
            "http_server_request_duration_seconds_count",
            **ORDERS,
            http_response_status_code=status,
        )
        assert counted == number


async def test_what_is_sold_and_becomes_of_orders_is_counted(api: Api) -> None:
    teapot = await api.given_product(stock=100)
    await placed(api.customer, (teapot, 4))
    # The same order once more is no other one.
    for status in (201, 200):
        order = await api.customer.post(
            "/api/orders/", json=order_of((teapot, 3)), headers={"Idempotency-Key": "one"}
        )
        assert order.status_code == status
    cancelled = await api.customer.post(f"/api/orders/{order.json()['id']}/cancel/")
    assert cancelled.status_code == 200
    assert await metric(api, "shop_pieces_sold_total") == 7
    assert await metric(api, "shop_events_total", event="order.placed") == 2
    assert await metric(api, "shop_events_total", event="order.cancelled") == 1
    assert await metric(api, "shop_events_total", event="order.amended") == 0


async def test_a_list_refused_to_many_at_once_is_refused_to_each(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ListProducts.__call__

    async def slowly(*args: object, **options: object) -> object:
        await asyncio.sleep(0.05)
        return await whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ListProducts, "__call__", slowly)
    asked = [api.customer.get("/api/products/?page=99") for _ in range(5)]
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [404] * 5
    assert await metric(api, "shop_refusals_total", reason="page_not_found") == 5
    assert 1 <= await metric(api, "shop_shared_read_askers_count", reads="lists") < 5
    assert await metric(api, "shop_shared_read_askers_sum", reads="lists") == 5


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, an order is soon enough after another one."""
    monkeypatch.setattr(engine, "BEGUN_SECONDS_MAX", 5.0)


@pytest.mark.usefixtures("unhurried")
async def test_statements_are_counted_by_use_case(api: Api) -> None:
    teapot = await api.given_product()
    await placed(api.customer, (teapot, 1))
    count = "shop_database_statement_seconds_count"
    if api.store.memory is not None:
        assert await metric(api, count) == 0
        return
    before = await metric(api, count, use_case="decide_orders")
    await placed(api.customer, (teapot, 1))
    # COMMIT as well, and BEGIN where the COMMIT before has not done that.
    expected = {"sqlite": 7, "postgresql": 3}[api.store.name]
    assert await metric(api, count, use_case="decide_orders") - before == expected
    assert await metric(api, "shop_database_connections_max", pool="read") == 4
    assert await metric(api, "shop_database_connections_in_use", pool="read") == 0


async def test_requests_that_are_being_answered_are_seen(api: Api) -> None:
    # The one that asks.
    assert await metric(api, "http_server_active_requests") == 1
    assert await metric(api, "process_resident_memory_bytes", worker="0") > 10_000_000
    assert await metric(api, "process_open_fds") > 3
    assert await metric(api, "process_cpu_seconds_total") > 0
