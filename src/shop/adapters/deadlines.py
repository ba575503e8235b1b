"""Deadlines of many waits, looked after by one timer."""

import asyncio
from collections.abc import Callable, Hashable
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """Calls `expire` with whatever is still watched when its time has come, and forgets it.

    A timer for each wait costs more than checking its caller's token: uvloop makes and destroys
    one, and hardly any ever fires. Here one is set, for the earliest deadline, and left alone when
    that wait ends; when it fires it looks at those who wait then. All of it belongs to one event
    loop.
    """

    def __init__(self, expire: Callable[[T], object]) -> None:
        self._expire = expire
        self._watched: dict[T, float] = {}
        self._timer: asyncio.Handle | None = None
        self._due = inf
        """When the timer fires; uvloop does not say it of a timer that is due at once."""

    def watch(self, item: T, until: float) -> None:
        """`until` is in the time of the running loop."""
        self._watched[item] = until
        if until < self._due:
            self._set(until)

    def forget(self, item: T) -> None:
        self._watched.pop(item, None)

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._look)
        self._due = when

    def _look(self) -> None:
        self._timer, self._due = None, inf
        now = asyncio.get_running_loop().time()
        late = [item for item, until in self._watched.items() if until <= now]
        for item in late:
            del self._watched[item]
        if self._watched:
            self._set(min(self._watched.values()))
        for item in late:
            self._expire(item)
