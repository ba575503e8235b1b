"""Throttling: guessing gets slow, forgetting is free, and addresses are told apart sensibly."""

from datetime import datetime, timedelta

import pytest

from shop.domain.errors import TooManyAttempts
from shop.domain.throttling import (
    FORGOTTEN_AFTER,
    KEPT_FOR,
    KNOWN_FOR,
    OUTCOME_WITHIN,
    WITH_ADDRESS,
    WITH_NAME,
    AttemptKeys,
    Attempts,
    WaitRule,
    free_moment,
)
from tests.builders import NOON

SECOND = timedelta(seconds=1)
MOMENT = timedelta(microseconds=1)


def attempts(
    *,
    failures: int = 0,
    pending: tuple[datetime, ...] = (),
    seen_at: datetime = NOON,
    is_known: bool = False,
) -> Attempts:
    return Attempts(
        key=b"k", failures=failures, pending=pending, seen_at=seen_at, is_known=is_known
    )


def failing(counter: Attempts, now: datetime, rule: WaitRule = WITH_NAME) -> Attempts:
    """After one more attempt, which failed at once."""
    return counter.as_of(now, rule).begun(now, now).failed(now, now, rule)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (3, 0), (4, 2), (5, 4), (6, 8), (8, 32), (9, 60), (100, 60), (10**9, 60)],
)
def test_a_few_failures_are_free_and_then_the_wait_doubles_to_its_limit(
    failures: int, seconds: int
) -> None:
    rule = WaitRule(free=3, wait_max=timedelta(minutes=1))
    assert rule.wait_after(failures) == seconds * SECOND


def test_a_name_has_less_patience_than_an_address() -> None:
    assert WITH_NAME.free < WITH_ADDRESS.free
    assert WITH_NAME.wait_after(10**6) == timedelta(minutes=1)
    assert WITH_ADDRESS.wait_after(10**6) == timedelta(minutes=5)


# --- who may begin ---


def test_nobody_waits_who_did_not_fail_however_the_clocks_of_processes_differ() -> None:
    behind = NOON - SECOND
    begun = attempts().begun(NOON, NOON)
    for unblocked in (
        attempts(),
        begun,
        begun.withdrawn(NOON),
        begun.failed(NOON, NOON, WITH_NAME),
        begun.forgiven(NOON, NOON, is_known=True),
    ):
        unblocked.as_of(behind, WITH_NAME).check(behind)


@pytest.mark.parametrize("failures", range(10))
def test_as_many_may_begin_at_once_as_might_one_by_one(failures: int) -> None:
    counter = attempts(failures=failures)
    begun = 0
    while counter.has_room(WITH_NAME):
        counter = counter.begun(NOON + begun * MOMENT, NOON)
        begun += 1
    assert begun == max(1, WITH_NAME.free + 1 - failures)


def test_what_is_pending_blocks_nobody_and_a_failure_past_the_free_ones_does() -> None:
    pending = tuple(NOON + n * MOMENT for n in range(WITH_NAME.free + 1))
    counter = attempts(pending=pending)
    for number, began in enumerate(pending):
        counter.check(NOON)
        counter = counter.failed(began, NOON, WITH_NAME)
        assert (counter.failures, len(counter.pending)) == (number + 1, WITH_NAME.free - number)
    with pytest.raises(TooManyAttempts):
        counter.check(NOON)


def test_the_wait_is_told_rounded_up_and_ends_on_time() -> None:
    failed = failing(attempts(failures=WITH_NAME.free + 1), NOON)
    assert failed.blocked_until == NOON + 4 * SECOND
    for waited, left in ((timedelta(), 5), (SECOND / 2, 4), (3.5 * SECOND, 1)):
        with pytest.raises(TooManyAttempts) as refused:
            failed.check(NOON + waited)
        assert refused.value.retry_after == left
    failed.check(NOON + 4 * SECOND)


