"""Users and their sessions: signing in, staying in, being thrown out."""

from datetime import timedelta

import pytest

from shop.domain.errors import (
    InvalidField,
    InvalidToken,
    UsernameTaken,
    UserNotFound,
    WrongCredentials,
)
from shop.domain.users import OPERATOR, Role
from tests.builders import PASSWORD
from tests.stores import Store
from tests.use_cases import UseCases

DAY = timedelta(days=1)


async def sign_in(shop: UseCases) -> str:
    """Anna's first refresh token."""
    return (await shop.sign_in(username="anna", password=PASSWORD)).refresh_token


async def refresh(shop: UseCases, token: str) -> str:
    return (await shop.container.refresh_session()(refresh_token=token)).refresh_token


async def test_a_user_signs_in_as_who_they_are(shop: UseCases) -> None:
    anna = await shop.create_user(
        caller=OPERATOR, username="anna", password=PASSWORD, role=Role.STAFF
    )
    signed_in = await shop.sign_in(username="anna", password=PASSWORD)
    assert signed_in.caller.user_id == anna.id
    assert signed_in.caller.role is Role.STAFF
    assert signed_in.refresh_token not in repr(signed_in)


async def test_a_user_is_a_customer_unless_said_otherwise(shop: UseCases) -> None:
    anna = await shop.create_user(caller=OPERATOR, username="anna", password=PASSWORD)
    assert anna.role is Role.CUSTOMER


async def test_a_name_belongs_to_one_user_however_it_is_typed(shop: UseCases) -> None:
    await shop.given_customer("anna")
    with pytest.raises(UsernameTaken):
        await shop.given_customer("anna")
    with pytest.raises(UsernameTaken):
        await shop.given_customer("ａｎｎａ")  # noqa: RUF001
    await shop.sign_in(username="ａｎｎａ", password=PASSWORD)  # noqa: RUF001


@pytest.mark.parametrize(("username", "password"), [("an na", PASSWORD), ("anna", "short")])
async def test_a_bad_name_or_password_makes_no_user(
    shop: UseCases, username: str, password: str
) -> None:
    with pytest.raises(InvalidField):
        await shop.create_user(caller=OPERATOR, username=username, password=password)


async def test_whatever_is_wrong_the_answer_and_the_work_are_the_same(
    shop: UseCases, store: Store
) -> None:
    await shop.given_customer("anna")
    disabled = await shop.given_customer("bert")
    await store.disable_user(disabled.user_id)
    answers = set()
    for username, password in (
        ("anna", "wrong password"),
        ("nobody", PASSWORD),
        ("bert", PASSWORD),
        ("a\x00\ud800", PASSWORD),
        ("anna", ""),
    ):
        before = shop.hasher.verified
        with pytest.raises(WrongCredentials) as refused:
            await shop.sign_in(username=username, password=password)
        assert shop.hasher.verified == before + 1
        answers.add(str(refused.value))
    assert len(answers) == 1


async def test_a_password_of_two_forms_is_the_same_work_for_who_is_not_there(
    shop: UseCases,
) -> None:
    await shop.given_customer("anna")
    for username in ("anna", "nobody"):
        before = shop.hasher.verified
        with pytest.raises(WrongCredentials):
            await shop.sign_in(username=username, password="ｗｒｏｎｇ password")  # noqa: RUF001
        assert shop.hasher.verified == before + 2


async def test_the_first_token_keeps_working_for_its_day(shop: UseCases) -> None:
    await shop.given_customer("anna")
    token = await sign_in(shop)
    for _ in range(5):
        await refresh(shop, token)
    shop.clock.advance(DAY - timedelta(seconds=1))
    await refresh(shop, token)
    shop.clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        await refresh(shop, token)


async def test_a_successor_lives_a_day_of_its_own(shop: UseCases) -> None:
    await shop.given_customer("anna")
    token = await sign_in(shop)
    for _ in range(10):
        shop.clock.advance(DAY - timedelta(seconds=1))
        token = await refresh(shop, token)
    signed_in = await shop.refresh_session(refresh_token=token)
    assert signed_in.caller.role is Role.CUSTOMER


async def test_a_family_ends_for_good_at_its_age(shop: UseCases) -> None:
    await shop.given_customer("anna")
    token = await sign_in(shop)
    for _ in range(30):
        shop.clock.advance(DAY - timedelta(seconds=1))
        token = await refresh(shop, token)
    shop.clock.advance(timedelta(seconds=30))
    with pytest.raises(InvalidToken):
        await refresh(shop, token)


