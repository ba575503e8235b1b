"""Sessions: when a family is over, and what is stored of a token."""

from datetime import timedelta

import pytest

from shop.domain.sessions import (
    CLIENT_LENGTH_MAX,
    ISSUED_TOGETHER,
    RefreshToken,
    SessionFamily,
    describe_client,
    hash_token,
)
from tests.builders import NOON, order_id

DAY = timedelta(days=1)


def family(*, signed_out: bool = False) -> SessionFamily:
    return SessionFamily(
        id=order_id(1),
        user_id=1,
        started_at=NOON,
        last_used_at=NOON,
        expires_at=NOON + DAY,
        ends_at=NOON + 30 * DAY,
        ended_at=NOON + DAY if signed_out else None,
    )


def test_a_family_lasts_until_its_age_is_reached() -> None:
    assert not family().is_over(NOON + 30 * DAY - timedelta(microseconds=1))
    assert family().is_over(NOON + 30 * DAY)


def test_a_family_that_was_ended_is_over() -> None:
    assert family(signed_out=True).is_over(NOON + 2 * DAY)


def token(name: str, *, after: str | None, issued: timedelta = timedelta()) -> RefreshToken:
    return RefreshToken(
        token_hash=name.encode(),
        family_id=order_id(1),
        predecessor=after.encode() if after else None,
        issued_at=NOON + issued,
        expires_at=NOON + DAY,
    )


def test_a_token_retires_its_predecessor_and_siblings_of_another_time() -> None:
    first = token("first", after=None)
    used = token("used", after="first", issued=DAY)
    moment = timedelta(microseconds=1)
    for apart in (DAY - ISSUED_TOGETHER - moment, DAY + ISSUED_TOGETHER + moment, timedelta()):
        assert used.retires(token("sibling", after="first", issued=apart))
    for together in (DAY - ISSUED_TOGETHER, DAY, DAY + ISSUED_TOGETHER):
        assert not used.retires(token("sibling", after="first", issued=together))
    assert used.retires(first)
    assert not used.retires(used)
    assert not used.retires(token("cousin", after="second"))
    assert not used.retires(token("successor", after="used"))
    assert not first.retires(token("other", after=None, issued=DAY))


@pytest.mark.parametrize("token", ["", "abc", "\ud800", "x" * 100_000])
def test_any_token_has_a_hash_to_look_for(token: str) -> None:
    assert len(hash_token(token)) == 32


def test_the_token_is_not_in_its_hash() -> None:
    assert b"secret" not in hash_token("secret")
    assert hash_token("secret") != hash_token("secret ")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        ("curl/8.5", "curl/8.5"),
        ("Käse 🫖", "Käse 🫖"),
        ("a\nforged: line\x1b[2J\x00\ud800", "a?forged: line?[2J??"),
        ("x" * 500, "x" * CLIENT_LENGTH_MAX),
    ],
)
def test_a_client_is_called_what_it_says_as_far_as_that_can_be_shown(said: str, kept: str) -> None:
    assert describe_client(said) == kept
