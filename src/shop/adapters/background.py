"""Background work: tasks that a process does again and again while it serves.

A task that fails is tried again after growing pauses, and disturbs neither the process nor the
other tasks. Where one process is enough, the one that holds the task's lease does it: the others
ask for the lease now and then, and one of them gets it when the holder stops, fails or has died.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from shop.domain.backoff import growing, jittered
from shop.domain.errors import OutcomeUnknown, Unavailable
from shop.domain.ports import Clock, NewId, UnitOfWorkFactory

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.background")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """Something to run every so many seconds, counted from the end of one run to the next.

    A run must do no harm when it is done twice, or by two processes at once, or is cancelled in the
    middle: a lease makes that rare, not impossible. A process that was suspended, or whose database
    changed its clock, may have lost its lease and still be running.
    """

    name: str
    every: float
    run: Callable[[], Awaitable[object]]
    once: bool = True
    """Whether one of all the processes over the database is enough.

    When that one dies, another takes over after `every` and `timeout` seconds and a little more.
    """
    timeout: float = 60.0
    """Seconds a run may take; then it is cancelled, which counts as a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundTimes:
    """In seconds. Pauses are jittered: they are between half of what is said here and all of it."""

    first: float = 4.0
    """From the start to the first run: a process has requests to answer first."""
    failure: float = 1.0
    """After a first failure; it doubles with each further one in a row."""
    failure_max: float = 60.0
    standby_max: float = 60.0
    """How long at most until a process without the lease asks for it again."""
    lease_spare: float = 30.0
    """How much longer a lease is than from its taking to when its holder renews it."""
    stop: float = 3.0
    """How long a run under way may go on when the process stops."""
    clean_up: float = 2.0
    """How long what was cancelled may take to end, and giving up a lease."""


class BackgroundObserver:
    """Told what becomes of tasks; this one does nothing with it."""

    def task_succeeded(self, name: str, *, seconds: float) -> None: ...

    def task_failed(self, name: str, *, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """How a task does in this process."""

    name: str
    is_alive: bool
    """Whether it goes on; it also does while another process holds the lease."""
    failures: int
    """In a row, up to now."""
    last_success_at: datetime | None


@dataclass(slots=True, kw_only=True, eq=False)
class _Routine:
    task: PeriodicTask
    loop: asyncio.Task[None] | None = None
    is_waiting: bool = False
    has_lease: bool = False
    failures: int = 0
    last_success_at: datetime | None = None


class Background:
    """The tasks of one process, from `start` to `stop`."""

    def __init__(
        self,
        *,
        tasks: Sequence[PeriodicTask],
        unit_of_work: UnitOfWorkFactory,
        clock: Clock,
        new_id: NewId,
        times: BackgroundTimes | None = None,
        observer: BackgroundObserver | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._routines = [_Routine(task=task) for task in tasks]
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._holder = new_id()
        self._times = times or BackgroundTimes()
        self._observer = observer or BackgroundObserver()
        self._sleep = sleep
        self._stopping = False

    def start(self) -> None:
        for routine in self._routines:
            routine.loop = asyncio.create_task(self._repeat(routine), name=routine.task.name)
            routine.loop.add_done_callback(_report_death)

    async def stop(self) -> None:
        """End what waits at once, and what runs when its run is over or its time to stop is up."""
        self._stopping = True
        for routine in self._routines:
            if routine.loop is not None and routine.is_waiting:
                routine.loop.cancel()
        loops = [routine.loop for routine in self._routines if routine.loop is not None]
        running = await _unfinished(loops, within=self._times.stop)
        for loop in running:
            loop.cancel()
        await _unfinished(running, within=self._times.clean_up)
        await asyncio.gather(*(self._release_lease(routine) for routine in self._routines))

    @property
    def states(self) -> list[TaskState]:
        return [
            TaskState(
                name=routine.task.name,
                is_alive=routine.loop is not None and not routine.loop.done(),
                failures=routine.failures,
                last_success_at=routine.last_success_at,
            )
            for routine in self._routines
        ]

    @property
    def ended(self) -> list[str]:
        """The tasks that should go on and do not: their loop itself broke."""
        return [
            routine.task.name
            for routine in self._routines
            if routine.loop is not None and routine.loop.done() and not self._stopping
        ]

    async def _repeat(self, routine: _Routine) -> None:
        pause = jittered(self._times.first)
        while not self._stopping:
            routine.is_waiting = True
            await self._sleep(pause)
            routine.is_waiting = False
            pause = await self._take_turn(routine)

    async def _take_turn(self, routine: _Routine) -> float:
        """Run the task if that is for this process to do. The seconds until its next turn."""
        task, loop = routine.task, asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(task.timeout):
                if task.once:
                    routine.has_lease = await self._take_lease(task)
                    if not routine.has_lease:
                        return jittered(min(task.every, self._times.standby_max))
                await task.run()
        except (Exception, asyncio.CancelledError) as error:
            # It may also be something the run waited for that was cancelled: that is a failure.
            if _is_being_cancelled():
                raise asyncio.CancelledError from error
            self._observer.task_failed(task.name, seconds=loop.time() - started)
            return await self._recover(routine, error)
        routine.failures = 0
        routine.last_success_at = self._clock()
        self._observer.task_succeeded(task.name, seconds=loop.time() - started)
        return task.every

    async def _recover(self, routine: _Routine, error: BaseException) -> float:
        """Report a failure. The seconds until the next attempt."""
        times, task = self._times, routine.task
        pause = growing(times.failure, routine.failures, times.failure_max)
        routine.failures += 1
        about = {"task": task.name, "failures": routine.failures, "again_in": round(pause, 1)}
        if isinstance(error, Unavailable | OutcomeUnknown):
            # Of a store that is away, or went in the middle of a COMMIT, there is no more to know
            # than the sentence. What was done is done again without harm.
            logger.warning("task.failed", **about, error=str(error))
        else:
            logger.error("task.failed", **about, exc_info=error)
        # Another process may have what is missing here.
        await self._release_lease(routine)
        return pause

    async def _take_lease(self, task: PeriodicTask) -> bool:
        # It is renewed before the next run, so it has to last until then.
        seconds = task.timeout + task.every + self._times.lease_spare
        async with self._unit_of_work() as uow:
            is_ours = await uow.leases.take(
                task.name, holder=self._holder, lasting=timedelta(seconds=seconds)
            )
            await uow.commit()
        return is_ours

    async def _release_lease(self, routine: _Routine) -> None:
        if not routine.has_lease:
            return
        routine.has_lease = False
        # If it cannot be done, others wait until the lease expires.
        with suppress(Exception):
            async with asyncio.timeout(self._times.clean_up), self._unit_of_work() as uow:
                await uow.leases.release(routine.task.name, holder=self._holder)
                await uow.commit()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _unfinished(
    loops: Collection[asyncio.Task[None]], *, within: float
) -> Collection[asyncio.Task[None]]:
    """Those that have not ended after that many seconds."""
    if not loops:
        return loops
    _, unfinished = await asyncio.wait(loops, timeout=within)
    return unfinished


def _report_death(loop: asyncio.Task[None]) -> None:
    if not loop.cancelled() and (error := loop.exception()) is not None:
        logger.critical("task.ended", task=loop.get_name(), exc_info=error)
