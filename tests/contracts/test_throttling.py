"""Throttled sign-ins on every store: guesses are slowed down, and their victim gets in."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import text

from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.domain.errors import (
    InvalidField,
    RegistrationClosed,
    TooManyAttempts,
    UsernameTaken,
    WrongCredentials,
)
from shop.domain.services import purge
from shop.domain.services.keep_users import RegisterUser
from shop.domain.throttling import (
    FORGOTTEN_AFTER,
    KEPT_FOR,
    KNOWN_FOR,
    WITH_ADDRESS,
    WITH_NAME,
    AttemptKeys,
)
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import PASSWORD
from tests.stores import Store
from tests.use_cases import ADDRESS, UseCases

ELSEWHERE = "198.51.100.7"
SECOND = timedelta(seconds=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def anna(shop: UseCases) -> Caller:
    return await shop.given_customer("anna")


async def attempt(
    shop: UseCases, password: str = "wrong", *, username: str = "anna", address: str = ADDRESS
) -> type[Exception] | None:
    try:
        await shop.container.sign_in()(username=username, password=password, address=address)
    except (WrongCredentials, TooManyAttempts) as error:
        return type(error)
    return None


async def guess_until_throttled(shop: UseCases, address: str, *, username: str = "anna") -> int:
    for guesses in range(100):
        if await attempt(shop, username=username, address=address) is TooManyAttempts:
            return guesses
    raise AssertionError("never throttled")


@pytest.mark.usefixtures("anna")
async def test_another_spelling_of_the_name_gets_no_tries_of_its_own(shop: UseCases) -> None:
    spellings = ["anna", "Anna", " ANNA", "ａｎｎａ", "anna\u00a0", "aNNa"]  # noqa: RUF001
    assert len(spellings) == WITH_NAME.free + 1
    for number, username in enumerate(spellings):
        address = f"198.51.100.{number}"
        assert await attempt(shop, username=username, address=address) is WrongCredentials
    assert await attempt(shop, username="annA", address=ADDRESS) is TooManyAttempts


@pytest.mark.usefixtures("anna")
async def test_after_a_few_wrong_passwords_even_the_right_one_has_to_wait(shop: UseCases) -> None:
    assert await guess_until_throttled(shop, ADDRESS) == WITH_NAME.free + 1
    verified = shop.hasher.verified
    assert await attempt(shop, PASSWORD) is TooManyAttempts
    # What is refused is not even looked at, and says nothing of whether the password was right.
    assert shop.hasher.verified == verified
    shop.clock.advance(2 * SECOND)
    assert await attempt(shop, PASSWORD) is None
    assert await attempt(shop) is WrongCredentials


async def test_names_that_nobody_has_are_throttled_all_the_same(
    shop: UseCases, anna: Caller
) -> None:
    by_name = [
        await guess_until_throttled(shop, f"192.0.2.{n}", username=username)
        for n, username in enumerate(("anna", "nobody", "a\x00\ud800"))
    ]
    assert by_name == [WITH_NAME.free + 1] * 3


@pytest.mark.usefixtures("anna")
async def test_the_wait_doubles_up_to_a_minute(shop: UseCases) -> None:
    await guess_until_throttled(shop, ADDRESS)
    for seconds in (2, 4, 8, 16, 32, 60, 60):
        shop.clock.advance(seconds * SECOND - SECOND / 10)
        assert await attempt(shop) is TooManyAttempts
        shop.clock.advance(SECOND / 10)
        assert await attempt(shop) is WrongCredentials


@pytest.mark.usefixtures("anna")
async def test_failures_are_forgotten_after_a_quiet_while(shop: UseCases) -> None:
    await guess_until_throttled(shop, ADDRESS)
    shop.clock.advance(FORGOTTEN_AFTER + SECOND)
    assert await guess_until_throttled(shop, ADDRESS) == WITH_NAME.free + 1


@pytest.mark.usefixtures("anna")
async def test_a_success_forgets_the_names_failures(shop: UseCases) -> None:
    for _ in range(3):
        for _ in range(WITH_NAME.free):
            assert await attempt(shop) is WrongCredentials
        assert await attempt(shop, PASSWORD) is None


async def test_people_at_one_address_who_sign_in_at_once_do_not_wait_for_each_other(
    shop: UseCases, store: Store
) -> None:
    """Of two processes, whose clocks are not quite the same."""
    other = UseCases(store.unit_of_work, process=2)
    other.clock.advance(SECOND)
    names = [f"user-{n}" for n in range(WITH_ADDRESS.free // 2)]
    for name in names:
        await shop.given_customer(name)
    answers = await asyncio.gather(
        *(attempt(process, PASSWORD, username=name) for name in names for process in (other, shop))
    )
    assert set(answers) == {None}


@pytest.mark.usefixtures("anna")
async def test_attempts_made_at_once_count_before_any_has_failed(
    shop: UseCases, store: Store
) -> None:
    other = UseCases(store.unit_of_work, process=2)
    answers = await asyncio.gather(
        *(attempt(process) for _ in range(15) for process in (shop, other))
    )
    assert Counter(answers) == {
        WrongCredentials: WITH_NAME.free + 1,
        TooManyAttempts: 30 - WITH_NAME.free - 1,
    }


@pytest.mark.usefixtures("anna")
async def test_nobody_elsewhere_keeps_a_user_out_of_where_they_have_been(shop: UseCases) -> None:
    assert await attempt(shop, PASSWORD) is None
    await guess_until_throttled(shop, ELSEWHERE)
    # From home at once; from a third place the name has to wait.
    assert await attempt(shop, PASSWORD, address="203.0.113.9") is TooManyAttempts
    assert await attempt(shop, PASSWORD) is None


@pytest.mark.usefixtures("anna")
async def test_guessing_from_where_the_user_has_been_is_throttled_too(shop: UseCases) -> None:
    assert await attempt(shop, PASSWORD) is None
    assert await guess_until_throttled(shop, ADDRESS) == WITH_NAME.free + 1
    # But for that place only.
    assert await attempt(shop, PASSWORD, address=ELSEWHERE) is None


@pytest.mark.usefixtures("anna")
async def test_a_place_is_known_for_a_month(shop: UseCases) -> None:
    assert await attempt(shop, PASSWORD) is None
    shop.clock.advance(KNOWN_FOR - 60 * SECOND)
    await guess_until_throttled(shop, ELSEWHERE)
    assert await attempt(shop, PASSWORD) is None
    shop.clock.advance(KNOWN_FOR)
    await guess_until_throttled(shop, ELSEWHERE)
    assert await attempt(shop, PASSWORD) is TooManyAttempts


@pytest.mark.parametrize(
    ("addresses", "is_one"),
    [
        (["192.0.2.1"], True),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"], True),
        ([f"192.0.2.{n}" for n in range(40)], False),
    ],
)
async def test_one_address_that_tries_many_names_is_slowed_down(
    shop: UseCases, addresses: list[str], is_one: bool
) -> None:
    answers = [
        await attempt(shop, username=f"user-{n}", address=addresses[n % len(addresses)])
        for n in range(WITH_ADDRESS.free + 5)
    ]
    throttled = answers.count(TooManyAttempts)
    assert throttled == (4 if is_one else 0)


@pytest.mark.usefixtures("anna")
async def test_a_success_is_undone_at_its_address_and_forgives_no_failures_there(
    shop: UseCases,
) -> None:
    """An attacker's own account must not wipe the slate between guesses."""
    await shop.given_customer("mallory")
    for n in range(WITH_ADDRESS.free + 1):
        assert await attempt(shop, username=f"user-{n}") is WrongCredentials
        if n < WITH_ADDRESS.free - 1:
            assert await attempt(shop, PASSWORD, username="mallory") is None
    assert await attempt(shop, username="one more") is TooManyAttempts


