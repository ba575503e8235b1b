"""The line of a request: which requests have one, and what it tells."""

import asyncio
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest

from shop.domain.services.keep_catalogue import ListProducts
from shop.domain.services.look_up import LookUpProducts
from shop.entrypoints.health import Health
from shop.entrypoints.logs import log_request
from tests.entrypoints.api import (
    ADDRESS,
    Api,
    client_of,
    container_for,
    new_uuid,
    opened_api,
    order_of,
    placed,
    settings_for,
)
from tests.logged import Log, logged


@pytest.fixture
def database_url() -> str:
    return "memory://"


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as log:
        yield log


def requests_in(log: Log) -> list[dict[str, Any]]:
    """Of what a test does; its clients read the OpenAPI document by themselves."""
    lines = [line for line in log.lines if line["logger"] == "shop.access"]
    return [line for line in lines if line.get("route") != "/openapi.json"]


async def test_a_line_has_all_there_is_to_know_of_a_request(log: Log) -> None:
    async with opened_api(container_for(settings_for(access_log=True))) as api:
        product = await api.given_product(stock=5)
        response = await api.customer.post(
            "/api/orders/", json=order_of((product, 2)), headers={"X-Request-ID": "id-1"}
        )
    [line] = requests_in(log)
    assert line.pop("time").endswith("Z")
    assert 0 < line.pop("seconds") < 10
    assert 0 <= line.pop("batch_wait") < 10
    assert line.pop("batch_id")
    assert line == {
        "level": "info",
        "logger": "shop.access",
        "event": "request",
        "request_id": "id-1",
        "user_id": api.customer_id,
        "order_id": response.json()["id"],
        "method": "POST",
        "route": "/api/orders",
        "status": 201,
        "bytes": len(response.content),
        "address": "127.0.0.1",
    }


async def test_every_request_has_a_line_under_its_id(log: Log) -> None:
    async with client_of(container_for(settings_for(access_log=True))) as client:
        paths = ["/docs/", "/nowhere", "/api/products/"]
        answers = await asyncio.gather(
            *(client.get(path, headers={"X-Request-ID": f"id-{path[-3:-1]}"}) for path in paths)
        )
    lines = {line["request_id"]: line for line in requests_in(log)}
    for answer in answers:
        line = lines.pop(answer.headers["x-request-id"])
        assert line["status"] == answer.status_code
        assert line["bytes"] == len(answer.content)
    assert not lines


async def test_a_refusal_is_told_by_its_code(log: Log) -> None:
    async with opened_api(container_for(settings_for(access_log=True))) as api:
        product = await api.given_product(stock=1)
        await api.customer.post("/api/orders/", json=order_of((product, 2)))
        await api.anonymous.get("/api/orders/")
    refused, anonymous = requests_in(log)
    assert (refused["status"], refused["problem"]) == (409, "out_of_stock")
    assert (anonymous["status"], anonymous["problem"]) == (401, "unauthenticated")
    assert "user_id" not in anonymous


async def test_orders_that_rode_in_one_batch_have_its_id(log: Log) -> None:
    async with opened_api(container_for(settings_for(access_log=True))) as api:
        product = await api.given_product(stock=50)
        await asyncio.gather(*(placed(api.customer, (product, 1)) for _ in range(10)))
        await placed(api.customer, (product, 1))
    *together, alone = requests_in(log)
    assert len({line["batch_id"] for line in together}) < len(together)
    assert alone["batch_id"] not in {line["batch_id"] for line in together}


async def test_whatever_is_done_to_an_order_names_it(log: Log) -> None:
    async with opened_api(container_for(settings_for(access_log=True))) as api:
        product = await api.given_product(stock=5)
        order = await placed(api.customer, (product, 1))
        address = f"/api/orders/{order['id']}/"
        await api.customer.get(address)
        await api.customer.get(f"{address}history/")
        await api.customer.post(f"{address}cancel/")
        await api.customer.get("/api/orders/nonsense/")
        await api.customer.post(f"/api/orders/{new_uuid(3)}/", json=order_of((product, 99)))
    *named, odd, refused = requests_in(log)
    assert {line["order_id"] for line in named} == {order["id"]}
    assert "order_id" not in odd
    assert refused["order_id"] == str(new_uuid(3))


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_only_an_address_that_there_is_not_is_shown_short_and_harmless(
    log_format: str,
) -> None:
    with logged(log_format=log_format) as log:
        async with client_of(container_for(settings_for(access_log=True))) as client:
            await client.get(f"{ADDRESS}/a%0Ab%0D%0A{{}}%1b[31m?query=hidden")
            await client.get(f"{ADDRESS}/{'x' * 5_000}")
            await client.get("/api/products/1/?search=hidden")
    first, second, third = [line for line in log.text.splitlines() if "shop.access" in line]
    assert "%0Ab%0D%0A" in first
    assert "hidden" not in log.text
    assert "xxx" in second
    assert len(second) < 1_000
    assert "/api/products/{product_id" in third
    assert "path" not in third


async def test_an_unknown_method_is_no_word_of_the_client(log: Log) -> None:
    async with client_of(container_for(settings_for(access_log=True))) as client:
        await client.request("INVENTED", "/api/products/")
        await client.head("/api/products/")
    assert [line["method"] for line in requests_in(log)] == ["_OTHER", "HEAD"]
    assert requests_in(log)[1]["bytes"] == 0


