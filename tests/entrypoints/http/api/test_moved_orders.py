"""Orders that were moved in, by the numbers that their clients know."""

from collections.abc import AsyncIterator

import pytest

from shop.domain.orders import MOVED_NUMBER_MAX, OrderStatus, moved_order_id
from shop.domain.services.move_in import MoveOptions
from shop.domain.users import OPERATOR
from tests.builders import PASSWORD
from tests.entrypoints.api import Api, container_for, opened_api, problem, settings_for
from tests.old_shops import FakeOldShop


@pytest.fixture
async def moved(sqlite_url: str) -> AsyncIterator[Api]:
    """A shop whose order 42, of the user `mover`, was moved in."""
    container = container_for(settings_for(sqlite_url))
    old = FakeOldShop()
    old.user(7, "mover", password_hash=f"plain:{PASSWORD}")
    old.product(3)
    old.order(42, (3, 2), user_id=7, code="ABCDEFGH1234")
    options = MoveOptions(status=OrderStatus.DELIVERED, sku_prefix="DJANGO-", dry_run=False)
    async for _ in container.move_in()(caller=OPERATOR, old=old, options=options):
        pass
    async with opened_api(container) as api:
        yield api


async def signed_in(api: Api) -> dict[str, str]:
    response = await api.anonymous.post(
        "/api/token/", json={"username": "mover", "password": PASSWORD}
    )
    return {"Authorization": f"Bearer {response.json()['access']}"}


async def test_an_old_number_is_answered_as_its_uuid(moved: Api) -> None:
    mover = await signed_in(moved)
    by_uuid = await moved.anonymous.get(f"/api/orders/{moved_order_id(42)}/", headers=mover)
    for address in ("/api/orders/42/", "/api/orders/42"):
        by_number = await moved.anonymous.get(address, headers=mover)
        assert by_number.status_code == by_uuid.status_code == 200
        assert by_number.content == by_uuid.content
        assert by_number.headers["ETag"] == by_uuid.headers["ETag"]
    assert by_number.json()["id"] == str(moved_order_id(42))
    assert (await moved.staff.get("/api/orders/42/")).json() == by_number.json()
    known = mover | {"If-None-Match": by_uuid.headers["ETag"]}
    assert (await moved.anonymous.get("/api/orders/42/", headers=known)).status_code == 304
    assert (await moved.anonymous.head("/api/orders/42/", headers=mover)).status_code == 200


async def test_an_old_number_is_its_owners_and_staffs_alone(moved: Api) -> None:
    others = await moved.customer.get("/api/orders/42/")
    missing = await moved.customer.get("/api/orders/43/")
    for response in (others, missing):
        assert problem(response, 404, "order_not_found")
    assert (await moved.anonymous.get("/api/orders/42/")).status_code == 401


@pytest.mark.parametrize("number", [1, 43, MOVED_NUMBER_MAX])
async def test_a_number_of_no_moved_order_is_404(moved: Api, number: int) -> None:
    response = await moved.staff.get(f"/api/orders/{number}/")
    assert problem(response, 404, "order_not_found")


@pytest.mark.parametrize("number", ["0", "042", "-1", str(MOVED_NUMBER_MAX + 1), "4" * 40, "٤٢"])
async def test_what_is_no_number_is_no_id(moved: Api, number: str) -> None:
    response = await moved.staff.get(f"/api/orders/{number}/")
    assert response.status_code in (400, 404)


async def test_an_old_number_costs_what_a_uuid_costs(moved: Api) -> None:
    mover = await signed_in(moved)
    statements = []
    for order in (moved_order_id(42), 42, 43):
        with moved.store.statements() as sent:
            await moved.anonymous.get(f"/api/orders/{order}/", headers=mover)
        statements.append(len(sent))
    assert statements == [1, 1, 1]