@pytest.mark.usefixtures("anna")
async def test_old_attempts_are_purged_and_what_counts_is_kept(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "PURGED_PER_STEP", 2)
    assert await attempt(shop, PASSWORD) is None
    for n in range(5):
        await attempt(shop, username=f"user-{n}", address=ELSEWHERE)
    shop.clock.advance(KEPT_FOR + SECOND)
    await attempt(shop, username="somebody", address="203.0.113.9")
    before = await store.count("attempts")
    purged = await shop.purge_attempts(caller=OPERATOR)
    left = await store.count("attempts")
    # The known pair, and those of the last attempt.
    assert left <= 4
    assert (purged, await shop.purge_attempts(caller=OPERATOR)) == (before - left, 0)
    async with store.unit_of_work() as uow:
        key = AttemptKeys.of("anna", ADDRESS).pair
        assert (await uow.attempts.lock([key], shop.clock()))[key].is_known


@pytest.mark.usefixtures("anna")
async def test_a_purge_deletes_no_more_than_it_may(shop: UseCases, store: Store) -> None:
    assert await attempt(shop, PASSWORD) is None
    shop.clock.advance(KNOWN_FOR + SECOND)
    for limit, purged in ((2, 2), (2, 1), (2, 0)):
        async with store.unit_of_work() as uow:
            assert await uow.attempts.purge(shop.clock(), limit=limit) == purged
            await uow.commit()
    assert await store.count("attempts") == 0


async def test_a_purge_deletes_no_more_than_it_may_however_it_is_planned(
    shop: UseCases, store: Store
) -> None:
    """PostgreSQL may run a subquery once for each row, with another result each time."""
    now = shop.clock()
    async with store.unit_of_work() as uow:
        locked = await uow.attempts.lock([bytes([n]) for n in range(20)], now)
        failed = [one.begun(now, now).failed(now, now, WITH_NAME) for one in locked.values()]
        await uow.attempts.save(failed)
        await uow.commit()
    shop.clock.advance(KEPT_FOR + SECOND)
    async with store.unit_of_work() as uow:
        if isinstance(uow, PostgresUnitOfWork):
            for way in ("hashjoin", "mergejoin", "material", "hashagg", "sort"):
                await uow.connection.execute(text(f"SET LOCAL enable_{way} = off"))
        assert await uow.attempts.purge(shop.clock(), limit=3) == 3
        await uow.commit()
    assert await store.count("attempts") == 17


