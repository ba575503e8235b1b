"""Sessions and users: the same rotation from every store, also when tabs race."""

import asyncio
from datetime import timedelta

import pytest

from shop.domain.errors import InvalidField, InvalidToken, UsernameTaken, WrongCredentials
from shop.domain.pages import Count, Window
from shop.domain.services import keep_users, purge, sign_in
from shop.domain.sessions import (
    CLIENT_LENGTH_MAX,
    ISSUED_TOGETHER,
    SESSIONS_MAX,
    RefreshToken,
    SessionFamily,
    hash_token,
)
from shop.domain.users import OPERATOR, Caller, User
from tests.builders import PASSWORD
from tests.stores import Store
from tests.use_cases import ADDRESS, UseCases

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
async def token(shop: UseCases) -> str:
    """Anna's first refresh token."""
    await shop.given_customer("anna")
    return (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token


async def refresh(shop: UseCases, token: str) -> str:
    return (await shop.container.refresh_session()(refresh_token=token)).refresh_token


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


@pytest.mark.parametrize("first", ["owner", "thief"])
async def test_a_stolen_token_that_both_refreshed_is_noticed_when_both_go_on(
    shop: UseCases, store: Store, token: str, first: str
) -> None:
    """Each has a successor of the stolen token, and neither shows that token again."""
    thiefs = await refresh(shop, token)
    shop.clock.advance(ISSUED_TOGETHER + timedelta(microseconds=1))
    owners = await refresh(shop, token)
    one, other = (owners, thiefs) if first == "owner" else (thiefs, owners)
    going_on = await refresh(shop, one)
    assert await is_good(shop, going_on)
    assert not await is_good(shop, other)
    assert not await is_good(shop, going_on)
    assert ("token.reused", {"user": (await caller(store)).user_id}) in shop.audit.events


async def test_two_tabs_that_refresh_within_seconds_go_on_for_days(
    shop: UseCases, token: str
) -> None:
    left = await refresh(shop, token)
    shop.clock.advance(ISSUED_TOGETHER)
    right = await refresh(shop, token)
    for _ in range(3):
        shop.clock.advance(23 * HOUR)
        left, right = await refresh(shop, left), await refresh(shop, right)


async def test_a_client_whose_answer_was_lost_asks_again_and_goes_on(
    shop: UseCases, token: str
) -> None:
    for _ in range(3):
        await refresh(shop, token)
        shop.clock.advance(HOUR)
    successor = await refresh(shop, token)
    assert await is_good(shop, await refresh(shop, successor))


async def test_what_one_session_retires_is_its_own(shop: UseCases, token: str) -> None:
    second = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
    shop.clock.advance(HOUR)
    await refresh(shop, await refresh(shop, token))
    assert await is_good(shop, second)


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
    await shop.set_password(caller=OPERATOR, username="anna", password="another password")
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
    created = await shop.create_user(
        caller=OPERATOR, username="Ünal@example.org", password=PASSWORD
    )
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.users.get(created.id) == created
        assert await uow.users.find("Ünal@example.org") == created
        assert await uow.users.find("U\u0308NAL@example.org") == created
        assert await uow.users.find("unal@example.org") is None


@pytest.mark.usefixtures("token")
async def test_a_name_is_given_once(shop: UseCases) -> None:
    for name in ("anna", "Anna", " ANNA ", "ａｎｎａ"):  # noqa: RUF001
        with pytest.raises(UsernameTaken):
            await shop.given_customer(name)


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("typed", ["Anna", " anna", "ANNA\u00a0", "ａｎｎａ"])  # noqa: RUF001
async def test_a_user_signs_in_however_the_name_is_typed(shop: UseCases, typed: str) -> None:
    assert await is_good(
        shop, (await shop.sign_in(username=typed, password=PASSWORD)).refresh_token
    )


async def user(store: Store, username: str = "anna") -> User:
    async with store.unit_of_work(read_only=True) as uow:
        found = await uow.users.find(username)
    assert found is not None
    return found


async def caller(store: Store, username: str = "anna") -> Caller:
    return (await user(store, username)).as_caller


async def open_sessions(shop: UseCases, who: Caller) -> list[SessionFamily]:
    return list((await shop.list_sessions(caller=who)).items)


# --- open sessions ---


async def test_open_sessions_are_listed_the_last_used_first(
    shop: UseCases, store: Store, token: str
) -> None:
    anna = await caller(store)
    await shop.given_customer("bert")
    shop.clock.advance(HOUR)
    phone = await shop.sign_in(username="anna", password=PASSWORD, client="phone\n")
    await shop.sign_in(username="bert", password=PASSWORD)
    assert [s.client for s in await open_sessions(shop, anna)] == ["phone?", ""]
    shop.clock.advance(HOUR)
    await refresh(shop, token)
    first, second = await open_sessions(shop, anna)
    assert (first.client, first.started_at, first.last_used_at) == (
        "",
        shop.clock() - 2 * HOUR,
        shop.clock(),
    )
    assert (first.expires_at, first.ends_at) == (shop.clock() + DAY, first.started_at + 30 * DAY)
    assert second.last_used_at == second.started_at == shop.clock() - HOUR
    await shop.sign_out(refresh_token=phone.refresh_token)
    assert await open_sessions(shop, anna) == [first]
    shop.clock.advance(DAY)
    assert await open_sessions(shop, anna) == []


async def test_open_sessions_are_read_in_pages(shop: UseCases, store: Store, token: str) -> None:
    anna = await caller(store)
    await shop.given_customer("bert")
    await shop.sign_in(username="bert", password=PASSWORD)
    for _ in range(4):
        shop.clock.advance(HOUR)
        await shop.sign_in(username="anna", password=PASSWORD)
    everything = await open_sessions(shop, anna)
    assert len(everything) == 5
    first = await shop.list_sessions(caller=anna, window=Window(limit=2))
    assert (list(first.items), first.more, first.count) == (everything[:2], True, Count(5))
    rest = await shop.list_sessions(caller=anna, window=Window(limit=9, after=everything[1].key))
    assert (list(rest.items), rest.more) == (everything[2:], False)
    back = await shop.list_sessions(caller=anna, window=Window(limit=2, before=everything[4].key))
    assert (list(back.items), back.more) == (everything[2:4], True)


async def test_a_user_has_only_so_many_sessions_and_the_oldest_ends(
    shop: UseCases, store: Store, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "SESSIONS_MAX", 5)
    anna = await caller(store)
    await shop.given_customer("bert")
    berts = (await shop.sign_in(username="bert", password=PASSWORD)).refresh_token
    tokens = [token]
    for _ in range(6):
        shop.clock.advance(timedelta(minutes=1))
        # Use does not make a session younger.
        assert await is_good(shop, token) is (len(tokens) < 6)
        tokens.append((await shop.sign_in(username="anna", password=PASSWORD)).refresh_token)
        assert len(await open_sessions(shop, anna)) == min(len(tokens), 5)
    assert [await is_good(shop, each) for each in tokens] == [False] * 2 + [True] * 5
    assert await is_good(shop, berts)


async def test_the_list_of_sessions_is_complete_and_bounded(
    shop: UseCases, store: Store, token: str
) -> None:
    for _ in range(SESSIONS_MAX + 5):
        shop.clock.advance(timedelta(seconds=1))
        await shop.sign_in(username="anna", password=PASSWORD)
    page = await shop.list_sessions(caller=await caller(store))
    assert (len(page.items), page.count, page.more) == (SESSIONS_MAX, Count(SESSIONS_MAX), False)
    assert not await is_good(shop, token)


async def test_the_longest_name_of_a_client_is_stored(
    shop: UseCases, store: Store, token: str
) -> None:
    await shop.sign_in(username="anna", password=PASSWORD, client="🫖" * 500)
    sessions = await open_sessions(shop, await caller(store))
    assert {s.client for s in sessions} == {"", "🫖" * CLIENT_LENGTH_MAX}


async def test_signing_out_everywhere_ends_all_of_ones_own(
    shop: UseCases, store: Store, token: str
) -> None:
    second = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
    await shop.given_customer("bert")
    other = (await shop.sign_in(username="bert", password=PASSWORD)).refresh_token
    anna = await caller(store)
    await shop.sign_out_everywhere(caller=anna)
    assert await open_sessions(shop, anna) == []
    assert not any([await is_good(shop, each) for each in (token, second)])
    assert await is_good(shop, other)


# --- forgetting ---


async def test_expired_tokens_of_a_session_are_forgotten_as_it_goes_on(
    shop: UseCases, store: Store, token: str
) -> None:
    for _ in range(20):
        shop.clock.advance(timedelta(hours=20))
        token = await refresh(shop, token)
    assert await store.count("tokens") <= 3
    assert await is_good(shop, token)


async def test_a_token_outlives_its_forgotten_predecessor(
    shop: UseCases, store: Store, token: str
) -> None:
    shop.clock.advance(23 * HOUR)
    second = await refresh(shop, token)
    shop.clock.advance(2 * HOUR)
    await refresh(shop, second)
    # The first has expired and is forgotten; the second goes on giving out successors.
    assert await store.count("tokens") == 2
    third = await refresh(shop, second)
    assert not await is_good(shop, token)
    assert await is_good(shop, third)


async def test_a_token_forgotten_while_somebody_waits_for_its_session_is_unknown(
    shop: UseCases, store: Store, token: str
) -> None:
    shop.clock.advance(23 * HOUR)
    second = await refresh(shop, token)
    shop.clock.advance(2 * HOUR)
    async with store.unit_of_work() as uow:
        found = await uow.sessions.lock(hash_token(second))
        assert found is not None
        family, locked = found
        waiting = asyncio.create_task(is_good(shop, token))
        await asyncio.wait([waiting], timeout=0.05)
        successor = RefreshToken(
            token_hash=hash_token("successor"),
            family_id=family.id,
            predecessor=locked.token_hash,
            issued_at=shop.clock(),
            expires_at=shop.clock() + DAY,
        )
        await uow.sessions.succeed(locked, successor, used_at=shop.clock())
        await uow.commit()
    assert not await waiting
    assert await is_good(shop, "successor")


async def test_sessions_that_expired_are_purged_and_others_kept(
    shop: UseCases, store: Store, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "PURGED_PER_STEP", 2)
    for _ in range(4):
        await shop.sign_in(username="anna", password=PASSWORD)
    shop.clock.advance(20 * HOUR)
    token = await refresh(shop, token)
    assert await shop.purge_sessions(caller=OPERATOR) == 0
    shop.clock.advance(5 * HOUR)
    assert await shop.purge_sessions(caller=OPERATOR) == 4
    assert (await store.count("families"), await shop.purge_sessions(caller=OPERATOR)) == (1, 0)
    assert await is_good(shop, token)
    shop.clock.advance(2 * DAY)
    assert await shop.purge_sessions(caller=OPERATOR) == 1
    assert (await store.count("families"), await store.count("tokens")) == (0, 0)


# --- changes of the user ---


async def change_password(shop: UseCases, anna: Caller, current: str = PASSWORD) -> None:
    await shop.change_password(
        caller=anna, current=current, new="another password", address=ADDRESS
    )


async def test_changing_ones_password_ends_every_session(
    shop: UseCases, store: Store, token: str
) -> None:
    second = (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token
    await change_password(shop, await caller(store))
    assert not any([await is_good(shop, each) for each in (token, second)])
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)
    await shop.sign_in(username="anna", password="another password")


async def test_a_password_is_not_changed_without_the_current_one_or_to_a_bad_one(
    shop: UseCases, store: Store, token: str
) -> None:
    anna = await caller(store)
    with pytest.raises(InvalidField):
        await change_password(shop, anna, current="wrong")
    for new in ("short", "password1", "x" * 257):
        with pytest.raises(InvalidField) as refused:
            await shop.change_password(caller=anna, current=PASSWORD, new=new, address=ADDRESS)
        assert refused.value.context["errors"][0]["field"] == "new"
    assert await is_good(shop, token)
    await shop.sign_in(username="anna", password=PASSWORD)


async def test_of_two_who_change_a_password_at_once_one_does(
    shop: UseCases, store: Store, token: str
) -> None:
    anna = await caller(store)
    answers = await asyncio.gather(
        *(change_password(shop, anna) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == [
        "InvalidField",
        "InvalidField",
        "NoneType",
    ]


async def test_disabling_a_user_ends_every_session_and_enabling_lets_them_in_again(
    shop: UseCases, token: str
) -> None:
    assert (await shop.disable_user(caller=OPERATOR, username="anna")).disabled
    assert not await is_good(shop, token)
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)
    await shop.enable_user(caller=OPERATOR, username="anna")
    assert not await is_good(shop, token)
    await shop.sign_in(username="anna", password=PASSWORD)


@pytest.mark.parametrize("change", ["password", "disabled"])
async def test_a_sign_in_that_began_before_a_change_does_not_outlive_it(
    shop: UseCases, store: Store, token: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change comes while the password is being verified."""
    real = shop.hasher.verify

    async def verify(password: str, password_hash: str | None) -> bool:
        fits = await real(password, password_hash)
        if change == "password":
            await shop.set_password(caller=OPERATOR, username="anna", password="another password")
        else:
            await shop.disable_user(caller=OPERATOR, username="anna")
        return fits

    monkeypatch.setattr(shop.hasher, "verify", verify)
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)
    assert await open_sessions(shop, await caller(store)) == []


@pytest.mark.usefixtures("token")
async def test_sessions_that_race_a_disabling_are_all_ended(shop: UseCases, store: Store) -> None:
    other = UseCases(store.unit_of_work, process=2)
    tokens = [
        (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token for _ in range(4)
    ]
    answers = await asyncio.gather(
        *(
            process.sign_in(username="anna", password=PASSWORD)
            for process in (shop, other)
            for _ in range(2)
        ),
        shop.disable_user(caller=OPERATOR, username="anna"),
        *(refresh(other, each) for each in tokens),
        return_exceptions=True,
    )
    assert {type(a) for a in answers if isinstance(a, Exception)} <= {
        InvalidToken,
        WrongCredentials,
    }
    assert await open_sessions(shop, await caller(store)) == []


async def test_reuse_is_noticed_among_many_who_refresh_at_once(
    shop: UseCases, store: Store, token: str
) -> None:
    second = await refresh(shop, token)
    await refresh(shop, second)
    other = UseCases(store.unit_of_work, process=2)
    answers = await asyncio.gather(
        *(is_good(process, each) for process in (shop, other) for each in (token, second) * 2)
    )
    assert not all(answers)
    assert await open_sessions(shop, await caller(store)) == []
    reused = [
        event
        for process in (shop, other)
        for event, _ in process.audit.events
        if event == "token.reused"
    ]
    assert reused == ["token.reused"]


async def test_an_outdated_hash_is_made_anew_when_the_password_is_at_hand(
    shop: UseCases, store: Store, token: str
) -> None:
    anna = await user(store)
    await store.set_password_hash(anna.id, f"old:{PASSWORD}")
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password="wrong password")
    assert (await user(store)).password_hash == f"old:{PASSWORD}"
    for _ in range(2):
        await shop.sign_in(username="anna", password=PASSWORD)
        assert (await user(store)).password_hash == f"plain:{PASSWORD}"
    upgraded = [event for event, _ in shop.audit.events if event == "password.hash_upgraded"]
    assert len(upgraded) == 1
    # Nobody is signed out for it.
    assert await is_good(shop, token)


TYPED, NORMAL = "ｇｅｈｅｉｍ cafe\u0301", "geheim café"  # noqa: RUF001


async def test_a_password_is_the_same_however_a_keyboard_writes_it(
    shop: UseCases, store: Store
) -> None:
    await shop.create_user(caller=OPERATOR, username="bert", password=TYPED)
    assert (await user(store, "bert")).password_hash == f"plain:{NORMAL}"
    for typed in (NORMAL, TYPED):
        await shop.sign_in(username="bert", password=typed)
    await shop.change_password(
        caller=await caller(store, "bert"), current=TYPED, new=f"new {TYPED}", address=ADDRESS
    )
    assert (await user(store, "bert")).password_hash == f"plain:new {NORMAL}"
    await shop.set_password(caller=OPERATOR, username="BERT", password=TYPED)
    assert (await user(store, "bert")).password_hash == f"plain:{NORMAL}"


async def test_a_hash_of_a_password_as_it_was_typed_is_good_and_made_anew(
    shop: UseCases, store: Store, token: str
) -> None:
    anna = await user(store)
    await store.set_password_hash(anna.id, f"plain:{TYPED}")
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=NORMAL)
    await shop.change_password(caller=anna.as_caller, current=TYPED, new=TYPED, address=ADDRESS)
    await store.set_password_hash(anna.id, f"plain:{TYPED}")
    for _ in range(2):
        await shop.sign_in(username="anna", password=TYPED)
        assert (await user(store)).password_hash == f"plain:{NORMAL}"
    await shop.sign_in(username="anna", password=NORMAL)
    upgraded = [event for event, _ in shop.audit.events if event == "password.hash_upgraded"]
    assert len(upgraded) == 1
    assert not await is_good(shop, token)


async def test_users_are_listed_by_id_step_by_step(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_users, "USERS_PER_STEP", 3)
    for name in ("d", "a", "c", "b", "ä", "e", "f"):
        await shop.given_customer(name)
    await shop.disable_user(caller=OPERATOR, username="c")
    steps = [
        [(u.username, u.disabled) for u in step] async for step in shop.list_users(caller=OPERATOR)
    ]
    assert steps == [
        [("d", False), ("a", False), ("c", True)],
        [("b", False), ("ä", False), ("e", False)],
        [("f", False)],
    ]
