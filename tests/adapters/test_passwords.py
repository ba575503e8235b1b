"""Password hashes: the right algorithm at the right cost, and bounded."""

import asyncio
import os
import sys

import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import Type, extract_parameters

from shop.adapters import passwords
from shop.adapters.passwords import Argon2Hasher, is_common_password
from shop.domain.errors import Overloaded
from tests.builders import PASSWORD


@pytest.fixture(scope="module")
def hasher() -> Argon2Hasher:
    return Argon2Hasher()


async def test_hashes_are_argon2id_as_owasp_has_it(hasher: Argon2Hasher) -> None:
    parameters = extract_parameters(await hasher.hash(PASSWORD))
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert parameters.hash_len >= 16
    assert parameters.salt_len >= 16


async def test_a_password_fits_its_own_hash_only(hasher: Argon2Hasher) -> None:
    hashed = await hasher.hash(PASSWORD)
    assert await hasher.verify(PASSWORD, hashed)
    assert not await hasher.verify(PASSWORD + " ", hashed)
    assert not await hasher.verify("", hashed)


async def test_the_same_password_has_another_hash_each_time(hasher: Argon2Hasher) -> None:
    assert await hasher.hash(PASSWORD) != await hasher.hash(PASSWORD)


@pytest.mark.parametrize("password", [PASSWORD, "", "nobody has this password", "ключ 🔑"])
async def test_nobody_has_a_password(hasher: Argon2Hasher, password: str) -> None:
    assert not await hasher.verify(password, None)


async def test_an_unknown_user_costs_the_work_of_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked: list[tuple[int, int, int]] = []
    real = Argon2.verify

    def noted(argon2: Argon2, hashed: str, password: str) -> bool:
        parameters = extract_parameters(hashed)
        worked.append((parameters.memory_cost, parameters.time_cost, parameters.parallelism))
        return real(argon2, hashed, password)

    monkeypatch.setattr(Argon2, "verify", noted)
    hasher = Argon2Hasher()
    await hasher.verify(PASSWORD, await hasher.hash("something else"))
    await hasher.verify(PASSWORD, None)
    assert worked == [(19456, 2, 1)] * 2


async def test_a_password_that_is_no_text_fits_nothing(hasher: Argon2Hasher) -> None:
    for hashed in (None, await hasher.hash(PASSWORD), DJANGOS[PASSWORD][1]):
        assert not await hasher.verify("\ud800", hashed)


@pytest.mark.parametrize("hashed", ["", "x", "$argon2id$v=19$broken", "plain:password"])
async def test_what_is_no_hash_fits_no_password(hasher: Argon2Hasher, hashed: str) -> None:
    assert not await hasher.verify(PASSWORD, hashed)


async def test_too_many_at_once_are_sent_away_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    hasher = Argon2Hasher(concurrent_max=1)
    answers = await asyncio.gather(
        *(hasher.verify(PASSWORD, None) for _ in range(5)), return_exceptions=True
    )
    assert answers[:3] == [False] * 3
    assert [type(answer) for answer in answers[3:]] == [Overloaded, Overloaded]
    assert not await hasher.verify(PASSWORD, None)


async def test_hashing_does_not_hold_up_the_event_loop(hasher: Argon2Hasher) -> None:
    hashing = asyncio.create_task(hasher.hash(PASSWORD))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


# Made by Django 5.2's hashers of these names, with their defaults.
DJANGOS = {
    PASSWORD: [
        "pbkdf2_sha256$1000000$oHgZhz2OBr4yJkYHQz0b9X$S5mgTrHqV4+hnJeufK1c24WLvLXau6hjVfQjieD4ZCo=",
        "scrypt$16384$fMeeRY4OXH3tT6BAGqD5jB$8$5$lAlGfmsIRqvfPmz+FP9xEVxD4OAezLKDBz0d4YyS7dvARWPmK"
        "oGAD4UNn86pKiezkLM7XVHkNNsRF4hWOjFAMg==",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$ZEgzU1c2OGF1SEEyT21acUYyNEhzWg$gxE7IBWOVzqWW+5xvSM"
        "UC1+oFAmpeEhLHOKMEZQOb+I",
    ],
    "ключ 🔑 für alle": [
        "pbkdf2_sha256$1000000$0thREu4Gf6ZZ7fbwjy8fPH$yybQmwCtuA9WNNP9l8mVvGdQqQqeJ5wM6PbAGNiWWPM=",
        "scrypt$16384$EfBztn8leYpUZZQ4AQKBVp$8$5$u+s9AKwqTelgm7f/o5cu4uOhvI/6hlyN/56/tNlMd3ZuPEgbN"
        "pXG5OKw5TqcxI03l+Wgp6/yaz/xsaIGDgC3rw==",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$SnVQbkt4QWdqTmFhQ3hmbXdjWmtWbw$U3dSTHTFldS7P07LBg6/"
        "Jj0jXMViBaPUa9AkIRDN4mg",
    ],
}
DJANGO_HASHES = [(password, hashed) for password in DJANGOS for hashed in DJANGOS[password]]