async def test_attempts_are_read_back_as_saved_and_new_where_there_are_none(
    shop: UseCases, store: Store
) -> None:
    now = shop.clock()
    async with store.unit_of_work() as uow:
        locked = await uow.attempts.lock([b"b", b"a"], now)
        assert {key: one.failures for key, one in locked.items()} == {b"a": 0, b"b": 0}
        failed = locked[b"a"].begun(now, now).failed(now, now, WITH_NAME)
        failed = failed.begun(now, now).begun(now + MOMENT, now)
        known = locked[b"b"].forgiven(now, now + SECOND, is_known=True)
        await uow.attempts.save([failed, known])
        await uow.commit()
    async with store.unit_of_work() as uow:
        assert await uow.attempts.lock([b"a", b"b"], now) == {b"a": failed, b"b": known}


async def test_many_who_come_back_after_a_while_do_not_lose_each_others_rows(
    shop: UseCases, store: Store
) -> None:
    """Each finds old attempts of its own, which a purge would like to have at the same time."""
    other = UseCases(store.unit_of_work, process=2)
    for _ in range(4):
        answers, _ = await asyncio.gather(
            asyncio.gather(
                *(
                    attempt(process, username=f"user-{n}", address=f"192.0.2.{n}")
                    for n in range(10)
                    for process in (shop, other)
                )
            ),
            asyncio.gather(
                *(
                    process.container.purge_attempts()(caller=OPERATOR)
                    for process in (shop, other) * 5
                )
            ),
        )
        assert set(answers) == {WrongCredentials}
        for process in (shop, other):
            process.clock.advance(KEPT_FOR + SECOND)


# --- other doors ---


async def test_a_wrong_current_password_is_throttled_like_a_sign_in(
    shop: UseCases, anna: Caller
) -> None:
    async def change(current: str) -> None:
        await shop.change_password(
            caller=anna, current=current, new="another password", address=ADDRESS
        )

    for _ in range(WITH_NAME.free + 1):
        with pytest.raises(InvalidField) as refused:
            await change("wrong")
        assert refused.value.context["errors"][0]["field"] == "current"
    for password in ("wrong", PASSWORD):
        with pytest.raises(TooManyAttempts):
            await change(password)
    fields = {"user": anna.user_id, "address": ADDRESS}
    assert shop.audit.events[-2:] == 2 * [("password.change_throttled", fields)]
    # The front door is another one.
    assert await attempt(shop, PASSWORD) is None
    shop.clock.advance(2 * SECOND)
    await change(PASSWORD)
    assert await attempt(shop, "another password") is None


async def test_registering_makes_customers_and_is_slowed_down(shop: UseCases) -> None:
    registered = await shop.register_user(username="bert", password=PASSWORD, address=ADDRESS)
    assert registered.role is Role.CUSTOMER
    assert await attempt(shop, PASSWORD, username="bert") is None
    with pytest.raises(UsernameTaken):
        await shop.register_user(username="bert", password=PASSWORD, address=ADDRESS)
    for n in range(WITH_NAME.free - 1):
        await shop.register_user(username=f"bert-{n}", password=PASSWORD, address=ADDRESS)
    with pytest.raises(TooManyAttempts):
        await shop.register_user(username="one-more", password=PASSWORD, address=ADDRESS)
    assert shop.audit.events[-1] == ("user.creation_throttled", {"address": ADDRESS})
    await shop.register_user(username="one-more", password=PASSWORD, address=ELSEWHERE)


async def test_registering_from_all_over_an_ipv6_network_is_slowed_down_as_from_one_host(
    shop: UseCases,
) -> None:
    hosts = (f"2001:db8::{n:x}" for n in range(1, 100))
    for n in range(WITH_NAME.free + 1):
        await shop.register_user(username=f"bert-{n}", password=PASSWORD, address=next(hosts))
    with pytest.raises(TooManyAttempts):
        await shop.register_user(username="one-more", password=PASSWORD, address=next(hosts))


async def test_a_closed_shop_registers_nobody(shop: UseCases, store: Store) -> None:
    closed = RegisterUser(
        throttle=shop.throttle_sign_in, create_user=shop.create_user, is_open=False
    )
    with pytest.raises(RegistrationClosed):
        await closed(username="bert", password=PASSWORD, address=ADDRESS)
    assert await store.count("attempts") == 0
    async with store.unit_of_work(read_only=True) as uow:
        assert await uow.users.find("bert") is None
