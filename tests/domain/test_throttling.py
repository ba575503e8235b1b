"""Throttling: guessing gets slow, forgetting is free, and addresses are told apart sensibly."""

from datetime import timedelta

import pytest

from shop.domain.errors import TooManyAttempts
from shop.domain.throttling import (
    FORGOTTEN_AFTER,
    KNOWN_FOR,
    WITH_ADDRESS,
    WITH_NAME,
    AttemptKeys,
    Attempts,
    Patience,
)
from tests.builders import NOON

SECOND = timedelta(seconds=1)


def attempts(*, failures: int = 0, is_known: bool = False) -> Attempts:
    return Attempts(
        key=b"k", failures=failures, blocked_until=NOON, seen_at=NOON, is_known=is_known
    )


def test_nobody_waits_who_did_not_fail_however_the_clocks_of_processes_differ() -> None:
    behind = NOON - SECOND
    first = Attempts(key=b"k", seen_at=NOON)
    for unblocked in (
        first,
        first.failed(NOON, WITH_NAME),
        first.failed(NOON, WITH_NAME).undone(),
        first.failed(NOON, WITH_NAME).forgiven(NOON, is_known=True),
    ):
        unblocked.check(behind)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (3, 0), (4, 2), (5, 4), (6, 8), (8, 32), (9, 60), (100, 60), (10**9, 60)],
)
def test_a_few_failures_are_free_and_then_the_wait_doubles_to_its_limit(
    failures: int, seconds: int
) -> None:
    patience = Patience(free=3, wait_max=timedelta(minutes=1))
    assert patience.wait_after(failures) == seconds * SECOND


def test_a_name_has_less_patience_than_an_address() -> None:
    assert WITH_NAME.free < WITH_ADDRESS.free
    assert WITH_NAME.wait_after(10**6) == timedelta(minutes=1)
    assert WITH_ADDRESS.wait_after(10**6) == timedelta(minutes=5)


def test_the_wait_is_told_rounded_up_and_ends_on_time() -> None:
    failed = attempts(failures=WITH_NAME.free + 1).failed(NOON, WITH_NAME)
    assert failed.blocked_until == NOON + 4 * SECOND
    for waited, left in ((timedelta(), 5), (SECOND / 2, 4), (3.5 * SECOND, 1)):
        with pytest.raises(TooManyAttempts) as refused:
            failed.check(NOON + waited)
        assert refused.value.retry_after == left
    failed.check(NOON + 4 * SECOND)


def test_failures_are_forgotten_after_a_while_without_any() -> None:
    old = attempts(failures=50)
    assert old.failed(NOON + FORGOTTEN_AFTER, WITH_NAME).failures == 51
    later = old.failed(NOON + FORGOTTEN_AFTER + SECOND, WITH_NAME)
    assert later.failures == 1
    later.check(NOON + FORGOTTEN_AFTER + SECOND)


def test_a_success_forgets_all_or_undoes_one() -> None:
    failed = attempts(failures=9).failed(NOON, WITH_NAME)
    forgiven = failed.forgiven(NOON, is_known=True)
    assert (forgiven.failures, forgiven.is_known) == (0, True)
    forgiven.check(NOON)
    undone = failed.undone()
    assert undone.failures == 9
    undone.check(NOON)
    assert attempts().undone().failures == 0


def test_a_pair_stays_known_when_it_fails_and_for_a_month() -> None:
    known = attempts(is_known=True)
    assert known.failed(NOON, WITH_NAME).is_known
    assert known.is_known_at(NOON + KNOWN_FOR - SECOND)
    assert not known.is_known_at(NOON + KNOWN_FOR)
    assert not attempts().is_known_at(NOON)


def test_what_makes_no_difference_any_more_is_forgotten() -> None:
    assert not attempts().is_forgotten(NOON + FORGOTTEN_AFTER)
    assert attempts().is_forgotten(NOON + FORGOTTEN_AFTER + SECOND)
    assert not attempts(is_known=True).is_forgotten(NOON + KNOWN_FOR)
    assert attempts(is_known=True).is_forgotten(NOON + KNOWN_FOR + SECOND)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:DB8:0:0::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("unix", "unix", True),
        ("unix", "", False),
        ("\ud800", "x", False),
    ],
)
def test_addresses_are_told_apart_by_host_and_ipv6_by_network(
    one: str, other: str, same: bool
) -> None:
    first, second = AttemptKeys.of("anna", one), AttemptKeys.of("anna", other)
    assert first.name == second.name
    assert (first.address == second.address) is same
    assert (first.pair == second.pair) is same


def test_keys_neither_collide_nor_tell_what_was_typed() -> None:
    keys = [AttemptKeys.of("anna", "192.0.2.1").address]
    for name in ("anna", "anna\x00192.0.2.1", "192.0.2.1", "\ud800"):
        of_name = AttemptKeys.of(name, "192.0.2.1")
        keys += [of_name.name, of_name.pair]
    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {32}
    assert not any(b"anna" in key for key in keys)
