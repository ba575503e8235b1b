"""Deadlines of many waits, looked after by one timer."""

import asyncio
from collections.abc import Callable, Hashable
from math import inf
from types import TracebackType
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


class TimeLimits:
    """Time limits of what tasks do: `asyncio.timeout_at`, at a lower cost."""

    def __init__(self, why: str, error: Callable[[], Exception]) -> None:
        """`why` is what is told to whom the limit cancels, `error` what is raised in its place."""
        self.why, self.error = why, error
        self.deadlines = Deadlines[_TimeLimit](_TimeLimit.expire)

    def until(self, when: float) -> "_TimeLimit":
        """`with limits.until(when):`, in the time of the running loop. What is done in it is broken
        off when its time has come, and `error` is raised."""
        return _TimeLimit(self, when)


class _TimeLimit:
    __slots__ = ("_cancelling", "_has_expired", "_limits", "_task", "_when")

    def __init__(self, limits: TimeLimits, when: float) -> None:
        self._limits, self._when, self._has_expired = limits, when, False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._limits.deadlines.watch(self, self._when)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._has_expired:
            self._limits.deadlines.forget(self)
        # If somebody else cancelled the task as well, it stays cancelled.
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._limits.error() from None

    def expire(self) -> None:
        self._has_expired = True
        self._task.cancel(self._limits.why)
