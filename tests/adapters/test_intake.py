"""The intake alone, with a handler made up for the test: requests are numbers and words."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Sequence

import pytest

from shop.adapters.intake import Intake, IntakeLimits, IntakeObserver, IntakeObservers
from shop.adapters.turns import Turns
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import (
    Conflict,
    LockTimeout,
    OutcomeUnknown,
    Overloaded,
    ShopError,
    StockBusy,
    StoreUnavailable,
    Unavailable,
    WriteConflict,
)
from shop.domain.ports import IN_COMMIT

NOW = 0.0001
"""A pause between attempts that no test has to wait for."""

Answers = Sequence[str | Exception]
StillWanted = Callable[[], Sequence[bool]]


class Kitchen:
    """A handler that can be held up, told to fail, and asked what it was given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: list[BaseException] = []
        """Raised by the next calls, one each."""
        self.poison: set[str] = set()
        """Requests that no batch with them in it survives."""
        self.locked: dict[str, int] = {}
        """What somebody else holds, by the request that needs it."""
        self.odd_answers: dict[str, list[ShopError]] = {}
        """The first answers to a request."""
        self.waited_for: list[Collection[Hashable] | None] = []
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.waits_for_locks = False
        """Whether what it is held up by is the locks, or what comes after them."""
        self.served: list[str] = []

    async def __call__(
        self,
        requests: Sequence[str],
        *,
        wait_for: Collection[Hashable] | None,
        still_wanted: StillWanted,
    ) -> Answers:
        self.batches.append(list(requests))
        self.waited_for.append(wait_for)
        self.begun.set()
        if self.waits_for_locks:
            await self.open.wait()
        wanted = still_wanted()
        await self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        if wait_for is None and self.locked:
            raise LockTimeout
        if poisonous := self.poison.intersection(requests):
            raise ZeroDivisionError(*poisonous)
        self.served += itertools.compress(requests, wanted)
        return [self._answer(request) for request in requests]

    def _answer(self, request: str) -> str | ShopError:
        if self.odd_answers.get(request):
            return self.odd_answers[request].pop(0)
        if request in self.locked:
            return StockBusy(self.locked[request])
        return Conflict("no") if request.startswith("refuse") else request.upper()

    def hold(self) -> None:
        self.open.clear()
        self.begun.clear()


class Notes(IntakeObserver):
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.waits = 0
        self.rejections = 0

    def batch_done(self, *, size: int, seconds: float) -> None:
        assert seconds >= 0
        self.sizes.append(size)

    def waited(self, seconds: float) -> None:
        assert seconds >= 0
        self.waits += 1

    def rejected(self, reason: str) -> None:
        self.rejections += 1


@pytest.fixture
async def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
async def intake(kitchen: Kitchen) -> AsyncIterator[Intake[str, str]]:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(backoff=NOW))
    yield intake
    await intake.close()


async def settled(*tasks: asyncio.Task[str]) -> list[str | BaseException]:
    """What became of the callers; none may be left waiting."""
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


def call(intake: Intake[str, str], *requests: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(intake_call(intake, request)) for request in requests]


async def intake_call(intake: Intake[str, str], request: str) -> str:
    return await intake(request)


async def held_up(
    intake: Intake[str, str], kitchen: Kitchen, *waiting: str
) -> list[asyncio.Task[str]]:
    """One call that is being served and does not end, and others queued behind it."""
    kitchen.hold()
    [first] = call(intake, "first")
    await kitchen.begun.wait()
    tasks = call(intake, *waiting)
    await asyncio.sleep(0)
    return [first, *tasks]


async def test_a_lone_call_waits_for_nobody(intake: Intake[str, str], kitchen: Kitchen) -> None:
    assert await intake("tea") == "TEA"
    assert await intake("cup") == "CUP"
    assert kitchen.batches == [["tea"], ["cup"]]


