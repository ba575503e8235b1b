"""Turns: how much of one kind may be under way at once, in this process or of a single user."""

import asyncio
from weakref import WeakValueDictionary

from shop.domain.errors import Overloaded


class Turns:
    """So many at once; who comes then waits for one to end, for a while."""

    def __init__(self, *, at_once: int, seconds_max: float) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._seconds_max = seconds_max

    @property
    def are_taken(self) -> bool:
        """Whether there is none left."""
        return self._turns.locked()

    async def take(self) -> asyncio.Semaphore:
        """What to release when it is over. Raises `Overloaded`."""
        busy = "Too many changes of many rows are under way; try again."
        return await _taken(self._turns, self._seconds_max, busy)


class UserTurns:
    """So many at once for each user; who has them all waits for one to end, for a while.

    A user who has none under way costs no memory: the turns live as long as somebody holds or
    awaits one.
    """

    def __init__(self, *, at_once: int, seconds_max: float) -> None:
        self._at_once = at_once
        self._seconds_max = seconds_max
        self._turns: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()

    async def take(self, user_id: int) -> asyncio.Semaphore:
        """What to release when it is over. Raises `Overloaded`."""
        turns = self._turns.get(user_id)
        if turns is None:
            turns = self._turns[user_id] = asyncio.Semaphore(self._at_once)
        busy = "Too many of your requests are under way; try again."
        return await _taken(turns, self._seconds_max, busy)


async def _taken(turns: asyncio.Semaphore, seconds_max: float, busy: str) -> asyncio.Semaphore:
    if not turns.locked():
        # At once, and without the cost of a timer.
        await turns.acquire()
        return turns
    try:
        async with asyncio.timeout(seconds_max):
            await turns.acquire()
    except TimeoutError:
        raise Overloaded(busy) from None
    return turns