@pytest.mark.parametrize(("trusted", "shown"), [("", "127.0.0.1"), ("127.0.0.0/8", "192.0.2.7")])
async def test_the_address_is_the_client_s_as_far_as_proxies_are_trusted(
    trusted: str, shown: str, log: Log
) -> None:
    settings = settings_for(access_log=True, trusted_proxies=trusted)
    async with client_of(container_for(settings)) as client:
        for forwarded in ("192.0.2.7", "spoofed, 192.0.2.7", "x" * 300 + ", 192.0.2.7"):
            await client.get("/api/products/", headers={"X-Forwarded-For": forwarded})
    assert {line["address"] for line in requests_in(log)} == {shown}


# --- which requests have a line ---


async def test_nothing_is_logged_about_good_requests_unless_asked_for(api: Api, log: Log) -> None:
    await api.customer.get("/api/products/")
    await api.customer.get("/nowhere")
    assert requests_in(log) == []


@pytest.mark.parametrize("settings", [{}, {"access_log": True, "log_sample": 0.0}])
async def test_a_failure_is_always_logged(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ListProducts, "__call__", fail)
    async with opened_api(container_for(settings_for(**settings))) as api:
        await api.customer.get("/api/products/", headers={"X-Request-ID": "id-1"})
    failed, line = [line for line in log.lines if line["logger"] != "shop.audit"]
    assert failed["event"] == "request.failed"
    assert "ZeroDivisionError" in failed["exception"]
    assert (line["event"], line["level"], line["status"]) == ("request", "error", 500)
    assert line["problem"] == "internal_error"
    for one in (failed, line):
        assert (one["request_id"], one["user_id"]) == ("id-1", api.customer_id)


@pytest.mark.parametrize("settings", [{}, {"access_log": True, "log_sample": 0.0}])
async def test_a_slow_request_is_always_logged(settings: dict[str, Any], log: Log) -> None:
    async with opened_api(container_for(settings_for(**settings, log_slow=1e-9))) as api:
        await api.customer.get("/api/products/")
    [line] = requests_in(log)
    assert (line["level"], line["status"]) == ("warning", 200)


async def test_of_good_requests_a_share_is_logged(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    drawn = iter([0.1, 0.25, 0.2499, 0.9])
    monkeypatch.setattr(random, "random", lambda: next(drawn))
    settings = settings_for(access_log=True, log_sample=0.25)
    async with client_of(container_for(settings)) as client:
        for number in range(4):
            await client.get("/api/products/", headers={"X-Request-ID": str(number)})
    assert [line["request_id"] for line in requests_in(log)] == ["0", "2"]


async def test_health_and_metrics_are_logged_when_they_fail_only(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    settings = settings_for(access_log=True, log_slow=1e-9)
    async with client_of(container_for(settings)) as client:
        for path in ("/health/live", "/health/ready", "/api/health/", "/metrics"):
            assert (await client.get(path)).status_code == 200
        assert requests_in(log) == []
        monkeypatch.setattr(Health, "ended", property(lambda _: ["tidy"]))
        assert (await client.get("/health/live")).status_code == 503
    [line] = requests_in(log)
    assert (line["route"], line["status"]) == ("/health/live", 503)


async def test_the_level_holds_for_requests_too() -> None:
    with logged("warning") as log:
        async with client_of(container_for(settings_for(access_log=True))) as client:
            await client.get("/api/products/")
    assert requests_in(log) == []


# --- what is logged on the way ---


async def test_what_is_logged_in_a_shared_read_belongs_to_one_who_asked(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    before = LookUpProducts.__call__

    async def chatty(self: LookUpProducts, *args: Any) -> Any:
        logging.getLogger("shop.test").warning("reading")
        return await before(self, *args)

    monkeypatch.setattr(LookUpProducts, "__call__", chatty)
    async with opened_api(container_for(settings_for())) as api:
        product = await api.given_product()
        ids = [f"id-{number}" for number in range(5)]
        for one in ids:
            await api.customer.get(f"/api/products/{product.id}/", headers={"X-Request-ID": one})
    lines = log.events("reading")
    assert [line["request_id"] for line in lines] == ids
    assert {line["user_id"] for line in lines} == {api.customer_id}


async def test_what_is_logged_in_a_batch_has_its_id_and_no_request_s(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    container = container_for(settings_for(access_log=True))
    decide = container.decide_orders()

    async def chatty(*args: Any, **kwargs: Any) -> Any:
        logging.getLogger("shop.test").warning("deciding")
        return await decide(*args, **kwargs)

    container.decide_orders.override(chatty)
    async with opened_api(container) as api:
        product = await api.given_product(stock=5)
        await placed(api.customer, (product, 1))
    [deciding] = log.events("deciding")
    [request] = requests_in(log)
    assert deciding["batch_id"] == request["batch_id"]
    assert "request_id" not in deciding


def test_a_line_of_a_request_is_like_any_other(log: Log) -> None:
    log_request("info", {"status": 200})
    logging.getLogger("shop.access").info("request")
    first, second = log.lines
    assert first.keys() - {"status"} == second.keys()
