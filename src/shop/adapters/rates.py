"""Limits on how often a user may do something, kept in this process."""

import time
from collections import OrderedDict
from collections.abc import Callable

from shop.domain.errors import TooManyRequests

USERS_MAX = 50_000
MINUTE = 60.0


class PerMinute:
    """A bucket of tokens for each user: so many a minute, and as many at once. 0 is no limit.

    Each process counts for itself, so that a request costs no database statement; with several
    processes a user may do that many times as much.
    """

    def __init__(self, count: int, now: Callable[[], float] = time.monotonic) -> None:
        # Seconds until a used-up token is there again.
        self._refill = MINUTE / count if count else 0.0
        self._now = now
        # When each user's bucket will be full again: all there is to know about it.
        self._full_at: OrderedDict[int, float] = OrderedDict()

    def __call__(self, user_id: int) -> None:
        """Raises `TooManyRequests`."""
        if not self._refill:
            return
        now = self._now()
        full_at = max(self._full_at.get(user_id, now), now) + self._refill
        if full_at - now > MINUTE:
            raise TooManyRequests(retry_after=int(full_at - now - MINUTE) + 1)
        self._full_at[user_id] = full_at
        self._full_at.move_to_end(user_id)
        if len(self._full_at) > USERS_MAX:
            self._full_at.popitem(last=False)
