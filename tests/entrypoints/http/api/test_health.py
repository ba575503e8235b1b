"""Health: what tells clients, supervisors and load balancers how the process is."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from shop.adapters.intake import IntakeLimits
from tests.entrypoints.api import Api, client_of, container_for, problem, settings_for

AWAY = "postgresql+asyncpg://shop@/shop?host=/nowhere"


@pytest.mark.parametrize("path", ["/api/health/", "/api/health", "/health/live"])
async def test_a_healthy_shop_says_so_to_anybody(api: Api, path: str) -> None:
    response = await api.anonymous.get(path)
    assert response.status_code == 200
    assert response.json() == {"status": "OK", "timestamp": "2026-03-01T12:00:00Z"}


async def test_a_ready_shop_says_what_was_looked_at(api: Api) -> None:
    response = await api.anonymous.get("/health/ready")
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["timestamp"]) == ("OK", "2026-03-01T12:00:00Z")
    assert {check["name"]: check["ok"] for check in body["checks"]} == {
        "stopping": True,
        "intake": True,
        "database": True,
        "schema": True,
    }
    assert all(check["seconds"] >= 0 for check in body["checks"])


async def test_a_shop_that_will_stop_is_not_ready_and_asks_clients_to_come_to_another() -> None:
    container = container_for(settings_for())
    async with client_of(container) as client:
        assert "connection" not in (await client.get("/health/live")).headers
        container.drain().begin()
        response = await client.get("/health/ready")
        assert failed_checks(problem(response, 503, "stopping")) == ["stopping"]
        response = await client.get("/health/live")
        assert response.status_code == 200
        assert response.headers["connection"] == "close"


async def test_a_shop_with_a_full_intake_is_not_ready() -> None:
    container = container_for(settings_for())
    container.intake_limits.override(IntakeLimits(queue_max=0))
    async with client_of(container) as client:
        response = await client.get("/health/ready")
        assert failed_checks(problem(response, 503, "overloaded")) == ["intake"]
        assert (await client.get("/health/live")).status_code == 200


async def test_a_process_in_which_something_ended_for_good_is_not_alive_and_names_it() -> None:
    container = container_for(settings_for())
    async with client_of(container) as client:
        container.health.override(
            replace(
                container.health(),
                intake=Mock(is_alive=False),
                background=Mock(ended=["purge_keys"]),
            )
        )
        response = await client.get("/health/live")
        detail = problem(response, 503, "broken")["detail"]
        assert "purge_keys" in detail
        assert "intake" in detail


async def test_a_task_that_is_dead_is_named() -> None:
    container = container_for(settings_for())
    async with client_of(container) as client:
        container.background().start()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "purge_keys"]
        assert (await client.get("/health/live")).status_code == 200
        task.cancel()
        await asyncio.wait([task])
        detail = problem(await client.get("/health/live"), 503, "broken")["detail"]
        assert "purge_keys" in detail
        assert "purge_sessions" not in detail
        await container.background().stop()


def failed_checks(body: dict[str, Any]) -> list[str]:
    return [check["name"] for check in body["checks"] if not check["ok"]]


async def test_without_its_database_it_is_alive_but_not_ready() -> None:
    container = container_for(settings_for(AWAY))
    async with client_of(container) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/api/health/")).status_code == 200
        response = await client.get("/health/ready")
        assert failed_checks(problem(response, 503, "database_unavailable")) == ["database"]
        assert int(response.headers["retry-after"]) >= 1


async def test_over_a_database_that_is_not_migrated_it_is_not_ready_and_names_the_command(
    tmp_path: Path,
) -> None:
    container = container_for(settings_for(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}"))
    async with client_of(container) as client:
        assert (await client.get("/health/live")).status_code == 200
        response = await client.get("/health/ready")
        body = problem(response, 503, "database_unavailable")
        assert failed_checks(body) == ["schema"]
        assert "`shop migrate`" in body["detail"]
