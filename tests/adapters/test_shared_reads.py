"""Shared reads alone, with a reader made up for the test."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

import pytest

from shop.adapters.shared_reads import (
    ReadLimits,
    ReadObserver,
    ReadObservers,
    SharedReads,
    once_for_all,
)
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import Overloaded, StoreUnavailable

ANN, BOB = 1, 2


class Shelf:
    """A reader that can be held up and told to fail; it answers with what is there by then."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.written = 0
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()

    async def __call__(self, requests: Sequence[str]) -> Sequence[str]:
        self.batches.append(list(requests))
        self.begun.set()
        seen = self.written
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        return [f"{request} {seen}" for request in requests]

    def hold(self) -> None:
        self.open.clear()
        self.begun.clear()


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


Asking = asyncio.Task[str]


def ask(
    shared: SharedReads[str, str], *requests: str, line: Hashable = None, asker: int = 0
) -> list[Asking]:
    async def one(request: str) -> str:
        return await shared(request, line=line, asker=asker)

    return [asyncio.create_task(one(request)) for request in requests]


async def held_up(shared: SharedReads[str, str], shelf: Shelf, *waiting: str) -> list[Asking]:
    """One that is being read and does not end, and others who came meanwhile."""
    shelf.hold()
    tasks = ask(shared, "first")
    await shelf.begun.wait()
    tasks += ask(shared, *waiting)
    await asyncio.sleep(0)
    return tasks


async def outcomes(*tasks: Asking) -> list[str | BaseException]:
    """None may be left waiting."""
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_lone_reader_waits_for_nobody(shelf: Shelf) -> None:
    assert await SharedReads(shelf)("a") == "a 0"
    assert shelf.batches == [["a"]]


async def test_who_comes_during_a_read_waits_for_the_next_one_with_all_others(
    shelf: Shelf,
) -> None:
    tasks = await held_up(SharedReads(shelf), shelf, "a", "b", "a")
    shelf.open.set()
    assert await outcomes(*tasks) == ["first 0", "a 0", "b 0", "a 0"]
    assert shelf.batches == [["first"], ["a", "b", "a"]]


async def test_a_read_shows_what_was_written_before_it_was_asked_for(shelf: Shelf) -> None:
    """Who asks during a read must not get its answer: it may not see what they have seen."""
    shared = SharedReads(shelf)
    [early] = await held_up(shared, shelf)
    shelf.written = 1
    [late] = ask(shared, "first")
    shelf.open.set()
    assert await outcomes(early, late) == ["first 0", "first 1"]


async def test_a_failing_read_fails_its_askers_with_its_error_and_nobody_else(
    shelf: Shelf,
) -> None:
    shared = SharedReads(shelf)
    first, *others = await held_up(shared, shelf, "a", "b")
    shelf.failures = [StoreUnavailable("gone")]
    shelf.open.set()
    failed, *answered = await outcomes(first, *others)
    assert isinstance(failed, StoreUnavailable)
    assert answered == ["a 0", "b 0"]
    assert await shared("again") == "again 0"


async def test_who_hangs_up_leaves_the_read_to_the_others(shelf: Shelf) -> None:
    tasks = await held_up(SharedReads(shelf), shelf, "a", "b")
    for task in tasks[:2]:
        task.cancel()
    await asyncio.sleep(0)
    shelf.open.set()
    *_, answer = await outcomes(*tasks)
    assert answer == "b 0"
    assert shelf.batches == [["first"], ["b"]]


async def test_what_nobody_waits_for_any_more_is_not_read_and_leaves_nothing(
    shelf: Shelf,
) -> None:
    shared = SharedReads(shelf)
    tasks = await held_up(shared, shelf, "a", "b")
    for task in tasks:
        task.cancel()
    await outcomes(*tasks)
    shelf.open.set()
    await asyncio.sleep(0.01)
    assert shelf.batches == [["first"]]
    assert not shared._lines
    assert not shared._leading
    assert shared._waiting == 0


async def test_a_read_that_nobody_waits_for_any_more_ends_and_holds_up_nobody(
    shelf: Shelf,
) -> None:
    shared = SharedReads(shelf)
    stuck = await held_up(shared, shelf)
    [later] = ask(shared, "later")
    await asyncio.sleep(0)
    shelf.begun.clear()
    stuck[0].cancel()
    await asyncio.wait(stuck)
    async with asyncio.timeout(5):
        await shelf.begun.wait()
    shelf.open.set()
    assert await outcomes(later) == ["later 0"]
    assert await shared("next") == "next 0"


async def test_a_read_that_is_broken_off_and_does_not_say_why_holds_up_nobody_either(
    shelf: Shelf,
) -> None:
    async def silent(requests: Sequence[str]) -> Sequence[str]:
        try:
            return await shelf(requests)
        except asyncio.CancelledError:
            raise asyncio.CancelledError from None

    shared = SharedReads(silent)
    stuck = await held_up(shared, shelf)
    [later] = ask(shared, "later")
    await asyncio.sleep(0)
    stuck[0].cancel()
    await asyncio.wait(stuck)
    shelf.open.set()
    assert await outcomes(later) == ["later 0"]


async def test_one_of_several_who_hangs_up_does_not_end_the_read(shelf: Shelf) -> None:
    shared = SharedReads(shelf)
    first, *both = await held_up(shared, shelf, "a", "b")
    shelf.open.set()
    await first
    shelf.hold()
    both += ask(shared, "c", "d")
    await asyncio.sleep(0)
    both[2].cancel()
    shelf.open.set()
    a, b, gone, d = await outcomes(*both)
    assert isinstance(gone, asyncio.CancelledError)
    assert (a, b, d) == ("a 0", "b 0", "d 0")


