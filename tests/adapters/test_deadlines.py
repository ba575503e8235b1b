"""One timer for many deadlines: nobody expires early, late or twice."""

import asyncio
import time
from contextlib import suppress

import pytest

from shop.adapters.deadlines import Deadlines, TimeLimits

SOON = 0.02


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The server runs on uvloop, whose timers differ."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def expired() -> "asyncio.Queue[str]":
    return asyncio.Queue()


@pytest.fixture
def deadlines(expired: "asyncio.Queue[str]") -> Deadlines[str]:
    return Deadlines(expired.put_nowait)


def now() -> float:
    return asyncio.get_running_loop().time()


async def nothing_more(expired: "asyncio.Queue[str]") -> bool:
    """Whether nothing expires in twice the time that all deadlines here take."""
    try:
        await asyncio.wait_for(expired.get(), 4 * SOON)
    except TimeoutError:
        return True
    return False


async def test_what_is_watched_expires_once_and_not_before_its_time(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    until = now() + SOON
    deadlines.watch("a", until)
    assert await expired.get() == "a"
    assert now() >= until
    assert await nothing_more(expired)


async def test_what_is_forgotten_never_expires(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    deadlines.watch("a", now() + SOON)
    deadlines.forget("a")
    deadlines.forget("never watched")
    assert await nothing_more(expired)


async def test_the_rest_expires_when_the_earliest_was_forgotten(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    start = now()
    deadlines.watch("first", start + SOON)
    deadlines.watch("second", start + 2 * SOON)
    deadlines.forget("first")
    assert await expired.get() == "second"
    assert now() >= start + 2 * SOON


async def test_each_expires_at_its_own_time_in_whatever_order_they_came(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    start = now()
    for item, seconds in (("late", 2 * SOON), ("early", SOON), ("past", -1.0)):
        deadlines.watch(item, start + seconds)
    for item, seconds in (("past", -1.0), ("early", SOON), ("late", 2 * SOON)):
        assert await expired.get() == item
        assert now() >= start + seconds


async def test_what_is_watched_anew_has_its_new_deadline(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    start = now()
    deadlines.watch("a", start + SOON)
    deadlines.watch("a", start + 2 * SOON)
    assert await expired.get() == "a"
    assert now() >= start + 2 * SOON
    assert await nothing_more(expired)


async def test_it_goes_on_after_all_have_expired(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    for item in ("a", "b"):
        deadlines.watch(item, now() + SOON)
        assert await expired.get() == item


async def test_what_is_nearly_due_is_no_hindrance_to_others(
    deadlines: Deadlines[str], expired: "asyncio.Queue[str]"
) -> None:
    for item, seconds in (("soonest", 0.0003), ("past", -1.0), ("next", SOON)):
        deadlines.watch(item, now() + seconds)
    assert {await expired.get() for _ in range(3)} == {"soonest", "past", "next"}
    assert await nothing_more(expired)


# --- time limits of tasks ---


class TooLate(Exception):
    """What the limits below raise."""


@pytest.fixture
def limits() -> TimeLimits:
    return TimeLimits("it took too long", TooLate)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_is_done_in_time_goes_on(limits: TimeLimits) -> None:
    with limits.until(now() + SOON):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * SOON)


async def test_what_takes_too_long_is_broken_off_and_told_why(limits: TimeLimits) -> None:
    told: list[object] = []

    async def listen() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError as cancelled:
            told.extend(cancelled.args)
            raise

    with pytest.raises(TooLate), limits.until(now() + SOON):
        await listen()
    assert told == ["it took too long"]
    await asyncio.sleep(2 * SOON)


async def test_it_is_late_also_where_the_reason_gets_lost_on_the_way(limits: TimeLimits) -> None:
    async def forget() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    with pytest.raises(TooLate), limits.until(now() + SOON):
        await forget()


async def test_what_was_broken_off_and_answers_all_the_same_leaves_no_mark(
    limits: TimeLimits,
) -> None:
    task = asyncio.current_task()
    assert task is not None
    with limits.until(now() + SOON), suppress(asyncio.CancelledError):
        await for_ever()
    assert task.cancelling() == 0


async def test_of_two_limits_the_first_to_be_over_raises_its_error(limits: TimeLimits) -> None:
    other = TimeLimits("the other one", TimeoutError)
    with pytest.raises(TimeoutError), limits.until(now() + 60), other.until(now() + SOON):
        await for_ever()
    with pytest.raises(TooLate), limits.until(now() + SOON), other.until(now() + 60):
        await for_ever()


async def test_who_is_cancelled_by_somebody_else_stays_cancelled(limits: TimeLimits) -> None:
    async def work() -> None:
        with limits.until(now() + 60):
            await for_ever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("after", [-SOON / 4, SOON / 4], ids=["just before", "just after"])
async def test_who_is_cancelled_just_when_the_time_is_over_stays_cancelled(
    limits: TimeLimits, after: float
) -> None:
    until = now() + SOON

    async def work() -> None:
        with limits.until(until):
            await for_ever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(until + after, task.cancel)
    keep_the_loop_busy(2 * SOON)
    with pytest.raises(asyncio.CancelledError):
        await task


def keep_the_loop_busy(seconds: float) -> None:
    """So that what comes due meanwhile is done in one step."""
    time.sleep(seconds)
