"""Health: what tells clients, supervisors and load balancers how the process is."""

from pathlib import Path

import pytest

from tests.entrypoints.api import Api, client_of, container_for, problem, settings_for

AWAY = "postgresql+asyncpg://shop@/shop?host=/nowhere"


@pytest.mark.parametrize("path", ["/api/health/", "/api/health", "/health/live", "/health/ready"])
async def test_a_healthy_shop_says_so_to_anybody(api: Api, path: str) -> None:
    response = await api.anonymous.get(path)
    assert response.status_code == 200
    assert response.json() == {"status": "OK", "timestamp": "2026-03-01T12:00:00Z"}


async def test_without_its_database_it_is_alive_but_not_ready() -> None:
    container = container_for(settings_for(AWAY))
    async with client_of(container) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/api/health/")).status_code == 200
        response = await client.get("/health/ready")
        problem(response, 503, "database_unavailable")
        assert int(response.headers["retry-after"]) >= 1


async def test_over_a_database_that_is_not_migrated_it_is_not_ready_and_names_the_command(
    tmp_path: Path,
) -> None:
    container = container_for(settings_for(f"sqlite+aiosqlite:///{tmp_path / 'empty.sqlite3'}"))
    async with client_of(container) as client:
        assert (await client.get("/health/live")).status_code == 200
        response = await client.get("/health/ready")
        assert "`shop migrate`" in problem(response, 503, "database_unavailable")["detail"]
