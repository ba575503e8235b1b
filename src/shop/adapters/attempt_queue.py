"""Where attempts to sign in wait, in this process, for the outcome of those before them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from shop.domain.errors import OutcomeUnknown, Overloaded, TooManyAttempts, Unavailable
from shop.domain.ports import AttemptQueue
from shop.domain.throttling import MustWait

T = TypeVar("T")

ASKING_MAX = 4
"""Attempts that ask the store at once: they wait there for the same row, on connections that orders
need."""
WAITING_MAX = 200
WAIT_SECONDS_MAX = 10.0
# What other processes settle nobody tells us of: the first of a line looks again after a pause.
PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 1.0
SETTLE_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds between tries to store an outcome while the store is away; then it is too late."""

_Line = deque[asyncio.Event]


class ProcessAttemptQueue(AttemptQueue):
    """A line for each key. Only the first of a line asks the store, however many wait behind it."""

    def __init__(self) -> None:
        self._lines: dict[bytes, _Line] = {}
        self._asking = asyncio.Semaphore(ASKING_MAX)
        self._waiting = 0
        self._tasks: set[asyncio.Task[bool]] = set()

    async def admit(self, admit: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._ask(admit)
        except MustWait as wait:
            key = wait.key
        if self._waiting >= WAITING_MAX:
            raise Overloaded("Too many people are signing in; try again shortly.", retry_after=5)
        self._waiting += 1
        try:
            return await self._wait(admit, key)
        finally:
            self._waiting -= 1

    async def _ask(self, admit: Callable[[], Awaitable[T]]) -> T:
        async with self._asking:
            return await admit()

    def settled(self, keys: Collection[bytes]) -> None:
        for key in keys:
            if line := self._lines.get(key):
                line[0].set()

    async def settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        # A task of its own: the caller may have hung up, and may do so now.
        if not await asyncio.shield(self._start(_try_to(settle))):
            self._start(_keep_trying_to(settle))

    def _start(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _wait(self, admit: Callable[[], Awaitable[T]], key: bytes) -> T:
        give_up_at = asyncio.get_running_loop().time() + WAIT_SECONDS_MAX
        while True:
            with self._place_in(key) as (line, place):
                pause = PAUSE_SECONDS_MIN
                waits_for = key
                while waits_for == key:
                    await _turn(line, place, pause, give_up_at)
                    try:
                        return await self._ask(admit)
                    except MustWait as wait:
                        waits_for = wait.key
                    pause = min(pause * 2, PAUSE_SECONDS_MAX)
            key = waits_for

    @contextmanager
    def _place_in(self, key: bytes) -> Iterator[tuple[_Line, asyncio.Event]]:
        """A place at the end of the line; who leaves it first lets the next one look at once."""
        line = self._lines.setdefault(key, deque())
        place = asyncio.Event()
        line.append(place)
        try:
            yield line, place
        finally:
            was_first = line[0] is place
            line.remove(place)
            if not line:
                del self._lines[key]
            elif was_first:
                line[0].set()


async def _turn(line: _Line, place: asyncio.Event, pause: float, give_up_at: float) -> None:
    """Wait to be the first of the line, and then for an outcome or for the end of the pause."""
    loop = asyncio.get_running_loop()
    while True:
        left = give_up_at - loop.time()
        if left <= 0:
            raise TooManyAttempts(retry_after=1)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(pause, left) if line[0] is place else left):
                await place.wait()
        place.clear()
        if line[0] is place:
            return


async def _try_to(settle: Callable[[], Awaitable[None]]) -> bool:
    """Whether the outcome is stored."""
    try:
        await settle()
    except (Unavailable, OutcomeUnknown):
        return False
    return True


async def _keep_trying_to(settle: Callable[[], Awaitable[None]]) -> bool:
    for pause in SETTLE_PAUSES:
        await asyncio.sleep(pause)
        if await _try_to(settle):
            return True
    return False
