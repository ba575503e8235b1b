"""Trying again what lost a race: a use case that was refused for a passing reason did nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from shop.domain.backoff import growing
from shop.domain.errors import ShopError, WriteConflict

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
                await asyncio.sleep(growing(BACKOFF, number))
        return await use_case(*args, **kwargs)

    return attempt


@contextmanager
def lost_by(taken: type[ShopError]) -> Iterator[None]:
    """What nobody had when it was looked for, and somebody has now: that race is lost, too.

    Raises `WriteConflict` in its place; the next attempt sees who has it.
    """
    try:
        yield
    except taken as error:
        raise WriteConflict("Another request was faster; try again.") from error
