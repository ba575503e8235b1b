"""Limits on how often something may be done, kept in this process."""

import time
from collections.abc import Callable

from shop.domain.errors import TooManyRequests

USERS_MIN = 25_000
"""Who came last are remembered: at least so many users, at most twice as many."""
MINUTE = 60.0


class Bucket:
    """So many tokens a second come in, and so many there are at most, as at the start."""

    def __init__(
        self, a_second: float, at_most: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._a_second = a_second
        self._at_most = at_most
        self._now = now
        self._left = at_most
        self._since = now()

    def has_one(self) -> bool:
        now = self._now()
        self._left = min(self._left + (now - self._since) * self._a_second, self._at_most)
        self._since = now
        return self._left >= 1

    def take(self) -> bool:
        """Whether there was one to take."""
        if not self.has_one():
            return False
        self._left -= 1
        return True


class PerMinute:
    """A bucket of tokens for each user: so many a minute, and as many at once. 0 is no limit.

    Each process counts for itself, so that a request costs no database statement; with several
    processes a user may do that many times as much.
    """

    def __init__(self, count: int, now: Callable[[], float] = time.monotonic) -> None:
        # Seconds until a used-up token is there again.
        self._refill = MINUTE / count if count else 0.0
        self._now = now
        # When each user's bucket will be full again: all there is to know about it. Two
        # generations of them: keeping one in order costs each request a quarter more.
        self._young: dict[int, float] = {}
        self._old: dict[int, float] = {}

    def __call__(self, user_id: int) -> None:
        """Raises `TooManyRequests`."""
        if not self._refill:
            return
        now = self._now()
        full_at = self._young.get(user_id) or self._old.get(user_id, now)
        full_at = max(full_at, now) + self._refill
        if full_at - now > MINUTE:
            raise TooManyRequests(retry_after=int(full_at - now - MINUTE) + 1)
        self._young[user_id] = full_at
        if len(self._young) >= USERS_MIN:
            self._old, self._young = self._young, {}
