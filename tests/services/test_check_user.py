"""Checking callers on each request: what is believed, for how long, and of how many."""

from datetime import timedelta
from typing import Any

import pytest

from shop.domain.errors import InvalidToken
from shop.domain.ports import UnitOfWork
from shop.domain.services import check_user
from shop.domain.services.check_user import BELIEVED_SECONDS, CheckUser
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import customer
from tests.stores import Store
from tests.use_cases import UseCases

BELIEVED_FOR = timedelta(seconds=BELIEVED_SECONDS)
MOMENT = timedelta(microseconds=1)


class Counted:
    """Counts the units of work that are begun."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.count = 0

    def __call__(self, **options: Any) -> UnitOfWork:
        self.count += 1
        return self._store.unit_of_work(**options)


@pytest.fixture
def looked_up(store: Store) -> Counted:
    return Counted(store)


@pytest.fixture
def check(shop: UseCases, looked_up: Counted) -> CheckUser:
    return CheckUser(unit_of_work=looked_up, monotonic=shop.clock.monotonic)


async def test_a_user_who_is_there_is_looked_up_now_and_then(
    shop: UseCases, check: CheckUser, looked_up: Counted
) -> None:
    anna = await shop.given_customer()
    for _ in range(10):
        assert await check(caller=anna) == anna
    shop.clock.advance(BELIEVED_FOR)
    await check(caller=anna)
    assert looked_up.count == 1
    shop.clock.advance(MOMENT)
    await check(caller=anna)
    assert looked_up.count == 2


async def test_a_disabled_user_is_out_within_seconds_and_in_again_at_once(
    shop: UseCases, check: CheckUser
) -> None:
    anna = await shop.given_customer("anna")
    await check(caller=anna)
    await shop.disable_user(caller=OPERATOR, username="anna")
    shop.clock.advance(BELIEVED_FOR + MOMENT)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await check(caller=anna)
    await shop.enable_user(caller=OPERATOR, username="anna")
    assert await check(caller=anna) == anna


async def test_a_clock_that_is_set_back_keeps_nobody_in(shop: UseCases, check: CheckUser) -> None:
    anna = await shop.given_customer("anna")
    await check(caller=anna)
    await shop.disable_user(caller=OPERATOR, username="anna")
    shop.clock.set_back(timedelta(days=1))
    shop.clock.advance(BELIEVED_FOR + MOMENT)
    with pytest.raises(InvalidToken):
        await check(caller=anna)


async def test_a_caller_has_the_role_of_now_and_not_of_the_token(
    shop: UseCases, check: CheckUser
) -> None:
    anna = await shop.given_customer("anna")
    assert await check(caller=Caller(user_id=anna.user_id, role=Role.STAFF)) == anna


async def test_who_is_gone_is_not_let_in(check: CheckUser) -> None:
    with pytest.raises(InvalidToken):
        await check(caller=customer(404))


async def test_only_so_many_are_remembered(
    shop: UseCases, check: CheckUser, looked_up: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_user, "USERS_MAX", 2)
    users = [await shop.given_customer() for _ in range(3)]
    for user in (*users, users[2], users[1]):
        await check(caller=user)
    assert looked_up.count == 3
    await check(caller=users[0])
    assert looked_up.count == 4
