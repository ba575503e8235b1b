"""Users over HTTP: the sessions that one has."""

import pytest

from tests.builders import PASSWORD
from tests.entrypoints.api import (
    Api,
    container_for,
    opened_api,
    problem,
    settings_for,
    wrong_fields,
)

SESSIONS = "/api/users/me/sessions/"


@pytest.fixture
async def clients(api: Api) -> list[str]:
    """What the customer's sessions are called, the last used first."""
    names = [f"client-{number}" for number in range(12)]
    for name in names:
        await api.anonymous.post(
            "/api/token/",
            json={"username": "customer", "password": PASSWORD},
            headers={"User-Agent": name},
        )
    return names[::-1]


async def test_the_list_of_ones_sessions_is_whole(api: Api, clients: list[str]) -> None:
    listed = (await api.customer.get(SESSIONS)).json()
    assert sorted(session["client"] for session in listed) == sorted(clients)
    assert set(listed[0]) == {"started", "last_used", "client"}
    assert (await api.customer.get(f"{SESSIONS}?other=1")).json() == listed
    assert (await api.other.get(SESSIONS)).json() == []


async def test_who_asks_for_a_page_of_it_gets_one(api: Api, clients: list[str]) -> None:
    seen: list[str] = []
    address: str | None = f"{SESSIONS}?page_size=5"
    for size in (5, 5, 2):
        assert address is not None
        page = (await api.customer.get(address)).json()
        assert (page["count"], len(page["results"])) == (12, size)
        seen += [session["client"] for session in page["results"]]
        address = page["next"]
    assert address is None
    assert sorted(seen) == sorted(clients)
    problem(await api.customer.get(f"{SESSIONS}?page=9"), 404, "page_not_found")
    assert wrong_fields(await api.customer.get(f"{SESSIONS}?page_size=101")) == ["page_size"]


@pytest.mark.parametrize(
    ("username", "password", "wrong"),
    [
        ("an na", "short", {"username", "password"}),
        ("anna!", "three green bottles", {"username"}),
        ("anna", "password", {"password"}),
        (" Anna ", "anna-anna", set()),
        ("anna.anna", "ANNA.anna", {"password"}),
    ],
)
async def test_all_that_is_wrong_with_an_account_is_named(
    username: str, password: str, wrong: set[str]
) -> None:
    async with opened_api(container_for(settings_for(registration=True))) as api:
        account = {"username": username, "password": password}
        response = await api.anonymous.post("/api/users/", json=account)
        if wrong:
            assert set(wrong_fields(response)) == wrong
        else:
            assert response.status_code == 201, response.text


async def test_a_disabled_users_access_token_still_reads_and_changes_nothing(api: Api) -> None:
    product = await api.given_product()
    await api.store.disable_user(api.customer_id)
    assert (await api.customer.get("/api/products/")).status_code == 200
    order = {"items": [{"product_id": product.id, "quantity": 1}]}
    problem(await api.customer.post("/api/orders/", json=order), 401, "invalid_token")
    assert await api.stock_of(product) == 10