@pytest.mark.parametrize("nobody_waits", [False, True])
async def test_who_ends_a_line_ends_its_reads(shelf: Shelf, nobody_waits: bool) -> None:
    """Also just when a read is broken off that nobody waits for any more."""
    shared = SharedReads(shelf)
    first, later = await held_up(shared, shelf, "later")
    [line] = shared._lines.values()
    worker = line._worker
    assert worker is not None
    if nobody_waits:
        first.cancel()
        await asyncio.sleep(0)
    worker.cancel()
    *_, interrupted = await outcomes(first, later)
    assert isinstance(interrupted, Overloaded)
    assert worker.cancelled()
    assert shelf.batches == [["first"]]


async def test_a_batch_has_its_bound(shelf: Shelf) -> None:
    shared = SharedReads(shelf, ReadLimits(batch_max=2))
    tasks = await held_up(shared, shelf, "a", "b", "c")
    shelf.open.set()
    await outcomes(*tasks)
    assert shelf.batches == [["first"], ["a", "b"], ["c"]]


async def test_too_many_are_told_to_come_again(shelf: Shelf) -> None:
    shared = SharedReads(shelf, ReadLimits(queue_max=2))
    tasks = await held_up(shared, shelf, "a")
    with pytest.raises(Overloaded) as refused:
        await shared("b")
    assert refused.value.retry_after >= 1
    shelf.open.set()
    assert await outcomes(*tasks) == ["first 0", "a 0"]


async def test_who_is_not_answered_in_time_is_told_to_come_again(shelf: Shelf) -> None:
    shared = SharedReads(shelf, ReadLimits(deadline=0.01))
    tasks = await held_up(shared, shelf, "a")
    assert [type(one) for one in await outcomes(*tasks)] == [Overloaded, Overloaded]
    shelf.open.set()
    assert await shared("b") == "b 0"


async def test_one_answer_too_few_is_nobodys_answer() -> None:
    async def forgetful(requests: Sequence[str]) -> Sequence[str]:
        return requests[1:]

    with pytest.raises(RuntimeError):
        await SharedReads(forgetful)("a")


# --- lines ---


async def test_one_line_does_not_wait_for_another(shelf: Shelf) -> None:
    shared = SharedReads(shelf)
    tasks = await held_up(shared, shelf)
    shelf.begun.clear()
    tasks += ask(shared, "b", line="other")
    async with asyncio.timeout(5):
        await shelf.begun.wait()
    shelf.open.set()
    assert await outcomes(*tasks) == ["first 0", "b 0"]
    assert not shared._lines


async def test_what_is_the_same_for_all_is_read_once() -> None:
    number = 0

    async def read() -> int:
        nonlocal number
        number += 1
        await asyncio.sleep(0)
        return number

    shared: SharedReads[Any, int] = SharedReads(once_for_all)
    asked = [asyncio.create_task(_ask_once(shared, read)) for _ in range(50)]
    assert set(await asyncio.gather(*asked)) <= {1, 2}


async def _ask_once(shared: SharedReads[Any, int], read: Callable[[], Awaitable[int]]) -> int:
    return await shared(read)


async def test_nobody_who_leads_a_read_holds_up_those_who_ask_for_something_else(
    shelf: Shelf,
) -> None:
    """Ann's turns are taken by something slow: the read that Bob waits for is led by Bob."""
    shared = SharedReads(shelf)
    shelf.hold()
    tasks = ask(shared, "slow", line="slow", asker=ANN)
    await shelf.begun.wait()
    tasks += ask(shared, "ann's", line="news", asker=ANN)
    tasks += ask(shared, "bob's", line="news", asker=BOB)
    await asyncio.sleep(0.01)
    assert shelf.batches[1:] == [["bob's", "ann's"]]
    shelf.open.set()
    assert await outcomes(*tasks) == ["slow 0", "ann's 0", "bob's 0"]


async def test_who_leads_as_many_as_he_may_waits_in_a_line_of_his_own(shelf: Shelf) -> None:
    shared = SharedReads(shelf)
    shelf.hold()
    tasks = ask(shared, "slow", line="slow", asker=ANN)
    tasks += ask(shared, "ann's", line="news", asker=ANN)
    await asyncio.sleep(0.01)
    tasks += ask(shared, "bob's", line="news", asker=BOB)
    await asyncio.sleep(0.01)
    assert shelf.batches == [["slow"], ["ann's"], ["bob's"]]
    shelf.open.set()
    assert await outcomes(*tasks) == ["slow 0", "ann's 0", "bob's 0"]
    assert not shared._lines
    assert not shared._leading


class Carried(ReadObserver):
    """As whose work each read was told of, and whom it was for."""

    def __init__(self) -> None:
        self.began: list[tuple[Work, list[Work]]] = []

    def read_began(self, read: Work, carried: Sequence[Work]) -> None:
        assert work_under_way.get() is read
        self.began.append((read, list(carried)))


async def test_a_read_is_told_of_as_the_work_of_one_it_is_for_and_a_traced_one_if_there_is(
    shelf: Shelf,
) -> None:
    first, second = Carried(), Carried()
    works = [Work(request_id=name) for name in "abc"]
    works[1].trace_id = "traced"
    shared = SharedReads(shelf, observer=ReadObservers(first, second))

    async def asked(work: Work) -> str:
        work_under_way.set(work)
        return await shared("tea")

    await asyncio.gather(asked(works[0]), asked(works[1]))
    shelf.failures.append(StoreUnavailable("gone"))
    with pytest.raises(StoreUnavailable):
        await asked(works[2])
    assert first.began == [(works[1], works[:2]), (works[2], works[2:])]
    assert second.began == first.began
