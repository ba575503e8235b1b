"""The application's life: what it makes when it starts, and what it waits for when it ends."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import pytest
from litestar.types import ASGIApp

from shop.adapters.background import BackgroundTimes
from shop.domain.errors import Overloaded
from shop.domain.orders import OrderRequest
from shop.domain.throttling import KNOWN_FOR
from shop.domain.users import OPERATOR
from shop.entrypoints.demo import DEMO_USERS
from shop.entrypoints.http.app import build_app
from tests.builders import PASSWORD, FakeClock, items, order_id
from tests.entrypoints.api import ADDRESS, container_for, problem, settings_for, store_of
from tests.logged import logged

LIFESPAN: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Started and stopped as a server does it."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(cast("Any", app)(LIFESPAN, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    try:
        transport = httpx.ASGITransport(cast("Any", app))
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            yield client
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
        await life


@pytest.fixture(autouse=True)
def collector_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a server tells its garbage collector is for as long as its process lives.

    This process lives on, and nothing of what is frozen is freed. To unfreeze it afterwards would
    be no better: then each later collection looks through all that was imported, for seconds.
    """
    thresholds = gc.get_threshold()
    monkeypatch.setattr(gc, "freeze", lambda: None)
    yield
    gc.set_threshold(*thresholds)


async def test_an_in_memory_shop_starts_with_demo_data() -> None:
    async with running(build_app(container_for(settings_for()))) as client:
        for user in DEMO_USERS:
            response = await client.post(
                "/api/token/", json={"username": user.username, "password": user.password}
            )
            assert response.status_code == 200
            headers = {"Authorization": f"Bearer {response.json()['access']}"}
            products = await client.get("/api/products/", headers=headers)
            assert products.json()["count"] == 50


async def test_any_other_shop_starts_with_what_is_stored(sqlite_url: str) -> None:
    container = container_for(settings_for(sqlite_url))
    async with running(build_app(container)) as client:
        assert (await client.get("/health/ready")).status_code == 200
        response = await client.post(
            "/api/token/", json={"username": "demo", "password": "demo-password"}
        )
        problem(response, 401, "wrong_credentials")


def test_building_it_leaves_logging_as_it_is() -> None:
    loggers = [logging.getLogger(name) for name in (None, "litestar", "shop")]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    build_app(container_for(settings_for()))
    after = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    assert after == before


async def test_stopping_serves_who_is_waiting() -> None:
    container = container_for(settings_for())
    async with running(build_app(container)):
        request = OrderRequest(order_id=order_id(1), user_id=1, items=items((1, 1)))
        waiting = asyncio.create_task(container.intake()(request))
        # It has queued up by then, and nobody has served it yet.
        await asyncio.sleep(0)
    assert (await waiting).created
    with pytest.raises(Overloaded):
        await container.intake()(request)


async def test_while_it_runs_what_expired_is_purged_without_any_sign_in(database_url: str) -> None:
    container = container_for(settings_for(database_url))
    container.background_times.override(BackgroundTimes(first=0.01))
    store = store_of(container)
    clock = FakeClock()
    with container.clock.override(clock):
        await container.create_user()(caller=OPERATOR, username="anna", password=PASSWORD)
        await container.sign_in()(username="anna", password=PASSWORD, address="192.0.2.1")
        clock.advance(2 * KNOWN_FOR)
        app = build_app(container)
        async with running(app) as client:
            background = container.background()
            async with asyncio.timeout(10):
                while any(state.last_success_at is None for state in background.states):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            for table in ("families", "tokens", "attempts"):
                assert await store.count(table) == 0
            once = [task for task in container.background_tasks() if task.once]
            assert await store.count("leases") == len(once)
            response = await client.get("/metrics")
            assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            metrics = response.text
            assert 'shop_background_run_seconds_count{task="purge_sessions"} 1.0' in metrics
    assert not any(state.is_alive for state in background.states)
    assert await store.count("leases") == 0
    if store.memory is None:
        await store.sql.dispose()


async def test_what_fails_as_it_stops_is_a_line_and_no_text_for_the_server(
    sqlite_url: str,
) -> None:
    container = container_for(settings_for(sqlite_url))
    told: list[Any] = []
    reported: list[str] = []

    class Broken:
        async def close(self) -> None:
            raise ValueError("at https://shop.example/?password=planted")

    class Reports:
        async def close(self) -> None:
            reported.append(log.text)

    container.intake.override(Broken())
    container.error_reports.override(Reports())

    async def tell(message: Any) -> None:
        told.append(message)

    async def next_event() -> Any:
        return {"type": "lifespan.shutdown" if told else "lifespan.startup"}

    with logged(only=True) as log:
        await cast("Any", build_app(container))(LIFESPAN, next_event, tell)
    assert told == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.failed"}]
    [line] = [line for line in log.lines if "exception" in line]
    assert (line["event"], line["level"]) == ("process.failed", "critical")
    assert "?password=[hidden]" in line["exception"]
    assert "process.failed" in reported[0], "it is reported before the last reports are sent"


async def test_an_application_that_is_not_run_has_nothing_in_the_background() -> None:
    container = container_for(settings_for())
    build_app(container)
    assert not any(state.is_alive for state in container.background().states)
