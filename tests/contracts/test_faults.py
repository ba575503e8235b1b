"""What a use case does when its transaction loses a race, or its outcome is not known."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Self

import pytest
from dependency_injector import providers

from shop.domain.errors import AlreadyDone, OutcomeUnknown, WriteConflict
from shop.domain.orders import OrderItem
from shop.domain.services import retrying
from tests.builders import items
from tests.contracts.changes import CHANGES, MORE_EACH_TIME, Scene, keyed, open_scene
from tests.stores import Store
from tests.use_cases import UseCases

LOSE_RACE, LOSE_BEFORE, LOSE_AFTER = "a race lost", "lost before", "lost after"


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
        await self._real.commit(result)
        if fault == LOSE_AFTER:
            raise OutcomeUnknown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
async def scene(shop: UseCases, store: Store, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(retrying, "BACKOFF", 0.0001)
    return await open_scene(shop, store)


def faulty(scene: Scene, *faults: str) -> Scene:
    """The scene, seen by a process whose COMMITs meet these faults."""
    process = UseCases(scene.store.unit_of_work, process=3)
    left = deque(faults)

    def unit_of_work(**options: Any) -> Faulty:
        return Faulty(scene.store.unit_of_work(**options), left)

    process.container.unit_of_work.override(providers.Callable(unit_of_work))
    return scene.by(process)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_race_lost_is_tried_again(scene: Scene, name: str) -> None:
    losing = faulty(scene, *[LOSE_RACE] * (retrying.ATTEMPTS_MAX - 1))
    before = await scene.state()
    await CHANGES[name](losing, None)
    assert await scene.state() != before
    assert await scene.shop.differences() == []


@pytest.mark.parametrize("name", CHANGES)
async def test_so_many_times_and_no_more(scene: Scene, name: str) -> None:
    losing, before = faulty(scene, *[LOSE_RACE] * retrying.ATTEMPTS_MAX), await scene.state()
    with pytest.raises(WriteConflict):
        await CHANGES[name](losing, None)
    assert await scene.state() == before


@pytest.mark.parametrize("fault", [LOSE_BEFORE, LOSE_AFTER])
@pytest.mark.parametrize("name", CHANGES)
async def test_an_unknown_outcome_is_told_and_found_out_under_its_key(
    scene: Scene, name: str, fault: str
) -> None:
    losing, before = faulty(scene, fault), await scene.state()
    with pytest.raises(OutcomeUnknown):
        await CHANGES[name](losing, keyed())
    if fault == LOSE_AFTER:
        after = await scene.state()
        with pytest.raises(AlreadyDone):
            await CHANGES[name](losing, keyed())
        assert await scene.state() == after != before
    else:
        assert await scene.state() == before
        await CHANGES[name](losing, keyed())
        assert await scene.state() != before
    assert await scene.shop.differences() == []


@pytest.mark.parametrize("name", MORE_EACH_TIME)
async def test_without_a_key_a_repeat_may_do_it_twice(scene: Scene, name: str) -> None:
    """Why the answer says to look before it is repeated."""
    losing = faulty(scene, LOSE_AFTER)
    with pytest.raises(OutcomeUnknown):
        await CHANGES[name](losing, None)
    once = await scene.state()
    await CHANGES[name](losing, None)
    assert await scene.state() != once


# --- placing ---


@pytest.mark.parametrize("fault", [LOSE_BEFORE, LOSE_AFTER])
async def test_placing_finds_out_by_itself_and_answers_as_the_first_time(
    scene: Scene, fault: str
) -> None:
    losing = faulty(scene, fault)
    orders = [losing.shop.place_order(caller=scene.owner, items=wanted(scene, 2)) for _ in range(5)]
    stock = await scene.shop.stock_of(scene.teapot)
    answers = await asyncio.gather(*orders)
    assert [answer.created for answer in answers] == [True] * 5
    assert len({answer.order.id for answer in answers}) == 5
    assert await scene.shop.stock_of(scene.teapot) == stock - 10
    assert await scene.shop.differences() == []
    await losing.shop.intake.close()


async def test_a_repeat_beside_a_loss_is_still_a_repeat(scene: Scene) -> None:
    losing, order = faulty(scene, LOSE_AFTER), scene.placed
    again = losing.shop.place_order(caller=scene.owner, items=wanted(scene, 3), order_id=order.id)
    new = losing.shop.place_order(caller=scene.owner, items=wanted(scene, 1))
    repeated, placed = await asyncio.gather(again, new)
    assert (repeated.created, placed.created) == (False, True)
    assert repeated.order == order
    await losing.shop.intake.close()


def wanted(scene: Scene, quantity: int) -> tuple[OrderItem, ...]:
    return items((scene.teapot.id, quantity))