async def test_work_knows_its_batch_and_a_batch_is_work_of_its_own() -> None:
    known: list[Work | None] = []

    async def handle(requests: Sequence[str], **_: object) -> Sequence[str]:
        known.append(work_under_way.get())
        return requests

    intake = Intake[str, str](handle=handle)
    works = [Work(request_id=name) for name in "abc"]

    async def called(work: Work) -> None:
        work_under_way.set(work)
        await intake("tea")
        assert work_under_way.get() is work

    await asyncio.gather(called(works[0]), called(works[1]))
    await called(works[2])
    [first, second] = known
    assert first is not None
    assert second is not None
    assert first.request_id is None
    assert [work.batch_id for work in works] == [first.batch_id, first.batch_id, second.batch_id]
    assert first.batch_id != second.batch_id
    assert all(work.batch_wait is not None and work.batch_wait >= 0 for work in works)


async def test_calls_of_one_moment_are_one_batch_in_order(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    assert await settled(*call(intake, "a", "b", "c")) == ["A", "B", "C"]
    assert kitchen.batches == [["a", "b", "c"]]


async def test_what_queued_up_meanwhile_is_the_next_batch(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    tasks = await held_up(intake, kitchen, "a", "b", "c")
    kitchen.open.set()
    assert await settled(*tasks) == ["FIRST", "A", "B", "C"]
    assert kitchen.batches == [["first"], ["a", "b", "c"]]


async def test_only_one_batch_is_under_way(intake: Intake[str, str], kitchen: Kitchen) -> None:
    tasks = await held_up(intake, kitchen, "a")
    for _ in range(10):
        await asyncio.sleep(0)
    assert kitchen.batches == [["first"]]
    kitchen.open.set()
    await settled(*tasks)


async def test_a_batch_has_a_largest_size(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(batch_max=2))
    tasks = await held_up(intake, kitchen, "a", "b", "c", "d", "e")
    kitchen.open.set()
    assert await settled(*tasks) == ["FIRST", "A", "B", "C", "D", "E"]
    assert kitchen.batches == [["first"], ["a", "b"], ["c", "d"], ["e"]]


async def test_a_refusal_is_raised_to_the_one_it_concerns(intake: Intake[str, str]) -> None:
    a, refused, b = await settled(*call(intake, "a", "refuse", "b"))
    assert (a, b) == ("A", "B")
    assert isinstance(refused, Conflict)


async def test_a_full_queue_sheds_load_and_serves_who_waits(kitchen: Kitchen) -> None:
    notes = Notes()
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(queue_max=2), observer=notes)
    tasks = await held_up(intake, kitchen, "a", "b")
    with pytest.raises(Overloaded) as refused:
        await intake("c")
    assert refused.value.retry_after >= 1
    assert notes.rejections == 1
    kitchen.open.set()
    assert await settled(*tasks) == ["FIRST", "A", "B"]
    assert await intake("c") == "C"


async def test_past_the_deadline_nobody_waits_on(kitchen: Kitchen) -> None:
    notes = Notes()
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(deadline=0.01), observer=notes)
    served, queued = await settled(*await held_up(intake, kitchen, "queued"))
    # The one may be done at any moment, the other was not begun.
    assert isinstance(served, OutcomeUnknown)
    assert isinstance(queued, Overloaded)
    assert notes.rejections == 2
    kitchen.open.set()
    await intake.close()
    assert kitchen.batches == [["first"]]


