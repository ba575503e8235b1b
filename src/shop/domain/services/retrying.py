"""Trying again what lost a race: a use case that was refused for a passing reason did nothing."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from shop.domain.errors import WriteConflict

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS_MAX = 4
BACKOFF = 0.02
"""Seconds before the second attempt, about; it doubles from there."""


def retrying(use_case: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Try again, a few times, when another transaction won: deadlock, serialization, a stale plan.

    For what is one transaction.
    """

    @wraps(use_case)
    async def attempt(*args: P.args, **kwargs: P.kwargs) -> R:
        for number in range(1, ATTEMPTS_MAX):
            try:
                return await use_case(*args, **kwargs)
            except WriteConflict:
                await asyncio.sleep(BACKOFF * 2**number * random.uniform(0.5, 1))  # noqa: S311
        return await use_case(*args, **kwargs)

    return attempt