@pytest.mark.parametrize("back", [SECOND, timedelta(hours=1), timedelta(days=400)])
@pytest.mark.parametrize("rule", [WITH_NAME, WITH_ADDRESS])
def test_a_clock_that_is_set_back_makes_no_block_longer_than_its_maximum(
    rule: WaitRule, back: timedelta
) -> None:
    blocked = failing(attempts(failures=100), NOON, rule)
    then = NOON - back
    noticed = blocked.as_of(then, rule)
    with pytest.raises(TooManyAttempts) as refused:
        noticed.check(then)
    assert refused.value.retry_after <= rule.wait_max.total_seconds() + 1
    noticed.as_of(then + rule.wait_max, rule).check(then + rule.wait_max)


def test_a_host_whose_clock_is_ahead_does_not_end_the_blocks_of_others() -> None:
    blocked = failing(attempts(failures=100), NOON + 10 * SECOND).as_of(NOON, WITH_NAME)
    with pytest.raises(TooManyAttempts):
        blocked.check(NOON + WITH_NAME.wait_max - SECOND)


# --- outcomes ---


def test_failures_are_forgotten_after_a_while_without_any() -> None:
    old = attempts(failures=50)
    assert failing(old, NOON + FORGOTTEN_AFTER).failures == 51
    later = failing(old, NOON + FORGOTTEN_AFTER + SECOND)
    assert later.failures == 1
    later.check(NOON + FORGOTTEN_AFTER + SECOND)
    # Also if the attempt itself took so long.
    begun = old.begun(NOON, NOON)
    assert begun.failed(NOON, NOON + FORGOTTEN_AFTER, WITH_NAME).failures == 51
    assert begun.failed(NOON, NOON + FORGOTTEN_AFTER + MOMENT, WITH_NAME).failures == 1


def test_attempts_that_do_not_fail_do_not_keep_failures_from_being_forgotten() -> None:
    """Else an address that many share would never be forgiven a failure."""
    counter = attempts(failures=3)
    for minute in range(1, 17):
        now = NOON + minute * timedelta(minutes=1)
        counter = counter.as_of(now, WITH_ADDRESS).begun(now, now).withdrawn(now)
    assert counter.failures == 0


def test_a_success_forgets_all_failures_and_leaves_what_others_are_about() -> None:
    other = NOON - SECOND
    begun = attempts(failures=9, pending=(other,)).begun(NOON, NOON)
    forgiven = begun.forgiven(NOON, NOON, is_known=True)
    assert (forgiven.failures, forgiven.pending, forgiven.is_known) == (0, (other,), True)
    assert not begun.forgiven(NOON, NOON).is_known


def test_a_success_ends_a_block_and_is_when_the_pair_was_seen_last() -> None:
    blocked = attempts()
    while blocked.blocked_until <= NOON:
        blocked = failing(blocked, NOON)
    later = NOON + SECOND
    with pytest.raises(TooManyAttempts):
        blocked.as_of(later, WITH_NAME).check(later)
    forgiven = blocked.begun(NOON, NOON).forgiven(NOON, later, is_known=True)
    forgiven.as_of(later, WITH_NAME).check(later)
    assert forgiven.is_known_at(later + KNOWN_FOR - MOMENT)
    assert not forgiven.is_known_at(later + KNOWN_FOR)


def test_a_withdrawn_attempt_leaves_no_trace() -> None:
    for before in (attempts(), attempts(failures=9), attempts(pending=(NOON - SECOND,))):
        assert before.begun(NOON, NOON).withdrawn(NOON) == before


def test_an_attempt_without_an_outcome_has_failed_by_then_and_is_not_counted_again() -> None:
    begun = attempts().begun(NOON, NOON)
    assert begun.as_of(NOON + OUTCOME_WITHIN, WITH_NAME) == begun
    late = NOON + OUTCOME_WITHIN + MOMENT
    overdue = begun.as_of(late, WITH_NAME)
    assert (overdue.failures, overdue.pending) == (1, ())
    assert overdue.failed(NOON, late, WITH_NAME) == overdue
    # Nor does it wait for a clock that was set back.
    back = NOON - timedelta(days=1)
    assert begun.as_of(back, WITH_NAME).pending == ()