@pytest.mark.parametrize(("password", "hashed"), DJANGO_HASHES)
async def test_hashes_that_django_made_fit_and_are_outdated(
    hasher: Argon2Hasher, password: str, hashed: str
) -> None:
    assert await hasher.verify(password, hashed)
    assert not await hasher.verify(password + " ", hashed)
    assert hasher.is_outdated(hashed)


@pytest.mark.parametrize("hashed", [hashed for _, hashed in DJANGO_HASHES])
def test_hashes_that_django_made_are_readable(hasher: Argon2Hasher, hashed: str) -> None:
    assert hasher.is_readable(hashed)


async def test_its_own_hashes_are_readable(hasher: Argon2Hasher) -> None:
    assert hasher.is_readable(await hasher.hash(PASSWORD))


@pytest.mark.parametrize(
    "hashed",
    [
        "pbkdf2_sha256$10000001$salt$hZ3mzLwUeqXNxE9YVJwH2BMO2kSZgBu7DIcDOdnGsTU=",
        f"scrypt$2097152$salt$8$1${'A' * 86}==",
        f"scrypt$16384$salt$8$65${'A' * 86}==",
        "argon2$argon2id$v=19$m=2097152,t=2,p=8$ZEgzU1c2OGF1SEEyT21acUYyNEhzWg$gxE7IBWOVzqWW+5xvSM",
        "argon2$argon2id$v=19$m=1024,t=101,p=8$ZEgzU1c2OGF1SEEyT21acUYyNEhzWg$gxE7IBWOVzqWW+5xvSM",
        f"pbkdf2_sha256$1000${'s' * 255}$hZ3mzLwUeqXNxE9YVJwH2BMO2kSZgBu7DIcDOdnGsTU=",
    ],
)
def test_a_hash_that_would_take_for_ever_is_unreadable(hasher: Argon2Hasher, hashed: str) -> None:
    assert not hasher.is_readable(hashed)


async def test_only_hashes_of_another_kind_or_cost_are_outdated(hasher: Argon2Hasher) -> None:
    assert not hasher.is_outdated(await hasher.hash(PASSWORD))
    weaker = Argon2(time_cost=1, memory_cost=8, parallelism=1, type=Type.ID).hash(PASSWORD)
    assert await hasher.verify(PASSWORD, weaker)
    for hashed in (weaker, "", "x", "!unusable"):
        assert hasher.is_outdated(hashed)


BROKEN = [
    "!1INQHfd9QEQ9KHFLquJVNUr27bwktQBMUfzqC5K4",
    "pbkdf2_sha1$1000000$9YotlsqNq00INNziX1KfWq$7IgbCXneUwWruS257rib/ckOyNI=",
    "pbkdf2_sha256$x$salt$hash",
    "pbkdf2_sha256$0$salt$hash",
    "pbkdf2_sha256$1$salt",
    "pbkdf2_sha256$1$salt$ключ",
    "scrypt$15$salt$8$1$hash",
    "scrypt$0$salt$8$1$hash",
    "scrypt$2$salt$-8$1$hash",
    "argon2$argon2id$broken",
    "pbkdf2_sha256$99999999999999999999$salt$hash",
    "md5$salt$hash",
]


@pytest.mark.parametrize("hashed", BROKEN)
def test_a_hash_that_is_unusable_or_broken_is_not_readable(
    hasher: Argon2Hasher, hashed: str
) -> None:
    assert not hasher.is_readable(hashed)


@pytest.mark.parametrize("hashed", BROKEN)
async def test_a_hash_that_is_unusable_or_broken_fits_nothing(
    hasher: Argon2Hasher, hashed: str
) -> None:
    for password in (PASSWORD, "", "hash"):
        assert not await hasher.verify(password, hashed)


@pytest.mark.parametrize(
    ("password", "is_common"),
    [
        ("password", True),
        ("Password", True),
        ("PASSWORD", True),
        ("12345678", True),
        ("iloveyou", True),
        (PASSWORD, False),
        ("", False),
        ("\ud800", False),
    ],
)
def test_what_everybody_has_is_common_whatever_its_case(password: str, is_common: bool) -> None:
    assert is_common_password(password) is is_common


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads priorities (issue 5)")
def test_hashing_leaves_the_processor_to_orders() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    hasher = Argon2Hasher(concurrent_max=1)
    of_thread = hasher._threads.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
    assert of_thread == min(own + 10, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
