"""Sessions and users: the same rotation from every store, also when tabs race."""

import asyncio
from datetime import timedelta

import pytest

from shop.domain.errors import InvalidToken, UsernameTaken, WrongCredentials
from shop.domain.sessions import hash_token
from tests.builders import PASSWORD
from tests.stores import Store
from tests.use_cases import UseCases


@pytest.fixture
async def token(shop: UseCases) -> str:
    """Anna's first refresh token."""
    await shop.given_customer("anna")
    return (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token


async def refresh(shop: UseCases, token: str) -> str:
    return (await shop.refresh_session(refresh_token=token)).refresh_token


async def is_good(shop: UseCases, token: str) -> bool:
    try:
        await refresh(shop, token)
    except InvalidToken:
        return False
    return True


async def test_successors_follow_each_other(shop: UseCases, token: str) -> None:
    tokens = [token]
    for _ in range(4):
        tokens.append(await refresh(shop, tokens[-1]))
    assert len(set(tokens)) == 5


async def test_tabs_that_refresh_at_the_same_moment_all_stay_signed_in(
    shop: UseCases, token: str
) -> None:
    tabs = await asyncio.gather(*(refresh(shop, token) for _ in range(8)))
    assert len(set(tabs)) == 8
    tabs = await asyncio.gather(*(refresh(shop, tab) for tab in tabs))
    assert all([await is_good(shop, tab) for tab in tabs])


async def test_a_retired_token_ends_the_family_for_good(shop: UseCases, token: str) -> None:
    second = await refresh(shop, token)
    third = await refresh(shop, second)
    assert not await is_good(shop, token)
    assert not any([await is_good(shop, each) for each in (token, second, third)])


async def test_a_thief_and_the_owner_who_race_do_not_both_win(shop: UseCases, token: str) -> None:
    """Whoever comes first: after the second token was used, the first one is a theft."""
    second = await refresh(shop, token)
    await asyncio.gather(refresh(shop, second), refresh(shop, token), return_exceptions=True)
    assert not await is_good(shop, token)
    assert not await is_good(shop, second)


async def test_a_locked_session_is_not_changed_by_anybody_else(
    shop: UseCases, store: Store, token: str
) -> None:
    async with store.unit_of_work() as uow:
        locked = await uow.sessions.lock(hash_token(token))
        signing_out = asyncio.create_task(shop.sign_out(refresh_token=token))
        done, _ = await asyncio.wait([signing_out], timeout=0.05)
        assert not done
        assert await uow.sessions.lock(hash_token(token)) == locked
    await signing_out
    assert not await is_good(shop, token)


async def test_a_session_is_found_again_by_another_process(
    shop: UseCases, store: Store, token: str
) -> None:
    other = UseCases(store.unit_of_work, process=2)
    await other.sign_out(refresh_token=await refresh(other, token))
    assert not await is_good(shop, token)


async def test_an_expired_token_is_no_theft(shop: UseCases, token: str) -> None:
    shop.clock.advance(timedelta(hours=23))
    second = await refresh(shop, token)
    await refresh(shop, second)
    shop.clock.advance(timedelta(hours=2))
    assert not await is_good(shop, token)
    assert await is_good(shop, second)


async def test_a_family_ends_at_its_age_to_the_second(shop: UseCases, token: str) -> None:
    for _ in range(30):
        shop.clock.advance(timedelta(days=1) - timedelta(seconds=1))
        token = await refresh(shop, token)
    shop.clock.advance(timedelta(seconds=29))
    assert await is_good(shop, token)
    shop.clock.advance(timedelta(seconds=1))
    assert not await is_good(shop, token)


async def test_a_new_password_ends_every_session_of_that_user(shop: UseCases, token: str) -> None:
    second = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
    await shop.given_customer("bert")
    other = (await shop.sign_in(username="bert", password=PASSWORD)).refresh_token
    await shop.set_password(username="anna", password="another password")
    assert not any([await is_good(shop, each) for each in (token, second)])
    assert await is_good(shop, other)
    await shop.sign_in(username="anna", password="another password")
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)


async def test_a_disabled_user_stays_out(shop: UseCases, store: Store, token: str) -> None:
    async with store.unit_of_work(read_only=True) as uow:
        anna = await uow.users.find("anna")
    assert anna is not None
    await store.disable_user(anna.id)
    assert not await is_good(shop, token)
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)


async def test_a_user_is_read_back_as_stored(shop: UseCases, store: Store) -> None:
    created = await shop.create_user(username="Ünal@example.org", password=PASSWORD)
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.users.get(created.id) == created
        assert await uow.users.find("Ünal@example.org") == created
        assert await uow.users.find("ünal@example.org") is None


@pytest.mark.usefixtures("token")
async def test_a_name_is_given_once(shop: UseCases) -> None:
    with pytest.raises(UsernameTaken, match="anna"):
        await shop.given_customer("anna")
    await shop.given_customer("Anna")
