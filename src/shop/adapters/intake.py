"""The intake: concurrent calls in a process become batches, so a hot row is locked once for many.

There is no timer. A call that finds nobody waiting is a batch of one at once; whatever queues up
while a batch is being served is the next one. Only one batch is under way in a process: two would
only wait for each other's locks.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shop.adapters.deadlines import Deadlines
from shop.domain.errors import Overloaded, ShopError, Unavailable, WriteConflict

Q = TypeVar("Q")
A = TypeVar("A")

_MAY_BE_DONE = "it may have been done all the same; repeat it under its id or key."


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    batch_max: int = 256
    queue_max: int = 4_096
    deadline: float = 8.0
    """Seconds from a call to its answer; past it the caller gets `Overloaded`."""
    attempts_max: int = 4
    """How often a request is tried when the store refuses for a passing reason."""
    backoff: float = 0.02
    """Seconds before the second attempt, about; it doubles from there."""


class IntakeObserver:
    """Told what the intake does; this one does nothing with it."""

    def batch_done(self, *, size: int, seconds: float) -> None: ...

    def waited(self, seconds: float) -> None: ...

    def rejected(self) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Call(Generic[Q, A]):
    request: Q
    answer: asyncio.Future[A]
    since: float


class Intake(Generic[Q, A]):
    """Call it with a request; the handler is given the requests of a batch and answers each.

    The handler returns an answer or a `ShopError` for each request, in order, or raises, and then
    it has done nothing. Requests of a batch that lost a race are tried again one by one, so that
    one of them cannot fail its neighbours.
    """

    def __init__(
        self,
        *,
        handle: Callable[[Sequence[Q]], Awaitable[Sequence[A | ShopError]]],
        limits: IntakeLimits | None = None,
        observer: IntakeObserver | None = None,
    ) -> None:
        self._handle = handle
        self._limits = limits or IntakeLimits()
        self._observer = observer or IntakeObserver()
        self._queue: deque[_Call[Q, A]] = deque()
        self._deadlines = Deadlines[_Call[Q, A]](self._expire)
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, request: Q) -> A:
        """The handler's answer. Raises its `ShopError`, or `Overloaded`.

        A caller that is cancelled or runs into the deadline while still queued is never served;
        once its batch has begun, it is served whole and the answer is dropped.
        """
        if self._closed or len(self._queue) >= self._limits.queue_max:
            self._observer.rejected()
            raise Overloaded("Too many are waiting; try again shortly.")
        loop = asyncio.get_running_loop()
        call: _Call[Q, A] = _Call(request=request, answer=loop.create_future(), since=loop.time())
        self._queue.append(call)
        if self._worker is None:
            self._worker = asyncio.create_task(self._serve_queue())
        self._deadlines.watch(call, call.since + self._limits.deadline)
        try:
            return await call.answer
        finally:
            self._deadlines.forget(call)

    def _expire(self, call: _Call[Q, A]) -> None:
        if not call.answer.done():
            self._observer.rejected()
            call.answer.set_exception(Overloaded("No answer in time: " + _MAY_BE_DONE))

    async def close(self) -> None:
        """Refuse new calls and serve the waiting ones."""
        self._closed = True
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def _serve_queue(self) -> None:
        batch: list[_Call[Q, A]] = []
        try:
            while batch := self._next_batch():
                await self._serve(batch)
        finally:
            self._worker = None
            # None are left, unless this task was cancelled or broke; then nobody may wait in vain.
            for call in (*batch, *self._queue):
                if not call.answer.done():
                    call.answer.set_exception(Unavailable("Interrupted: " + _MAY_BE_DONE))
            self._queue.clear()

    def _next_batch(self) -> list[_Call[Q, A]]:
        batch: list[_Call[Q, A]] = []
        while self._queue and len(batch) < self._limits.batch_max:
            call = self._queue.popleft()
            if not call.answer.done():
                batch.append(call)
        return batch

    async def _serve(self, batch: list[_Call[Q, A]]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for call in batch:
            self._observer.waited(started - call.since)
        await self._answer(batch)
        self._observer.batch_done(size=len(batch), seconds=loop.time() - started)

    async def _answer(self, batch: list[_Call[Q, A]]) -> None:
        """Attempt, with growing, jittered pauses while the failure is a passing one.

        What fails as a whole otherwise is tried one by one; a lone request's failure is its answer.
        """
        limits = self._limits
        for attempt in range(1, limits.attempts_max + 1):
            batch = [call for call in batch if not call.answer.done()]
            try:
                await self._attempt(batch)
                return
            except Exception as failure:
                error = failure
            alone = len(batch) == 1
            away = isinstance(error, Unavailable) and not isinstance(error, WriteConflict)
            if not (away or (alone and isinstance(error, Unavailable))):
                break
            if attempt < limits.attempts_max:
                await asyncio.sleep(limits.backoff * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
        if alone or away:
            for call in batch:
                if not call.answer.done():
                    call.answer.set_exception(error)
        else:
            for call in batch:
                await self._answer([call])

    async def _attempt(self, batch: list[_Call[Q, A]]) -> None:
        if not batch:
            return
        answers = await self._handle([call.request for call in batch])
        if len(answers) != len(batch):
            raise RuntimeError(f"{len(answers)} answers to {len(batch)} requests")
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, ShopError):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)
