"""Clients of the API: what they accept."""

import pytest

from tests.entrypoints.api import Api, problem


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