async def test_who_gives_up_while_queued_is_never_served(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    first, a, b = await held_up(intake, kitchen, "a", "b")
    a.cancel()
    await asyncio.sleep(0)
    kitchen.open.set()
    first_answer, a_answer, b_answer = await settled(first, a, b)
    assert isinstance(a_answer, asyncio.CancelledError)
    assert (first_answer, b_answer) == ("FIRST", "B")
    assert kitchen.batches == [["first"], ["b"]]


async def test_a_queue_of_people_who_gave_up_is_no_batch(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    first, a = await held_up(intake, kitchen, "a")
    a.cancel()
    await asyncio.sleep(0)
    kitchen.open.set()
    await settled(first, a)
    assert kitchen.batches == [["first"]]
    assert await intake("b") == "B"


async def test_who_gives_up_in_a_batch_leaves_the_neighbours_served(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.hold()
    a, b, c = call(intake, "a", "b", "c")
    await kitchen.begun.wait()
    b.cancel()
    await asyncio.sleep(0)
    kitchen.open.set()
    answers = await settled(a, b, c)
    assert (answers[0], answers[2]) == ("A", "C")
    assert isinstance(answers[1], asyncio.CancelledError)
    assert kitchen.batches == [["a", "b", "c"]]


async def test_who_gives_up_before_the_batch_has_its_locks_is_never_served(
    kitchen: Kitchen,
) -> None:
    """And is not told that it may have been done; who gives up later is."""
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(deadline=0.05))
    kitchen.waits_for_locks = True
    kitchen.hold()
    late, cancelled = call(intake, "late", "cancelled")
    await kitchen.begun.wait()
    cancelled.cancel()
    with pytest.raises(Overloaded, match="nothing was done"):
        await late
    kitchen.open.set()
    with pytest.raises(asyncio.CancelledError) as ended:
        await cancelled
    assert ended.value.args == ()
    await intake.close()
    assert (kitchen.batches, kitchen.served) == ([["late", "cancelled"]], [])


async def test_who_is_cancelled_later_is_told_that_it_may_be_done(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.hold()
    [cancelled] = call(intake, "cancelled")
    await kitchen.begun.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError) as ended:
        await cancelled
    assert ended.value.args == (IN_COMMIT,)
    kitchen.open.set()
    await intake.close()
    assert kitchen.served == ["cancelled"]


async def test_a_batch_that_lost_a_race_is_tried_in_halves(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [WriteConflict("lost")]
    assert await settled(*call(intake, "a", "b", "c")) == ["A", "B", "C"]
    assert kitchen.batches == [["a", "b", "c"], ["a"], ["b", "c"]]


async def test_one_poisonous_request_fails_alone(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.poison = {"bad"}
    a, bad, b = await settled(*call(intake, "a", "bad", "b"))
    assert (a, b) == ("A", "B")
    assert isinstance(bad, ZeroDivisionError)
    assert kitchen.batches == [["a", "bad", "b"], ["a"], ["bad", "b"], ["bad"], ["b"]]


async def test_a_poisonous_request_fails_alone_also_after_the_store_was_away(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [StoreUnavailable("away")]
    kitchen.poison = {"bad"}
    a, bad, b = await settled(*call(intake, "a", "bad", "b"))
    assert (a, b) == ("A", "B")
    assert isinstance(bad, ZeroDivisionError)


async def test_a_race_lost_after_the_store_was_away_fails_nobody(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [StoreUnavailable("away"), WriteConflict("lost"), WriteConflict("again")]
    assert await settled(*call(intake, "a", "b")) == ["A", "B"]


async def test_while_the_store_is_away_the_batch_stays_together(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [StoreUnavailable("away")] * 3
    assert await settled(*call(intake, "a", "b")) == ["A", "B"]
    assert kitchen.batches == [["a", "b"]] * 4


@pytest.mark.parametrize("error", [StoreUnavailable("away"), WriteConflict("lost")])
async def test_tries_are_bounded(kitchen: Kitchen, error: Unavailable) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(attempts_max=3, backoff=NOW))
    kitchen.failures = [error] * 100
    with pytest.raises(type(error)):
        await intake("a")
    assert len(kitchen.batches) == 3
    kitchen.failures = []
    assert await intake("b") == "B"


async def test_a_failure_that_will_not_pass_is_not_tried_again(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        await intake("a")
    assert kitchen.batches == [["a"]]


async def test_who_gives_up_between_two_tries_is_not_served(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.hold()
    kitchen.failures = [WriteConflict("lost")]
    a, b = call(intake, "a", "b")
    await kitchen.begun.wait()
    a.cancel()
    await asyncio.sleep(0)
    kitchen.open.set()
    assert (await settled(a, b))[1] == "B"
    assert kitchen.batches == [["a", "b"], ["b"]]


async def test_closing_serves_who_waits_and_refuses_who_comes(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    tasks = await held_up(intake, kitchen, "a", "b")
    closing = asyncio.create_task(intake.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await intake("late")
    assert not closing.done()
    kitchen.open.set()
    await closing
    assert [task.result() for task in tasks] == ["FIRST", "A", "B"]


async def test_closing_an_idle_intake_is_nothing_and_can_be_repeated(
    intake: Intake[str, str],
) -> None:
    await intake("a")
    await intake.close()
    await intake.close()
    with pytest.raises(Overloaded):
        await intake("b")


async def test_who_stops_waiting_for_the_close_does_not_stop_the_work(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    tasks = await held_up(intake, kitchen, "a")
    closing = asyncio.create_task(intake.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.sleep(0)
    kitchen.open.set()
    assert await settled(*tasks) == ["FIRST", "A"]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_wrong_number_of_answers_fails_the_callers_and_mixes_nothing_up(
    count: int,
) -> None:
    async def confused(requests: Sequence[str], **_: object) -> Answers:
        return ["X"] * count if len(requests) == 2 or count != 1 else ["X", "Y"]

    intake = Intake[str, str](handle=confused)
    answers = await settled(*call(intake, "a", "b"))
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        StopIteration(),
        StopAsyncIteration(),
        TimeoutError(),
        asyncio.InvalidStateError(),
        asyncio.CancelledError(),
        GeneratorExit(),
        ExceptionGroup("many", [ValueError(), TypeError()]),
        StoreUnavailable("away"),
        WriteConflict("lost"),
        Conflict("no"),
    ],
    ids=repr,
)
async def test_no_error_whatsoever_leaves_a_caller_waiting(
    intake: Intake[str, str], kitchen: Kitchen, error: BaseException
) -> None:
    kitchen.failures = [error] * 100
    tasks = await held_up(intake, kitchen, "a", "b")
    kitchen.open.set()
    answers = await settled(*tasks)
    assert all(isinstance(answer, Exception) for answer in answers)
    kitchen.failures = []
    assert await intake("next") == "NEXT"


async def test_an_observer_that_fails_leaves_no_caller_waiting(kitchen: Kitchen) -> None:
    class Clumsy(IntakeObserver):
        def waited(self, seconds: float) -> None:
            raise ZeroDivisionError

    intake = Intake[str, str](handle=kitchen, observer=Clumsy())
    worker_errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: worker_errors.append(context.get("exception"))
    )
    answers = await settled(*call(intake, "a", "b"))
    assert [type(answer) for answer in answers] == [Overloaded, Overloaded]


async def test_the_observer_is_told_of_every_batch(kitchen: Kitchen) -> None:
    notes = Notes()
    intake = Intake[str, str](handle=kitchen, observer=notes)
    tasks = await held_up(intake, kitchen, "a", "b")
    kitchen.open.set()
    await settled(*tasks)
    await intake.close()
    assert (notes.sizes, notes.waits, notes.rejections) == ([1, 2], 3, 0)


async def test_a_handler_may_be_any_callable() -> None:
    def handle(requests: Sequence[int], **_: object) -> Awaitable[Sequence[int | Exception]]:
        async def double() -> Sequence[int | Exception]:
            return [2 * request for request in requests]

        return double()

    doubled: Callable[[int], Awaitable[int]] = Intake[int, int](handle=handle)
    assert await doubled(21) == 42


# --- what somebody else holds locked ---


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what happens is seen from outside only
            await asyncio.sleep(0)


async def test_a_held_lock_holds_up_only_those_who_need_it(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.locked = {"hot": 7}
    hot, *others = call(intake, "hot", "a", "b")
    assert await settled(*others) == ["A", "B"]
    # Waited for in vain once, then gone around.
    assert kitchen.waited_for[:2] == [None, ()]
    assert await settled(*call(intake, "c")) == ["C"]
    assert not hot.done()
    kitchen.locked = {}
    assert await settled(hot) == ["HOT"]
    assert [7] in kitchen.waited_for


async def test_nothing_is_waited_for_while_a_change_of_many_rows_is_under_way(
    kitchen: Kitchen,
) -> None:
    turns = Turns(at_once=1, seconds_max=5)
    intake = Intake[str, str](handle=kitchen, turns_of_many=turns)
    turn = await turns.take()
    kitchen.locked = {"hot": 7}
    hot, other = call(intake, "hot", "a")
    assert await settled(other) == ["A"]
    assert None not in kitchen.waited_for
    kitchen.locked = {}
    assert await settled(hot) == ["HOT"]
    turn.release()
    assert await settled(*call(intake, "b")) == ["B"]
    assert kitchen.waited_for[-1] is None


async def test_it_is_waited_for_again_after_a_while(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(backoff=NOW, around=NOW))
    kitchen.locked = {"hot": 7}
    [hot] = call(intake, "hot")
    # From then on it goes around what is locked, for that while.
    await until(lambda: () in kitchen.waited_for)
    await asyncio.sleep(2 * NOW)
    assert await settled(*call(intake, "a")) == ["A"]
    assert kitchen.waited_for.count(None) == 2
    kitchen.locked = {}
    assert await settled(hot) == ["HOT"]


async def test_who_waits_for_one_lock_does_not_hold_up_who_waits_for_another(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.locked = {"hung": 1, "hot": 2}
    hung, hot = call(intake, "hung", "hot")
    await until(lambda: [2] in kitchen.waited_for)
    del kitchen.locked["hot"]
    assert await settled(hot) == ["HOT"]
    assert not hung.done()
    del kitchen.locked["hung"]
    assert await settled(hung) == ["HUNG"]


async def test_a_lock_that_is_never_given_back_is_a_clear_refusal(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(backoff=NOW, deadline=0.05))
    kitchen.locked = {"hung": 1}
    [refused] = await settled(*call(intake, "hung"))
    assert isinstance(refused, Overloaded)
    assert "nothing was done" in str(refused)
    await intake.close()


async def test_who_waits_for_a_lock_goes_on_waiting_also_when_its_batch_was_halved(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.locked = {"hot": 7, "warm": 7}
    both = call(intake, "hot", "warm")
    await until(lambda: [7] in kitchen.waited_for)
    kitchen.locked = {}
    kitchen.failures = [ZeroDivisionError(), *[LockTimeout() for _ in range(8)]]
    assert await settled(*both) == ["HOT", "WARM"]


# --- a COMMIT that was lost ---


def after_loss(request: str) -> str:
    return f"again {request}"


async def test_what_may_be_done_is_repeated_until_that_is_known(kitchen: Kitchen) -> None:
    intake = Intake[str, str](
        handle=kitchen, after_loss=after_loss, limits=IntakeLimits(backoff=NOW)
    )
    kitchen.odd_answers = {"a": [OutcomeUnknown()]}
    assert await settled(*call(intake, "a", "b")) == ["AGAIN A", "B"]
    assert kitchen.batches == [["a", "b"], ["again a"]]


async def test_what_must_not_be_repeated_is_told_as_unknown(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, after_loss=lambda _: None)
    kitchen.odd_answers = {"a": [OutcomeUnknown()]}
    lost, other = await settled(*call(intake, "a", "b"))
    assert isinstance(lost, OutcomeUnknown)
    assert other == "B"
    assert kitchen.batches == [["a", "b"]]


async def test_it_is_repeated_also_while_the_store_is_away(kitchen: Kitchen) -> None:
    intake = Intake[str, str](
        handle=kitchen, after_loss=after_loss, limits=IntakeLimits(backoff=NOW, attempts_max=2)
    )
    kitchen.odd_answers = {"a": [OutcomeUnknown()]}
    [lost] = call(intake, "a")
    await until(lambda: kitchen.batches == [["a"]])
    kitchen.failures = [StoreUnavailable("away")] * 10
    assert await settled(lost) == ["AGAIN A"]


async def test_what_cannot_be_found_out_in_time_is_unknown_and_not_undone(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(backoff=NOW, deadline=0.05))
    kitchen.odd_answers = {"a": [OutcomeUnknown()]}
    [lost] = call(intake, "a")
    await until(lambda: kitchen.batches == [["a"]])
    kitchen.failures = [StoreUnavailable("away")] * 10_000
    [answer] = await settled(lost)
    assert isinstance(answer, OutcomeUnknown)
    await intake.close()


async def test_a_refusal_after_a_loss_is_the_answer(kitchen: Kitchen) -> None:
    intake = Intake[str, str](handle=kitchen, limits=IntakeLimits(backoff=NOW))
    kitchen.odd_answers = {"refuse": [OutcomeUnknown()]}
    [answer] = await settled(*call(intake, "refuse"))
    assert isinstance(answer, Conflict)


async def test_what_was_refused_beside_a_loss_is_decided_again(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.odd_answers = {"a": [WriteConflict("decide it again")]}
    assert await settled(*call(intake, "a", "b")) == ["A", "B"]


async def test_a_worker_that_breaks_in_a_batch_leaves_its_outcome_unknown(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    kitchen.failures = [asyncio.CancelledError()]
    tasks = await held_up(intake, kitchen, "queued")
    kitchen.open.set()
    under_way, queued = await settled(*tasks)
    assert isinstance(under_way, OutcomeUnknown)
    assert isinstance(queued, Overloaded)


async def test_it_says_whether_another_call_has_room(
    intake: Intake[str, str], kitchen: Kitchen
) -> None:
    small = Intake[str, str](handle=kitchen, limits=IntakeLimits(queue_max=1))
    tasks = await held_up(small, kitchen, "second")
    assert small.is_full
    assert not intake.is_full
    kitchen.open.set()
    await settled(*tasks)
    assert not small.is_full


async def test_an_intake_whose_task_was_ended_from_outside_is_known_to_be_dead(
    kitchen: Kitchen,
) -> None:
    dying = Intake[str, str](handle=kitchen, limits=IntakeLimits(deadline=NOW))
    assert dying.is_alive
    asyncio.create_task(intake_call(dying, "first")).add_done_callback(asyncio.Task.exception)
    await asyncio.sleep(0)
    [task] = [task for task in asyncio.all_tasks() if "_serve_queue" in repr(task)]
    task.cancel()
    await asyncio.wait([task])
    assert not dying.is_alive


class Carried(IntakeObserver):
    """Who was carried by which batch, and what has ended."""

    def __init__(self) -> None:
        self.began: list[tuple[Work, list[Work]]] = []
        self.ended: list[Work] = []
        self.errors: list[BaseException | None] = []

    def attempt_began(self, batch: Work, carried: Sequence[Work]) -> None:
        assert work_under_way.get() is batch
        self.began.append((batch, list(carried)))

    def attempt_ended(self, batch: Work, error: BaseException | None) -> None:
        assert work_under_way.get() is batch
        self.ended.append(batch)
        self.errors.append(error)


async def called_as(intake: Intake[str, str], work: Work | None, request: str) -> str:
    work_under_way.set(work)
    return await intake(request)


async def test_an_observer_knows_whom_each_batch_carries_until_it_is_decided(
    kitchen: Kitchen,
) -> None:
    carried = Carried()
    intake = Intake[str, str](handle=kitchen, observer=carried)
    works = [Work(request_id="a"), Work(request_id="b")]
    await asyncio.gather(
        *(called_as(intake, work, "tea") for work in works), called_as(intake, None, "cup")
    )
    [(batch, whose)] = carried.began
    assert whose == works
    assert {work.batch_id for work in works} == {batch.batch_id}
    assert carried.ended == [batch]
    assert carried.errors == [None]


async def test_a_batch_that_fails_has_ended_too(kitchen: Kitchen) -> None:
    kitchen.poison = {"bad"}
    carried = Carried()
    intake = Intake[str, str](handle=kitchen, observer=carried, limits=IntakeLimits(backoff=NOW))
    works = [Work(request_id="a"), Work(request_id="b")]
    answers = await asyncio.gather(
        called_as(intake, works[0], "bad"),
        called_as(intake, works[1], "good"),
        return_exceptions=True,
    )
    assert isinstance(answers[0], ZeroDivisionError)
    assert answers[1] == "GOOD"
    # Both together, and then each alone.
    assert [whose for _, whose in carried.began] == [works, works[:1], works[1:]]
    assert carried.ended == [batch for batch, _ in carried.began]
    assert works[1].batch_id == carried.ended[2].batch_id
    assert [type(error) for error in carried.errors] == [ZeroDivisionError] * 2 + [type(None)]


async def test_several_observers_are_told_the_same(kitchen: Kitchen) -> None:
    notes, carried, more = Notes(), Carried(), Carried()
    intake = Intake[str, str](
        handle=kitchen,
        limits=IntakeLimits(queue_max=1),
        observer=IntakeObservers(notes, carried, more),
    )
    tasks = await held_up(intake, kitchen, "a", "b")
    kitchen.open.set()
    answers = await settled(*tasks)
    assert isinstance(answers[2], Overloaded)
    assert (notes.sizes, notes.waits, notes.rejections) == ([1, 1], 2, 1)
    assert len(carried.began) == len(more.began) == 2
    assert carried.ended == more.ended