async def test_two_tabs_that_refresh_at_once_both_stay_signed_in(shop: UseCases) -> None:
    await shop.given_customer("anna")
    token = await sign_in(shop)
    left, right = await refresh(shop, token), await refresh(shop, token)
    left, right = await refresh(shop, left), await refresh(shop, right)
    assert await refresh(shop, left)
    assert await refresh(shop, right)


async def test_a_token_whose_successor_was_used_gives_a_thief_away(shop: UseCases) -> None:
    await shop.given_customer("anna")
    first = await sign_in(shop)
    second = await refresh(shop, first)
    third = await refresh(shop, second)
    with pytest.raises(InvalidToken):
        await refresh(shop, first)
    for token in (first, second, third):
        with pytest.raises(InvalidToken):
            await refresh(shop, token)


async def test_theft_ends_one_family_and_not_the_users_others(shop: UseCases) -> None:
    await shop.given_customer("anna")
    phone, laptop = await sign_in(shop), await sign_in(shop)
    await refresh(shop, await refresh(shop, phone))
    with pytest.raises(InvalidToken):
        await refresh(shop, phone)
    assert await refresh(shop, laptop)


async def test_signing_out_ends_the_family_whichever_token_is_shown(shop: UseCases) -> None:
    await shop.given_customer("anna")
    first = await sign_in(shop)
    second = await refresh(shop, first)
    await shop.sign_out(refresh_token=first)
    for token in (first, second):
        with pytest.raises(InvalidToken):
            await refresh(shop, token)


@pytest.mark.parametrize("token", ["", "unknown", "\ud800", "x" * 10_000])
async def test_an_unknown_token_signs_nobody_in_or_out(shop: UseCases, token: str) -> None:
    await shop.given_customer("anna")
    mine = await sign_in(shop)
    await shop.sign_out(refresh_token=token)
    with pytest.raises(InvalidToken):
        await refresh(shop, token)
    assert await refresh(shop, mine)


async def test_a_disabled_user_is_not_let_in_again(shop: UseCases, store: Store) -> None:
    anna = await shop.given_customer("anna")
    token = await sign_in(shop)
    await store.disable_user(anna.user_id)
    with pytest.raises(InvalidToken):
        await refresh(shop, token)


async def test_a_new_password_signs_out_everywhere(shop: UseCases) -> None:
    await shop.given_customer("anna")
    await shop.given_customer("bert")
    phone, laptop = await sign_in(shop), await sign_in(shop)
    other = (await shop.sign_in(username="bert", password=PASSWORD)).refresh_token
    await shop.set_password(caller=OPERATOR, username="anna", password="another password")
    for token in (phone, laptop):
        with pytest.raises(InvalidToken):
            await refresh(shop, token)
    with pytest.raises(WrongCredentials):
        await shop.sign_in(username="anna", password=PASSWORD)
    await shop.sign_in(username="anna", password="another password")
    assert await refresh(shop, other)


async def test_a_password_is_set_for_a_user_that_is_there(shop: UseCases) -> None:
    with pytest.raises(UserNotFound):
        await shop.set_password(caller=OPERATOR, username="nobody", password=PASSWORD)
    with pytest.raises(InvalidField):
        await shop.set_password(caller=OPERATOR, username="nobody", password="short")


@pytest.mark.parametrize(
    ("before", "after"), [(Role.STAFF, Role.CUSTOMER), (Role.CUSTOMER, Role.STAFF)]
)
async def test_another_role_ends_all_sessions(shop: UseCases, before: Role, after: Role) -> None:
    """A session that was stolen from a customer does not become one of staff."""
    anna = await shop.create_user(caller=OPERATOR, username="anna", password=PASSWORD, role=before)
    token = await sign_in(shop)
    [after] = set(Role) - {before}
    changed = await shop.set_role(caller=OPERATOR, username="anna", role=after)
    assert (changed.id, changed.role) == (anna.id, after)
    with pytest.raises(InvalidToken):
        await refresh(shop, token)
    assert (await shop.sign_in(username="anna", password=PASSWORD)).caller.role is after
    assert ("user.role_changed", {"user": anna.id, "role": after.value}) in shop.audit.events


async def test_the_same_role_again_changes_nothing(shop: UseCases) -> None:
    await shop.given_customer("anna")
    token = await sign_in(shop)
    await shop.set_role(caller=OPERATOR, username="anna", role=Role.CUSTOMER)
    assert await refresh(shop, token)
    assert "user.role_changed" not in [name for name, _ in shop.audit.events]


async def test_the_role_of_nobody_cannot_be_changed(shop: UseCases) -> None:
    with pytest.raises(UserNotFound):
        await shop.set_role(caller=OPERATOR, username="anna", role=Role.STAFF)
