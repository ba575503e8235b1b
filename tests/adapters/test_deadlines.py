"""One timer for many deadlines: nobody expires early, late or twice."""

import asyncio

import pytest

from shop.adapters.deadlines import Deadlines

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
