"""Limits per minute: as many at once, then a trickle; each user for themselves."""

import pytest

from shop.adapters import rates
from shop.adapters.rates import PerMinute
from shop.domain.errors import TooManyRequests


class Stopwatch:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def allowed(limit: PerMinute, user_id: int = 1) -> int:
    for count in range(1000):
        try:
            limit(user_id)
        except TooManyRequests:
            return count
    return 1000


def test_a_minutes_worth_may_come_at_once_and_then_it_trickles() -> None:
    watch = Stopwatch()
    limit = PerMinute(6, watch)
    assert allowed(limit) == 6
    watch.seconds += 10
    assert allowed(limit) == 1
    watch.seconds += 35
    assert allowed(limit) == 3
    watch.seconds += 3600
    assert allowed(limit) == 6


def test_the_wait_that_is_told_is_long_enough_and_refusals_cost_nothing() -> None:
    watch = Stopwatch()
    limit = PerMinute(6, watch)
    allowed(limit)
    for _ in range(100):
        with pytest.raises(TooManyRequests) as refused:
            limit(1)
    assert 10 <= refused.value.retry_after <= 11
    watch.seconds += refused.value.retry_after
    limit(1)


def test_users_do_not_share_a_limit() -> None:
    limit = PerMinute(6, Stopwatch())
    assert [allowed(limit, user) for user in (1, 2)] == [6, 6]


def test_zero_is_no_limit() -> None:
    assert allowed(PerMinute(0, Stopwatch())) == 1000


def test_only_so_many_users_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "USERS_MIN", 2)
    limit = PerMinute(1, Stopwatch())
    for user in (1, 2, 3, 4, 5):
        limit(user)
    assert [allowed(limit, user) for user in (3, 4, 5)] == [0, 0, 0]
    assert allowed(limit, 1) == 1