def test_attempts_that_nobody_finishes_block_from_when_they_failed() -> None:
    pending = tuple(NOON + n * MOMENT for n in range(WITH_NAME.free + 1))
    just_after = NOON + OUTCOME_WITHIN + SECOND
    with pytest.raises(TooManyAttempts):
        attempts(pending=pending).as_of(just_after, WITH_NAME).check(just_after)
    later = just_after + 2 * SECOND
    attempts(pending=pending).as_of(later, WITH_NAME).check(later)
    much_later = just_after + FORGOTTEN_AFTER
    assert attempts(pending=pending).as_of(much_later, WITH_NAME).failures == 0


def test_no_two_pending_attempts_have_the_same_moment() -> None:
    counters = [attempts(pending=(NOON, NOON + MOMENT)), attempts(pending=(NOON + 2 * MOMENT,))]
    assert free_moment(NOON, counters) == NOON + 3 * MOMENT
    assert free_moment(NOON + SECOND, counters) == NOON + SECOND


def test_24_hours_of_bursts_get_no_further_than_one_guess_at_a_time() -> None:
    """Whatever comes whenever something may begin; none of it waits for an outcome."""
    end = NOON + timedelta(hours=24)

    def guesses(at_once: int) -> list[int]:
        """How many are looked at, each time that any is."""
        counter, now, looked_at = attempts(), NOON, []
        while now < end:
            counter = counter.as_of(now, WITH_NAME)
            begun: list[datetime] = []
            while len(begun) < at_once and counter.has_room(WITH_NAME):
                began = free_moment(now, [counter])
                counter = counter.begun(began, now)
                begun.append(began)
            for began in begun:
                counter = counter.failed(began, now, WITH_NAME)
            looked_at.append(len(begun))
            now = max(now + SECOND / 10, counter.blocked_until)
        return looked_at

    bursts = guesses(at_once=200)
    assert bursts[0] == WITH_NAME.free + 1
    assert set(bursts[1:]) == {1}
    assert sum(bursts) == sum(guesses(at_once=1))
    assert sum(bursts) < 24 * 60 + WITH_NAME.free + 10


# --- what is known and what is forgotten ---


def test_a_pair_stays_known_when_it_fails_and_for_a_month() -> None:
    known = attempts(is_known=True)
    assert failing(known, NOON).is_known
    assert known.is_known_at(NOON + KNOWN_FOR - SECOND)
    assert not known.is_known_at(NOON + KNOWN_FOR)
    assert not attempts().is_known_at(NOON)


def test_a_known_pair_alone_judges_and_else_name_and_address_do() -> None:
    keys = AttemptKeys.of("anna", "192.0.2.1")
    assert keys.judges(is_known=True) == {keys.pair: WITH_NAME}
    assert keys.judges(is_known=False) == {keys.name: WITH_NAME, keys.address: WITH_ADDRESS}


def test_what_makes_no_difference_any_more_is_forgotten() -> None:
    assert not attempts().is_forgotten(NOON + KEPT_FOR)
    assert attempts().is_forgotten(NOON + KEPT_FOR + SECOND)
    assert not attempts(is_known=True).is_forgotten(NOON + KNOWN_FOR)
    assert attempts(is_known=True).is_forgotten(NOON + KNOWN_FOR + SECOND)


def test_nothing_is_forgotten_while_an_attempt_is_pending() -> None:
    """One may begin just before failures are forgotten."""
    begun_at = NOON + FORGOTTEN_AFTER
    begun = attempts(failures=1).as_of(begun_at, WITH_NAME).begun(begun_at, begun_at)
    assert not begun.is_forgotten(begun_at + OUTCOME_WITHIN)


def test_registering_is_counted_apart_from_signing_in() -> None:
    registering = AttemptKeys.of_registration("192.0.2.1")
    assert not set(registering.all) & set(AttemptKeys.of("anna", "192.0.2.1").all)
    assert AttemptKeys.of_registration("2001:db8::1") == AttemptKeys.of_registration("2001:db8::2")
    assert not set(registering.all) & set(AttemptKeys.of_registration("192.0.2.2").all)


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
