"""Password hashes: the right algorithm at the right cost, and bounded."""

import asyncio

import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import Type, extract_parameters

from shop.adapters import passwords
from shop.adapters.passwords import Argon2Hasher
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
