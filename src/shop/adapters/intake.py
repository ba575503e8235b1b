"""The intake: concurrent calls in a process become batches, so a hot row is locked once for many.

There is no timer. A call that finds nobody waiting is a batch of one at once; whatever queues up
while a batch is being served is the next one. Only one batch is under way in a process: two would
only wait for each other's locks. What somebody else holds locked, and what has to be decided again
since a COMMIT was lost, goes on in a second line, so that it holds up nobody else.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from shop.adapters.deadlines import Deadlines
from shop.adapters.lines import Call, Line
from shop.adapters.turns import Turns
from shop.adapters.work import Work, work_under_way
from shop.domain.backoff import growing
from shop.domain.errors import (
    Busy,
    LockTimeout,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
    WriteConflict,
)
from shop.domain.ports import IN_COMMIT

Q = TypeVar("Q")
A = TypeVar("A")
Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


class Handler(Protocol[Q_contra, A_co]):
    """Answers each request of a batch, in order; or raises, and then it has done nothing.

    It waits for the locks of these ids only, before it takes any other; None waits for all, and
    raises `LockTimeout` soon. When it has them it asks which requests are `still_wanted`, and
    leaves out the others. A request that needs what is locked is answered with `Busy`, one whose
    COMMIT was lost with `OutcomeUnknown`, one that has to be decided again with `WriteConflict`.
    """

    def __call__(
        self,
        requests: Sequence[Q_contra],
        *,
        wait_for: Collection[Hashable] | None,
        still_wanted: Callable[[], Sequence[bool]],
    ) -> Awaitable[Sequence[A_co | Exception]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    batch_max: int = 256
    queue_max: int = 4_096
    deadline: float = 8.0
    """Seconds from a call to its answer."""
    attempts_max: int = 4
    """How often a request is tried when the store refuses for a passing reason."""
    backoff: float = 0.02
    """Seconds before the second attempt, about; it doubles from there."""
    around: float = 1.0
    """Seconds for which batches go on around what is locked, once a lock was waited for in vain."""


class IntakeObserver:
    """Told what the intake does; this one does nothing with it."""

    def batch_done(self, *, size: int, seconds: float) -> None: ...

    def waited(self, seconds: float) -> None: ...

    def rejected(self, reason: str) -> None:
        """`full`, `closed`, `late`, or `locked`: somebody held for too long what it needs."""

    def retried(self) -> None: ...

    def attempt_began(self, batch: Work, carried: Sequence[Work]) -> None:
        """A batch begins to be decided, as work of its own. `carried` is whose requests it has."""

    def attempt_ended(self, batch: Work, error: BaseException | None) -> None:
        """It is decided, or failed as a whole with `error`. Its callers have no answer yet."""


class IntakeObservers(IntakeObserver):
    """Each of several is told."""

    def __init__(self, *observers: IntakeObserver) -> None:
        self._observers = observers

    def batch_done(self, *, size: int, seconds: float) -> None:
        for observer in self._observers:
            observer.batch_done(size=size, seconds=seconds)

    def waited(self, seconds: float) -> None:
        for observer in self._observers:
            observer.waited(seconds)

    def rejected(self, reason: str) -> None:
        for observer in self._observers:
            observer.rejected(reason)

    def retried(self) -> None:
        for observer in self._observers:
            observer.retried()

    def attempt_began(self, batch: Work, carried: Sequence[Work]) -> None:
        for observer in self._observers:
            observer.attempt_began(batch, carried)

    def attempt_ended(self, batch: Work, error: BaseException | None) -> None:
        for observer in self._observers:
            observer.attempt_ended(batch, error)


@dataclass(slots=True, kw_only=True, eq=False)
class _Call(Call[Q, A]):
    under_way: bool = False
    """Whether a batch with it has its locks, and may be committed at any moment."""
    lost: bool = False
    """Whether a COMMIT for it was lost, which may have been done."""
    waits_for: Hashable = None
    """What somebody else held locked when it was last tried."""

    def fail(self, error: BaseException) -> None:
        if self.lost and isinstance(error, Unavailable):
            error = OutcomeUnknown()
        # By name: a dataclass with slots is another class than the one `super()` means.
        Call.fail(self, error)

    def give_up(self, why: str) -> None:
        if self.lost or self.under_way:
            self.fail(OutcomeUnknown())
        else:
            Call.give_up(self, why)


class Intake(Generic[Q, A]):
    """Call it with a request; the handler is given the requests of a batch and answers each.

    Requests of a batch that failed as a whole are tried again in halves, so that one of them cannot
    fail its neighbours. `after_loss` makes of a request the one to repeat when its COMMIT was lost,
    or None of one that must not be: its caller is told that nobody knows.
    """

    def __init__(
        self,
        *,
        handle: Handler[Q, A],
        after_loss: Callable[[Q], Q | None] = lambda request: request,
        limits: IntakeLimits | None = None,
        observer: IntakeObserver | None = None,
        turns_of_many: Turns | None = None,
    ) -> None:
        """While one of `turns_of_many` is taken, much is locked, and gone around from the start."""
        self._handle = handle
        self._turns_of_many = turns_of_many
        self._after_loss = after_loss
        self._limits = limits or IntakeLimits()
        self._observer = observer or IntakeObserver()
        self._arriving = Line[_Call[Q, A]](self._serve, self._limits.batch_max)
        self._waiting = Line[_Call[Q, A]](self._serve_waiting, self._limits.batch_max)
        self._deadlines = Deadlines[_Call[Q, A]](self._expire)
        self._around_until = 0.0
        self._turn = 0
        self._closed = False
        # Unique among processes and hosts, and told apart at a glance.
        self._batch_ids = map(f"{os.urandom(4).hex()}-{{}}".format, itertools.count(1))

    async def __call__(self, request: Q) -> A:
        """The handler's answer. Raises its error, `Overloaded`, or `OutcomeUnknown`.

        A caller that is cancelled or runs into the deadline before its batch has all locks is never
        served; later it is served whole and the answer is dropped. Who is cancelled then gets a
        `CancelledError` with the message `IN_COMMIT`.
        """
        if self._closed or self.is_full:
            self._observer.rejected("closed" if self._closed else "full")
            raise Overloaded("Too many are waiting; try again shortly.")
        loop = asyncio.get_running_loop()
        call: _Call[Q, A] = _Call(request=request, answer=loop.create_future(), since=loop.time())
        self._arriving.add(call)
        self._deadlines.watch(call, call.since + self._limits.deadline)
        try:
            return await call.answer
        except asyncio.CancelledError:
            if call.lost or call.under_way:
                raise asyncio.CancelledError(IN_COMMIT) from None
            raise
        finally:
            self._deadlines.forget(call)

    @property
    def waiting(self) -> int:
        return len(self._arriving) + len(self._waiting)

    @property
    def is_full(self) -> bool:
        return self.waiting >= self._limits.queue_max

    @property
    def is_alive(self) -> bool:
        return self._arriving.is_alive and self._waiting.is_alive

    def _expire(self, call: _Call[Q, A]) -> None:
        if not call.answer.done():
            self._observer.rejected("late")
            call.give_up("No answer in time")

    async def close(self) -> None:
        """Refuse new calls and serve the waiting ones."""
        self._closed = True
        await self._arriving.drain()
        await self._waiting.drain()

    async def _serve(self, batch: list[_Call[Q, A]]) -> None:
        loop = asyncio.get_running_loop()
        # The event loop's own clock stands still between its turns.
        started, clock = loop.time(), time.perf_counter()
        for call in batch:
            self._observer.waited(started - call.since)
            if call.work is not None:
                call.work.batch_wait = started - call.since
        await self._answer(batch, self._decide)
        self._observer.batch_done(size=len(batch), seconds=time.perf_counter() - clock)

    async def _decide(self, batch: list[_Call[Q, A]]) -> None:
        """Wait a moment for all locks; where one is held for longer, go on around what is held."""
        loop = asyncio.get_running_loop()
        much_is_locked = self._turns_of_many is not None and self._turns_of_many.are_taken
        if loop.time() >= self._around_until and not much_is_locked:
            try:
                await self._attempt(batch, wait_for=None)
            except LockTimeout:
                self._around_until = loop.time() + self._limits.around
            else:
                return
        await self._attempt(batch, wait_for=())

    async def _serve_waiting(self, batch: list[_Call[Q, A]]) -> None:
        """Wait for what one of them needs, in turns, holding nothing; take what else is free."""
        batch = self._without_late(batch)
        if not batch:
            return
        held = list(dict.fromkeys(c.waits_for for c in batch if c.waits_for is not None))
        self._turn += 1
        wait_for = [held[self._turn % len(held)]] if held else []
        await self._answer(batch, partial(self._wait_on, wait_for=wait_for))
        if len(self._waiting) >= len(batch):
            # Nobody got on: what is free for a moment only is to be met at another moment.
            await self._pause(1)

    async def _wait_on(self, batch: list[_Call[Q, A]], *, wait_for: Collection[Hashable]) -> None:
        try:
            await self._attempt(batch, wait_for=wait_for)
        except LockTimeout:
            self._waiting.add(*batch)

    def _without_late(self, batch: list[_Call[Q, A]]) -> list[_Call[Q, A]]:
        """Those with time for one more attempt: who ends in the middle of it ends in doubt."""
        limits, now = self._limits, asyncio.get_running_loop().time()
        late = [c for c in batch if not c.lost and now > c.since + limits.deadline * 0.9]
        for call in late:
            self._observer.rejected("locked")
            call.give_up("Somebody else held what it needs for too long")
        return [call for call in batch if call not in late]

    async def _answer(
        self,
        batch: list[_Call[Q, A]],
        attempt: Callable[[list[_Call[Q, A]]], Awaitable[None]],
    ) -> None:
        """Attempt, with growing, jittered pauses while the failure is a passing one.

        What fails as a whole otherwise is tried in halves; a lone request's failure is its answer.
        """
        for number in range(1, self._limits.attempts_max + 1):
            batch = [call for call in batch if not call.answer.done()]
            try:
                if batch:
                    await attempt(batch)
                return
            except Exception as failure:
                error = failure
            alone = len(batch) == 1
            # A race may have been lost by one of many.
            will_pass = isinstance(error, Unavailable) and (
                alone or not isinstance(error, WriteConflict)
            )
            if not will_pass:
                break
            if number < self._limits.attempts_max:
                self._observer.retried()
                await self._pause(number)
        if alone or will_pass:
            self._fail(batch, error)
        else:
            half = len(batch) // 2
            self._observer.retried()
            for part in (batch[:half], batch[half:]):
                await self._answer(part, attempt)

    def _fail(self, batch: list[_Call[Q, A]], error: Exception) -> None:
        for call in batch:
            if call.lost and isinstance(error, Unavailable):
                # Until its deadline there is hope to find out.
                self._waiting.add(call)
            else:
                call.fail(error)

    async def _pause(self, attempts: int) -> None:
        await asyncio.sleep(growing(self._limits.backoff, attempts))

    async def _attempt(
        self, batch: list[_Call[Q, A]], *, wait_for: Collection[Hashable] | None
    ) -> None:
        batch_id = next(self._batch_ids)
        work = Work(batch_id=batch_id)
        work_under_way.set(work)
        carried = [call.work for call in batch if call.work is not None]
        for each in carried:
            each.batch_id = batch_id
        failure: BaseException | None = None

        def still_wanted() -> list[bool]:
            for call in batch:
                call.under_way = not call.answer.done()
            return [call.under_way for call in batch]

        try:
            self._observer.attempt_began(work, carried)
            answers = await self._handle(
                [call.request for call in batch], wait_for=wait_for, still_wanted=still_wanted
            )
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} requests")
        except BaseException as error:
            failure = error
            if isinstance(error, Exception):
                for call in batch:
                    call.under_way = False
            raise
        finally:
            if work.seen is not None:
                for each in carried:
                    each.seen = work.seen
            self._observer.attempt_ended(work, failure)
        for call, answer in zip(batch, answers, strict=True):
            call.under_way = False
            self._take(call, answer)

    def _take(self, call: _Call[Q, A], answer: A | Exception) -> None:
        match answer:
            case OutcomeUnknown():
                call.lost = True
                repeat = self._after_loss(call.request)
                if repeat is None:
                    call.fail(answer)
                else:
                    call.request = repeat
                    self._waiting.add(call)
            case Busy():
                call.waits_for = answer.held
                self._waiting.add(call)
            case WriteConflict():
                self._waiting.add(call)
            case Exception():
                call.fail(answer)
            case _:
                call.succeed(answer)
