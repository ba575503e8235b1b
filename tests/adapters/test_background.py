"""Background work alone: tasks made up for the test, over the store in memory, in no real time."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import ANY

import pytest

from shop.adapters.background import (
    Background,
    BackgroundObserver,
    BackgroundTimes,
    PeriodicTask,
    TaskState,
)
from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.system import utc_now
from shop.domain.errors import OutcomeUnknown, StoreUnavailable
from shop.domain.keys import KeyedRequest
from shop.domain.ports import UnitOfWork, UnitOfWorkFactory
from shop.domain.users import Caller
from tests.builders import NOON, FakeClock, numbered_ids
from tests.logged import fields_of
from tests.stores import Store, memory_store

TIMES = BackgroundTimes()
NOW = 0.01
"""Seconds that a test does wait."""

_processes = count(1)


@dataclass(frozen=True)
class Nap:
    seconds: float
    _over: asyncio.Future[None]

    def end(self) -> None:
        self._over.set_result(None)


class Naps:
    """A sleep that lasts until the test ends it, by the name of the task that sleeps."""

    def __init__(self) -> None:
        self._naps: dict[str, asyncio.Queue[Nap]] = defaultdict(asyncio.Queue)

    async def __call__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        nap = Nap(seconds, asyncio.get_running_loop().create_future())
        await self._naps[task.get_name()].put(nap)
        await nap._over

    async def of(self, name: str) -> Nap:
        """The next one, when it has begun."""
        return await asyncio.wait_for(self._naps[name].get(), timeout=10)

    async def end(self, name: str) -> Nap:
        """End the next one: the task takes its turn."""
        nap = await self.of(name)
        nap.end()
        return nap


class Chore:
    """Something to run, which can be told to fail or held up."""

    def __init__(self) -> None:
        self.runs = 0
        self.finished = 0
        self.failures: list[BaseException] = []
        """Raised by the next runs, one each."""
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> None:
        self.runs += 1
        self.begun.set()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.finished += 1

    def hold(self) -> None:
        self.open.clear()

    def task(self, name: str = "tidy", **options: Any) -> PeriodicTask:
        return PeriodicTask(name=name, run=self, **({"every": 600.0} | options))


@dataclass
class Notes(BackgroundObserver):
    seen: list[tuple[str, str]] = field(default_factory=list)

    def task_succeeded(self, name: str, *, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((name, "succeeded"))

    def task_failed(self, name: str, *, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((name, "failed"))


@dataclass(frozen=True, kw_only=True)
class Process:
    background: Background
    naps: Naps
    notes: Notes
    _asleep: dict[str, Nap] = field(default_factory=dict)

    async def turn(self, name: str = "tidy") -> float:
        """Let a task take its turn: how long it sleeps then."""
        nap = self._asleep.pop(name, None) or await self.naps.of(name)
        nap.end()
        self._asleep[name] = await self.naps.of(name)
        return self._asleep[name].seconds

    async def stop(self) -> None:
        await asyncio.wait_for(self.background.stop(), timeout=10)

    def state_of(self, name: str = "tidy") -> TaskState:
        [state] = [state for state in self.background.states if state.name == name]
        return state


def process(
    *tasks: PeriodicTask,
    unit_of_work: UnitOfWorkFactory | None = None,
    clock: FakeClock | None = None,
    notes: Notes | None = None,
    **times: float,
) -> Process:
    naps, notes = Naps(), notes or Notes()
    background = Background(
        tasks=tasks,
        unit_of_work=unit_of_work or memory_store().unit_of_work,
        clock=clock or FakeClock(),
        new_id=numbered_ids(next(_processes)),
        # Longer than any test waits: what should end at once must not wait for its bound.
        times=BackgroundTimes(**({"stop": 60.0} | times)),
        observer=notes,
        sleep=naps,
    )
    return Process(background=background, naps=naps, notes=notes)


@asynccontextmanager
async def running(one: Process) -> AsyncIterator[Naps]:
    one.background.start()
    try:
        yield one.naps
    finally:
        await one.stop()


@pytest.fixture
def chore() -> Chore:
    return Chore()


@pytest.fixture
def store() -> Store:
    return memory_store()


def failing(store: Store, *, is_away: Callable[[], bool]) -> UnitOfWorkFactory:
    """The store, which is away now and then."""
    assert store.memory is not None
    new = partial(MemoryUnitOfWork, database=store.memory)

    def unit_of_work(
        *,
        read_only: bool = False,
        caller: Caller | None = None,
        batch: bool = False,
        key: KeyedRequest | None = None,
        may_lag: bool = False,
        many: bool = False,
    ) -> UnitOfWork:
        if is_away():
            raise StoreUnavailable("The database is away.")
        return new(read_only=read_only)

    return unit_of_work


# --- again and again ---


async def test_a_task_runs_soon_after_the_start_and_then_again_and_again(chore: Chore) -> None:
    clock = FakeClock()
    one = process(chore.task(every=600.0), clock=clock)
    async with running(one) as naps:
        first = await naps.of("tidy")
        assert TIMES.first / 2 <= first.seconds <= TIMES.first
        assert (chore.runs, one.state_of().last_success_at) == (0, None)
        first.end()
        for runs in range(1, 4):
            nap = await naps.of("tidy")
            assert (nap.seconds, chore.runs) == (600.0, runs)
            nap.end()
    assert one.notes.seen[:3] == 3 * [("tidy", "succeeded")]
    assert one.state_of().last_success_at == NOON


async def test_each_task_has_a_rhythm_of_its_own() -> None:
    slow, quick = Chore(), Chore()
    one = process(slow.task("slow", every=600.0), quick.task("quick", every=5.0))
    async with running(one) as naps:
        for _ in range(4):
            await naps.end("quick")
        assert (await naps.of("quick")).seconds == 5.0
        assert (slow.runs, quick.runs) == (0, 4)


# --- failures ---


async def test_after_a_failure_pauses_grow_up_to_a_bound_until_one_succeeds(chore: Chore) -> None:
    chore.failures = [ValueError() for _ in range(40)]
    one = process(chore.task(every=600.0), failure=1.0, failure_max=60.0)
    async with running(one) as naps:
        await naps.end("tidy")
        for failures in range(1, 41):
            nap = await naps.of("tidy")
            longest = min(2.0 ** (failures - 1), 60.0)
            assert longest / 2 <= nap.seconds <= longest
            assert one.state_of().failures == failures
            nap.end()
        assert (await naps.of("tidy")).seconds == 600.0
        assert (one.state_of().failures, one.state_of().is_alive) == (0, True)
    assert one.notes.seen == 40 * [("tidy", "failed")] + [("tidy", "succeeded")]


async def test_a_failure_is_logged_once_with_its_traceback(
    chore: Chore, caplog: pytest.LogCaptureFixture
) -> None:
    chore.failures = [ZeroDivisionError("of nothing")]
    async with running(process(chore.task())) as naps:
        for _ in range(2):
            await naps.end("tidy")
        await naps.of("tidy")
    [record] = [r for r in caplog.records if r.name == "shop.background"]
    assert record.levelno == logging.ERROR
    assert fields_of(record) == {
        "event": "task.failed",
        "task": "tidy",
        "failures": 1,
        "again_in": ANY,
    }
    assert "ZeroDivisionError: of nothing" in caplog.text
    assert "test_background.py" in caplog.text


async def test_a_store_that_goes_away_in_a_commit_is_a_sentence_and_no_traceback(
    chore: Chore, caplog: pytest.LogCaptureFixture
) -> None:
    chore.failures = [OutcomeUnknown()]
    async with running(process(chore.task())) as naps:
        for _ in range(2):
            await naps.end("tidy")
        await naps.of("tidy")
    [record] = [r for r in caplog.records if r.name == "shop.background"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "its answer was lost" in fields_of(record)["error"]


async def test_a_store_that_is_away_is_a_sentence_and_no_traceback(
    chore: Chore, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    away = True
    one = process(chore.task(), unit_of_work=failing(store, is_away=lambda: away))
    async with running(one) as naps:
        await naps.end("tidy")
        nap = await naps.of("tidy")
        [record] = [r for r in caplog.records if r.name == "shop.background"]
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)
        assert "The database is away." in fields_of(record)["error"]
        assert (chore.runs, one.state_of().failures) == (0, 1)
        away = False
        nap.end()
        await naps.of("tidy")
        assert (chore.runs, one.state_of().failures) == (1, 0)


async def test_a_failing_task_and_a_hanging_one_leave_the_others_alone() -> None:
    fails, hangs, works = Chore(), Chore(), Chore()
    fails.failures = [RuntimeError() for _ in range(9)]
    hangs.hold()
    one = process(fails.task("fails"), hangs.task("hangs"), works.task("works"), stop=NOW)
    async with running(one) as naps:
        await naps.end("hangs")
        await hangs.begun.wait()
        for _ in range(4):
            await naps.end("fails")
            await naps.end("works")
        await naps.of("works")
        assert works.finished == 4
        assert all(state.is_alive for state in one.background.states)


async def test_a_run_that_hangs_is_cancelled_and_tried_again(
    chore: Chore, caplog: pytest.LogCaptureFixture
) -> None:
    chore.hold()
    one = process(chore.task(timeout=NOW))
    async with running(one) as naps:
        await naps.end("tidy")
        nap = await naps.of("tidy")
        assert nap.seconds <= TIMES.failure
        assert one.notes.seen == [("tidy", "failed")]
        assert "TimeoutError" in caplog.text
        chore.open.set()
        nap.end()
        await naps.of("tidy")
        assert chore.finished == 1


async def test_what_was_cancelled_inside_a_run_is_a_failure_like_any_other(chore: Chore) -> None:
    chore.failures = [asyncio.CancelledError()]
    one = process(chore.task())
    async with running(one) as naps:
        for _ in range(2):
            await naps.end("tidy")
        await naps.of("tidy")
        assert one.notes.seen == [("tidy", "failed"), ("tidy", "succeeded")]


async def test_a_task_that_ended_for_good_says_so_and_is_known_to_be_dead(
    chore: Chore, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Notes):
        def task_succeeded(self, name: str, *, seconds: float) -> None:
            raise OSError("no space left")

    other = Chore()
    one = process(chore.task(), other.task("other", once=False), notes=Broken())
    one.background.start()
    assert one.state_of().is_alive
    await one.naps.end("tidy")
    async with asyncio.timeout(10):
        while one.state_of().is_alive:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert one.state_of("other").is_alive
    assert one.background.ended == ["tidy"]
    await one.stop()
    assert one.background.ended == []
    [record] = [r for r in caplog.records if r.getMessage() == "task.ended"]
    assert (record.levelno, fields_of(record)["task"]) == (logging.CRITICAL, "tidy")


# --- stopping ---


async def test_stopping_ends_what_waits_at_once(chore: Chore) -> None:
    one = process(chore.task(), chore.task("other"))
    one.background.start()
    await one.naps.of("tidy")
    await one.stop()
    assert not any(state.is_alive for state in one.background.states)
    assert chore.runs == 0


async def test_stopping_before_a_task_took_its_first_step_is_fine(chore: Chore) -> None:
    one = process(chore.task())
    one.background.start()
    await one.stop()
    assert (one.state_of().is_alive, chore.runs) == (False, 0)


async def test_what_was_never_started_is_stopped_already(chore: Chore) -> None:
    one = process(chore.task())
    await one.stop()
    assert not one.state_of().is_alive


async def test_a_run_under_way_is_finished_before_it_stops_and_no_other_begins(
    chore: Chore,
) -> None:
    chore.hold()
    one = process(chore.task(every=0.0))
    one.background.start()
    await one.naps.end("tidy")
    await chore.begun.wait()
    stopping = asyncio.create_task(one.stop())
    await asyncio.wait([stopping], timeout=NOW)
    assert not stopping.done()
    chore.open.set()
    await stopping
    assert (chore.runs, chore.finished) == (1, 1)
    assert one.notes.seen == [("tidy", "succeeded")]


async def test_a_run_that_goes_on_too_long_is_cancelled(
    chore: Chore, caplog: pytest.LogCaptureFixture
) -> None:
    chore.hold()
    one = process(chore.task(), stop=NOW)
    one.background.start()
    await one.naps.end("tidy")
    await chore.begun.wait()
    await one.stop()
    assert not one.state_of().is_alive
    assert (chore.finished, one.notes.seen, caplog.text) == (0, [], "")


async def test_a_run_that_makes_an_error_of_being_cancelled_stops_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailable("interrupted") from None

    one = process(PeriodicTask(name="tidy", every=1, run=run), stop=NOW)
    one.background.start()
    await one.naps.end("tidy")
    await begun.wait()
    await one.stop()
    assert (one.state_of().is_alive, one.notes.seen, caplog.text) == (False, [], "")


async def test_a_run_that_will_not_be_cancelled_does_not_hold_up_the_stop() -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    one = process(PeriodicTask(name="tidy", every=1, run=run), stop=NOW, clean_up=NOW)
    one.background.start()
    await one.naps.end("tidy")
    await begun.wait()
    await one.stop()
    end.set()


async def test_it_stops_although_the_store_is_away(chore: Chore, store: Store) -> None:
    away = False
    one = process(chore.task(), unit_of_work=failing(store, is_away=lambda: away))
    one.background.start()
    await one.naps.end("tidy")
    await one.naps.of("tidy")
    away = True
    await one.stop()
    assert not one.state_of().is_alive


# --- once among many ---


async def test_what_is_enough_once_runs_in_one_process_and_the_rest_ask_again(
    store: Store,
) -> None:
    chores = [Chore() for _ in range(3)]
    processes = [process(each.task(), unit_of_work=store.unit_of_work) for each in chores]
    for one in processes:
        one.background.start()
    for _ in range(3):
        for one in processes:
            await one.naps.end("tidy")
    naps = [(await one.naps.of("tidy")).seconds for one in processes]
    assert [each.runs for each in chores] == [3, 0, 0]
    assert naps[0] == 600.0
    assert all(TIMES.standby_max / 2 <= nap <= TIMES.standby_max for nap in naps[1:])
    assert all(one.state_of().is_alive for one in processes)
    assert processes[1].notes.seen == []
    for one in processes:
        await one.stop()


async def test_what_every_process_has_to_do_runs_in_each(store: Store) -> None:
    chores = [Chore(), Chore()]
    for each in chores:
        one = process(each.task(once=False), unit_of_work=store.unit_of_work)
        async with running(one) as naps:
            await naps.end("tidy")
            await naps.of("tidy")
    assert [each.runs for each in chores] == [1, 1]
    assert await no_leases(store)


async def no_leases(store: Store) -> bool:
    assert store.memory is not None
    return not store.memory.tables.leases


@pytest.fixture
async def pair(store: Store) -> AsyncIterator[tuple[Process, Chore, Process, Chore]]:
    """A process that has the lease and has run its task once, and one that stands by."""
    chores = [Chore(), Chore()]
    holder, standby = (process(each.task(), unit_of_work=store.unit_of_work) for each in chores)
    for one in (holder, standby):
        one.background.start()
        await one.turn()
    assert [each.runs for each in chores] == [1, 0]
    yield holder, chores[0], standby, chores[1]
    for one in (holder, standby):
        await one.stop()


Pair = tuple[Process, Chore, Process, Chore]


async def test_when_the_process_with_the_lease_stops_another_takes_over(pair: Pair) -> None:
    holder, _, standby, chore = pair
    await holder.stop()
    assert await standby.turn() == 600.0
    assert chore.finished == 1


async def test_whoever_fails_gives_the_lease_up(pair: Pair) -> None:
    holder, failing, standby, chore = pair
    failing.failures = [OSError()]
    assert await holder.turn() <= TIMES.failure
    assert await standby.turn() == 600.0
    assert chore.finished == 1
    # The one that failed stands by from now on.
    assert TIMES.standby_max / 2 <= await holder.turn() <= TIMES.standby_max
    assert (failing.finished, holder.state_of().is_alive) == (1, True)


async def test_when_the_process_with_the_lease_has_died_another_waits_until_it_expires(
    pair: Pair, store: Store
) -> None:
    holder, before, standby, chore = pair
    for _ in range(2):
        assert await standby.turn() <= TIMES.standby_max
    await store.let_leases_expire()
    assert await standby.turn() == 600.0
    assert chore.finished == 1
    # It was only suspended, and finds out.
    assert await holder.turn() <= TIMES.standby_max
    assert before.finished == 1
    # Nor does it give up what is another's.
    await holder.stop()
    assert not await no_leases(store)


async def test_a_lease_outlasts_the_time_until_it_is_renewed(chore: Chore, store: Store) -> None:
    one = process(chore.task(every=600.0, timeout=60.0), unit_of_work=store.unit_of_work)
    async with running(one) as naps:
        await naps.end("tidy")
        await naps.of("tidy")
        assert store.memory is not None
        lease = store.memory.tables.leases["tidy"]
        assert 680 < (lease.expires_at - utc_now()).total_seconds() <= 690
    assert await no_leases(store)
