"""Turns: how much of one kind a single user may have under way at once, in this process."""

import asyncio
from weakref import WeakValueDictionary

from shop.domain.errors import Overloaded


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
        if not turns.locked():
            # At once, and without the cost of a timer.
            await turns.acquire()
            return turns
        try:
            async with asyncio.timeout(self._seconds_max):
                await turns.acquire()
        except TimeoutError:
            raise Overloaded("Too many of your requests are under way; try again.") from None
        return turns
