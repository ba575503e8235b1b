"""Clients of the API: what they accept."""

import asyncio
from typing import Self

import pytest
from dependency_injector import providers

from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from tests.entrypoints.api import Api, container_for, new_uuid, opened_api, problem, settings_for


@pytest.fixture
def database_url() -> str:
    return "memory://"


@pytest.mark.parametrize(
    "accepted",
    ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", "APPLICATION/JSON", ""],
)
async def test_whoever_takes_json_is_answered(api: Api, accepted: str) -> None:
    response = await api.anonymous.get("/api/health/", headers={"Accept": accepted})
    assert response.status_code == 200


@pytest.mark.parametrize("accepted", ["text/html", "application/xml", "image/*", "nonsense"])
async def test_whoever_takes_no_json_is_told_that_there_is_nothing_else(
    api: Api, accepted: str
) -> None:
    for path in ("/api/health/", "/api/products/", "/api/orders/"):
        response = await api.customer.get(path, headers={"Accept": accepted})
        problem(response, 406, "not_acceptable")


class NeverOpened(MemoryUnitOfWork):
    async def __aenter__(self) -> Self:
        return await asyncio.Future()


@pytest.mark.parametrize("check_users", [False, True])
async def test_who_reads_from_a_store_that_is_too_slow_is_told_in_time(check_users: bool) -> None:
    settings = settings_for(request_deadline=0.1, check_users=check_users)
    order = f"/api/orders/{new_uuid(1)}/"
    paths = [
        *("/api/products/", "/api/products/1/", "/api/products/1/movements/"),
        *("/api/orders/", order, f"{order}history/"),
        *("/api/users/me/", "/api/users/me/sessions/"),
    ]
    async with opened_api(container_for(settings)) as api:
        container = api.container
        stuck = providers.Factory(NeverOpened, database=container.memory)
        with container.unit_of_work.override(stuck):
            async with asyncio.timeout(10):
                answers = await asyncio.gather(*(api.staff.get(path) for path in paths))
            for answer in answers:
                assert int(answer.headers["retry-after"]) >= 1
                problem(answer, 503, "database_unavailable")
        assert (await api.staff.get("/api/products/")).status_code == 200
