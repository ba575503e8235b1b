"""Shared reads: who asks while a read is under way waits for the next one, which serves all.

A read begins after all whom it answers have asked. So everybody sees what was answered before they
asked, as if each had read alone, and nothing is kept that could be stale.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from shop.adapters.deadlines import Deadlines
from shop.adapters.lines import Call, Line
from shop.adapters.work import Work, last_seen, work_under_way
from shop.domain.errors import Overloaded

Q = TypeVar("Q")
A = TypeVar("A")

Read = Callable[[Sequence[Q]], Awaitable[Sequence[A]]]
"""Answers each of some requests, in their order."""

NOBODY = 0


async def once_for_all(reads: Sequence[Callable[[], Awaitable[A]]]) -> Sequence[A]:
    """The answer of the first for all of them: in each line they are to read the same."""
    return [await reads[0]()] * len(reads)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    batch_max: int = 256
    queue_max: int = 4_096
    deadline: float = 8.0
    """Seconds from a call to its answer."""
    led_max: int = 1
    """How many reads that others may wait for are read at once on behalf of one asker."""


class ReadObserver:
    """Told what becomes of shared reads; this one does nothing with it."""

    def read_began(self, read: Work, carried: Sequence[Work]) -> None:
        """A read begins, as the work of one of `carried`, whose requests it answers."""

    def read_done(self, *, askers: int, seconds: float) -> None: ...

    def read_refused(self) -> None: ...


class ReadObservers(ReadObserver):
    """Each of several is told."""

    def __init__(self, *observers: ReadObserver) -> None:
        self._observers = observers

    def read_began(self, read: Work, carried: Sequence[Work]) -> None:
        for observer in self._observers:
            observer.read_began(read, carried)

    def read_done(self, *, askers: int, seconds: float) -> None:
        for observer in self._observers:
            observer.read_done(askers=askers, seconds=seconds)

    def read_refused(self) -> None:
        for observer in self._observers:
            observer.read_refused()


@dataclass(slots=True, eq=False)
class _Reading:
    """A read under way: it ends with the last of those who wait for it."""

    task: asyncio.Task[object]
    waiting: int
    is_over: bool = False
    is_broken_off: bool = False

    def hang_up(self) -> None:
        self.waiting -= 1
        if not self.waiting and not self.is_over:
            self.is_broken_off = self.task.cancel("nobody waits for this read any more")


@dataclass(slots=True, kw_only=True, eq=False)
class _Call(Call[Q, A]):
    asker: int
    reading: _Reading | None = None


class SharedReads(Generic[Q, A]):
    """Call it with a request. Requests of the same line are read together, one read at a time.

    A read that costs something is done on behalf of one of those who wait for it, its leader, and
    waits for its turn (`turns`). So it is led by somebody who leads no other: else a user whose
    turns are taken by slow reads would hold up whoever asks for the same as he does. Where nobody
    else is there, he waits in a line of his own.
    """

    def __init__(
        self,
        read: Read[Q, A],
        limits: ReadLimits | None = None,
        observer: ReadObserver | None = None,
    ) -> None:
        self._read = read
        self.limits = limits or ReadLimits()
        self._observer = observer or ReadObserver()
        self._lines: dict[tuple[Hashable, int], Line[_Call[Q, A]]] = {}
        self._deadlines = Deadlines[_Call[Q, A]](self._expire)
        self._leading: Counter[int] = Counter()
        self._waiting = 0

    async def __call__(self, request: Q, *, line: Hashable = None, asker: int = NOBODY) -> A:
        """The answer. Raises what the read does, and `Overloaded`.

        Who is cancelled leaves the read to the others; if there are none, it is broken off, so that
        one that is stuck holds up nobody who asks later.
        """
        if self._waiting >= self.limits.queue_max:
            self._observer.read_refused()
            raise Overloaded("Too many are waiting; try again shortly.")
        loop = asyncio.get_running_loop()
        call: _Call[Q, A] = _Call(
            request=request, answer=loop.create_future(), since=loop.time(), asker=asker
        )
        if call.work is not None and call.work.seen is not None:
            # A replica that lacks what one of them has seen could answer none of them; what others
            # have seen of another history, none could compare.
            line = (line, call.work.seen.history)
        self._join(call, line, NOBODY)
        self._deadlines.watch(call, call.since + self.limits.deadline)
        self._waiting += 1
        try:
            return await call.answer
        finally:
            self._waiting -= 1
            self._deadlines.forget(call)
            if call.reading is not None:
                call.reading.hang_up()

    @property
    def waiting(self) -> int:
        """How many wait, also for a read under way."""
        return self._waiting

    def _expire(self, call: _Call[Q, A]) -> None:
        if not call.answer.done():
            self._observer.read_refused()
            call.give_up("There was no answer in time")

    def _join(self, call: _Call[Q, A], name: Hashable, owner: int) -> None:
        key = (name, owner)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(
                partial(self._serve, name, owner),
                self.limits.batch_max,
                ended=partial(self._lines.pop, key),
            )
        line.add(call)

    async def _serve(self, name: Hashable, owner: int, batch: list[_Call[Q, A]]) -> None:
        leader = owner or next((call.asker for call in batch if self._may_lead(call.asker)), None)
        if leader is None:
            for call in batch:
                self._join(call, name, call.asker)
            return
        # The leader first: what is read once for all is read on behalf of the first.
        batch.sort(key=lambda call: call.asker != leader)
        self._tell(batch)
        self._leading[leader] += 1
        started = time.perf_counter()
        task = asyncio.current_task()
        assert task is not None
        reading = _Reading(task, len(batch))
        for call in batch:
            call.reading = reading
        try:
            answers = await self._read([call.request for call in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} requests")
        except asyncio.CancelledError:
            # If somebody else cancelled the task as well, it stays cancelled.
            if not reading.is_broken_off or task.cancelling() > 1:
                raise
        except Exception as error:
            for call in batch:
                call.fail(error)
        else:
            for call, answer in zip(batch, answers, strict=True):
                call.succeed(answer)
        finally:
            reading.is_over = True
            if reading.is_broken_off:
                task.uncancel()
            self._observer.read_done(askers=len(batch), seconds=time.perf_counter() - started)
            self._leading[leader] -= 1
            if not self._leading[leader]:
                del self._leading[leader]

    def _tell(self, batch: list[_Call[Q, A]]) -> None:
        """It is told of as the work of one of those whom it answers: a traced one, if there is."""
        works = [call.work for call in batch if call.work is not None]
        read = next((work for work in works if work.trace_id), works[0] if works else None)
        work_under_way.set(read)
        if read is not None:
            read.seen = last_seen(works)
            self._observer.read_began(read, works)

    def _may_lead(self, asker: int) -> bool:
        return asker == NOBODY or self._leading[asker] < self.limits.led_max
