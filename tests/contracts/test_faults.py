"""What a use case does when its transaction loses a race, or its outcome is not known."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pytest
from dependency_injector import providers

from shop.adapters.intake import IntakeLimits
from shop.domain.errors import (
    AlreadyDone,
    OutcomeUnknown,
    OutOfStock,
    ShopError,
    StoreUnavailable,
    TransitionNotAllowed,
    WriteConflict,
)
from shop.domain.orders import OrderItem
from shop.domain.products import Product
from shop.domain.services import retrying
from shop.domain.throttling import LONG_AGO, AttemptKeys
from tests.builders import items
from tests.contracts.changes import CHANGES, MORE_EACH_TIME, Change, Scene, keyed, open_scene
from tests.contracts.unkeyed import MADE_AGAIN, UNKEYED, Unkeyed, open_unkeyed_scene
from tests.services.test_callers import INSIDE, READS, names, use_cases
from tests.stores import Store, memory_store
from tests.use_cases import ADDRESS, UseCases

LOSE_RACE, CUT_OFF = "a race lost", "cut off before"
LOSE_BEFORE, LOSE_AFTER = "lost before", "lost after"


class Faulty:
    """A unit of work whose COMMIT meets the next of these faults, if any is left."""

    def __init__(self, real: Any, faults: deque[str]) -> None:
        self._real, self._faults = real, faults

    async def __aenter__(self) -> Self:
        await self._real.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._real.__aexit__(exc_type, exc, traceback)

    async def commit(self, result: object = None) -> None:
        fault = self._faults.popleft() if self._faults else ""
        if fault == LOSE_RACE:
            raise WriteConflict("lost")
        if fault == LOSE_BEFORE:
            raise OutcomeUnknown
        if fault == CUT_OFF:
            raise StoreUnavailable("The connection was lost before the COMMIT was sent.")
        await self._real.commit(result)
        if fault == LOSE_AFTER:
            raise OutcomeUnknown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@dataclass(frozen=True, kw_only=True)
class Process:
    """One whose next COMMITs meet these faults; an empty one is none."""

    shop: UseCases
    faults: deque[str]


@pytest.fixture
async def process(
    shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    monkeypatch.setattr(retrying, "BACKOFF", 0.0001)
    process = Process(shop=UseCases(store.unit_of_work, process=3), faults=deque())

    def unit_of_work(**options: Any) -> Faulty:
        return Faulty(store.unit_of_work(**options), process.faults)

    process.shop.container.unit_of_work.override(providers.Callable(unit_of_work))
    process.shop.container.clock.override(shop.clock)
    yield process
    await process.shop.close()


# --- every change but placing ---


@dataclass(frozen=True, kw_only=True)
class Write:
    """A change, with or without a key, and where it has something to do. See `Unkeyed`."""

    do: Callable[[Any], Awaitable[Any]]
    open: Callable[[UseCases, Store], Awaitable[Any]] = open_scene
    commit: int = 1
    repeated: type[Exception] | None = AlreadyDone
    more_each_time: bool = False
    rides_in_batches: bool = False

    async def contents(self, store: Store) -> object:
        """All that is stored, but for the attempts of what counts them."""
        return await store.contents(attempts=self.commit == 1)

    def faults_before_it_is_done(self) -> Iterator[tuple[list[str], type[ShopError]]]:
        """And what is told of each."""
        for number in range(1, self.commit + 1):
            fine, does_it = [""] * (number - 1), number == self.commit
            yield [*fine, *[LOSE_RACE] * retrying.ATTEMPTS_MAX], WriteConflict
            # The intake tries that again, too.
            cut_off = [CUT_OFF] * (IntakeLimits().attempts_max if self.rides_in_batches else 1)
            yield [*fine, *cut_off], StoreUnavailable
            # Of a COMMIT that only counts an attempt it is no matter: the next try is safe.
            yield [*fine, LOSE_BEFORE], OutcomeUnknown if does_it else StoreUnavailable
            if not does_it:
                yield [*fine, LOSE_AFTER], StoreUnavailable


RIDE_IN_BATCHES = {"cancel", "amend", "return", "stock", "cancel_unpaid"}


def _under_a_key(name: str, change: Change) -> Write:
    return Write(do=lambda scene: change(scene, keyed()), rides_in_batches=name in RIDE_IN_BATCHES)


def _without_a_key(name: str, row: Unkeyed) -> Write:
    return Write(
        rides_in_batches=name in RIDE_IN_BATCHES,
        do=row.do,
        open=open_unkeyed_scene,
        commit=row.commit,
        repeated=row.repeated,
        more_each_time=row.more_each_time,
    )


WRITES = {
    **{name: _under_a_key(name, change) for name, change in CHANGES.items()},
    **{name: _without_a_key(name, row) for name, row in UNKEYED.items()},
}


async def nothing_is_counted(store: Store) -> bool:
    """Whether no attempt to sign in, or to register, has failed or waits for its outcome."""
    keys = [*AttemptKeys.of("anna", ADDRESS).all, *AttemptKeys.of_registration(ADDRESS).all]
    async with store.unit_of_work() as uow:
        counters = await uow.attempts.lock(keys, LONG_AGO)
    return not any(counter.failures or counter.pending for counter in counters.values())


@pytest.mark.parametrize("name", WRITES)
async def test_what_was_not_committed_was_not_done_and_a_race_lost_is_tried_again(
    shop: UseCases, store: Store, process: Process, name: str
) -> None:
    write = WRITES[name]
    scene = (await write.open(shop, store)).by(process.shop)
    before = await write.contents(store)
    for faults, told in write.faults_before_it_is_done():
        process.faults.extend(faults)
        with pytest.raises(told):
            await write.do(scene)
        assert not process.faults, "it has fewer COMMITs"
    assert await write.contents(store) == before
    assert await nothing_is_counted(store)
    races = [LOSE_RACE] * (retrying.ATTEMPTS_MAX - 1)
    process.faults.extend([*[""] * (write.commit - 1), *races])
    await write.do(scene)
    assert not process.faults
    assert await write.contents(store) != before, "the scene gives it nothing to do"
    if name in CHANGES:
        assert await shop.differences() == []


@pytest.mark.parametrize("name", WRITES)
async def test_what_was_committed_without_an_answer_is_told_as_unknown_and_found_by_a_repeat(
    shop: UseCases, store: Store, process: Process, name: str
) -> None:
    write = WRITES[name]
    scene = (await write.open(shop, store)).by(process.shop)
    before = await write.contents(store)
    process.faults.extend([*[""] * (write.commit - 1), LOSE_AFTER])
    with pytest.raises(OutcomeUnknown):
        await write.do(scene)
    after = await write.contents(store)
    assert after != before
    assert await nothing_is_counted(store)
    with pytest.raises(write.repeated) if write.repeated else nullcontext():
        await write.do(scene)
    assert (await write.contents(store) == after) is not write.more_each_time
    if name in CHANGES:
        assert await shop.differences() == []


@pytest.mark.parametrize("name", MORE_EACH_TIME)
async def test_without_a_key_a_repeat_may_do_it_twice(
    shop: UseCases, store: Store, process: Process, name: str
) -> None:
    """Why the answer says to look before it is repeated."""
    scene = (await open_scene(shop, store)).by(process.shop)
    process.faults.append(LOSE_AFTER)
    with pytest.raises(OutcomeUnknown):
        await CHANGES[name](scene, None)
    once = await store.contents()
    await CHANGES[name](scene, None)
    assert await store.contents() != once


# --- the tables themselves ---


class Watched:
    """Notes which use cases are called."""

    def __init__(self, shop: UseCases) -> None:
        self._shop = shop
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._shop, name)


async def test_every_use_case_that_takes_a_key_is_among_the_changes() -> None:
    taking = {
        name for name, call in use_cases().items() if "key" in inspect.signature(call).parameters
    }
    called: set[str] = set()
    for change in CHANGES.values():
        store = memory_store()
        shop = UseCases(store.unit_of_work)
        watched: Any = Watched(shop)
        await change((await open_scene(shop, store)).by(watched), None)
        await shop.close()
        called |= watched.called
    assert taking - called == set(), "use cases that take a key: add them to contracts/changes.py"


def test_every_other_use_case_that_changes_something_is_here() -> None:
    writing = set(use_cases()) - set(names(READS, INSIDE)) - {"place_order"}
    keyed = {
        name for name, call in use_cases().items() if "key" in inspect.signature(call).parameters
    }
    unkeyed = writing - keyed - MADE_AGAIN
    assert unkeyed == set(UNKEYED), "a use case without its row in contracts/unkeyed.py"


# --- placing ---


@pytest.fixture
async def scene(shop: UseCases, store: Store) -> Scene:
    return await open_scene(shop, store)


@pytest.mark.parametrize("fault", [LOSE_BEFORE, LOSE_AFTER])
async def test_placing_finds_out_by_itself_and_answers_as_the_first_time(
    scene: Scene, process: Process, fault: str
) -> None:
    process.faults.append(fault)
    orders = [
        process.shop.place_order(caller=scene.owner, items=wanted(scene, 2)) for _ in range(5)
    ]
    stock = await scene.shop.stock_of(scene.teapot)
    answers = await asyncio.gather(*orders)
    assert [answer.created for answer in answers] == [True] * 5
    assert len({answer.order.id for answer in answers}) == 5
    assert await scene.shop.stock_of(scene.teapot) == stock - 10
    assert await scene.shop.differences() == []


@pytest.mark.parametrize("fault", [LOSE_BEFORE, LOSE_AFTER])
async def test_of_a_lost_batch_orders_are_found_and_changes_told_as_unknown(
    scene: Scene, process: Process, fault: str
) -> None:
    """What was refused beside them is decided again."""
    shop, teapot = process.shop, scene.teapot

    async def restock() -> Product:
        change = shop.container.change_stock()
        return await change(
            caller=scene.boss, product_id=teapot.id, delta=5, reason="restock", key=keyed()
        )

    process.faults.append(fault)
    stock = await scene.shop.stock_of(teapot)
    answers: Any = await asyncio.gather(
        shop.place_order(caller=scene.owner, items=wanted(scene, 1)),
        shop.cancel_order(caller=scene.owner, order_id=scene.placed.id),
        restock(),
        shop.place_order(caller=scene.owner, items=wanted(scene, 10_000)),
        shop.return_order(caller=scene.boss, order_id=scene.paid.id),
        return_exceptions=True,
    )
    placed, *others = answers
    assert placed.created
    assert [type(answer) for answer in others] == [
        OutcomeUnknown,
        OutcomeUnknown,
        OutOfStock,
        TransitionNotAllowed,
    ]
    done = fault == LOSE_AFTER
    assert await scene.shop.stock_of(teapot) == stock - 1 + (3 + 5 if done else 0)
    if done:
        with pytest.raises(AlreadyDone):
            await restock()
    else:
        await restock()
    # It notices by itself whether it was done.
    await shop.cancel_order(caller=scene.owner, order_id=scene.placed.id)
    assert await scene.shop.stock_of(teapot) == stock - 1 + 3 + 5
    assert await scene.shop.differences() == []


async def test_a_repeat_beside_a_loss_is_still_a_repeat(scene: Scene, process: Process) -> None:
    process.faults.append(LOSE_AFTER)
    order = scene.placed
    again = process.shop.place_order(caller=scene.owner, items=wanted(scene, 3), order_id=order.id)
    new = process.shop.place_order(caller=scene.owner, items=wanted(scene, 1))
    repeated, placed = await asyncio.gather(again, new)
    assert (repeated.created, placed.created) == (False, True)
    assert repeated.order == order


def wanted(scene: Scene, quantity: int) -> tuple[OrderItem, ...]:
    return items((scene.teapot.id, quantity))
