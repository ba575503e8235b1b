"""Idempotency keys: every change is made once for its key, whoever repeats it, and when."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from shop.domain.errors import AlreadyDone, IdempotencyKeyReused, OutOfStock
from shop.domain.keys import KeyedRequest
from shop.domain.ports import Batch, Changes
from shop.domain.services import purge
from shop.domain.users import OPERATOR
from tests.contracts.changes import CHANGES, Scene, keyed, open_scene
from tests.stores import Store
from tests.use_cases import UseCases

WEEK = timedelta(days=7)


@pytest.fixture
async def scene(shop: UseCases, store: Store) -> Scene:
    return await open_scene(shop, store)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_made_once_for_its_key(scene: Scene, name: str) -> None:
    change, before = CHANGES[name], await scene.state()
    result = await change(scene, keyed())
    after = await scene.state()
    assert after != before, "the scene gives it nothing to do"
    for _ in range(2):
        with pytest.raises(AlreadyDone) as repeat:
            await change(scene, keyed())
        assert repeat.value.answer == repr(result).encode()
    assert await scene.state() == after
    assert await scene.shop.differences() == []


@pytest.mark.parametrize("name", ["stock", "create", "return"])
async def test_of_many_at_once_in_two_processes_one_makes_the_change(
    scene: Scene, name: str
) -> None:
    other = scene.by(UseCases(scene.store.unit_of_work, process=2))
    change = CHANGES[name]
    answers = await asyncio.gather(
        *(change(process, keyed()) for process in (scene, other) * 4), return_exceptions=True
    )
    [result] = [answer for answer in answers if not isinstance(answer, BaseException)]
    repeats = [answer for answer in answers if isinstance(answer, AlreadyDone)]
    assert [repeat.answer for repeat in repeats] == [repr(result).encode()] * 7
    after = await scene.state()
    with pytest.raises(AlreadyDone):
        await change(scene, keyed())
    assert await scene.state() == after


@pytest.mark.parametrize(
    "other", [keyed(route="POST /y/"), keyed(body=b'{"a":1}')], ids=["route", "body"]
)
async def test_a_key_is_for_one_request(scene: Scene, other: object) -> None:
    await CHANGES["stock"](scene, keyed())
    after = await scene.state()
    with pytest.raises(IdempotencyKeyReused):
        await CHANGES["stock"](scene, other)  # type: ignore[arg-type]
    assert await scene.state() == after


async def test_a_key_is_its_users_own(scene: Scene) -> None:
    stock = await scene.shop.stock_of(scene.teapot)
    for request in (keyed(1), keyed(2), keyed(1, key="key-2"), keyed(1, key="KEY-1")):
        await CHANGES["stock"](scene, request)
    assert await scene.shop.stock_of(scene.teapot) == stock + 4 * 5


async def test_a_refusal_is_not_stored(scene: Scene) -> None:
    take = {"caller": scene.boss, "product_id": scene.teapot.id, "delta": -95, "reason": "x"}
    with pytest.raises(OutOfStock):
        await scene.shop.change_stock(**take, key=keyed())
    await scene.shop.change_stock(**{**take, "delta": 10})
    assert (await scene.shop.change_stock(**take, key=keyed())).stock == 6


async def test_what_changes_nothing_has_its_answer_stored_as_well(scene: Scene) -> None:
    first = await scene.shop.pay_order(caller=scene.boss, order_id=scene.paid.id, key=keyed())
    assert first == scene.paid
    await scene.shop.cancel_order(caller=scene.boss, order_id=scene.paid.id)
    with pytest.raises(AlreadyDone) as repeat:
        await scene.shop.pay_order(caller=scene.boss, order_id=scene.paid.id, key=keyed())
    assert repeat.value.answer == repr(first).encode()


async def test_keys_are_kept_for_a_week_and_forgotten_step_by_step(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "PURGED_PER_STEP", 2)
    for number in range(5):
        await CHANGES["stock"](scene, keyed(key=f"key-{number}"))
    scene.shop.clock.advance(WEEK)
    assert await scene.shop.purge_keys(caller=OPERATOR) == 0
    with pytest.raises(AlreadyDone):
        await CHANGES["stock"](scene, keyed(key="key-0"))
    scene.shop.clock.advance(timedelta(seconds=1))
    assert await scene.shop.purge_keys(caller=OPERATOR) == 5
    await CHANGES["stock"](scene, keyed(key="key-0"))


async def test_a_batch_claims_keys_each_with_its_own_digest(store: Store) -> None:
    """And finds those that were claimed before, among new ones."""
    requests = [
        keyed(user_id, key=f'ké"\\y {user_id}', body=b"%d" % user_id) for user_id in range(1, 6)
    ]

    async def claim(some: Sequence[KeyedRequest]) -> Batch:
        async with store.unit_of_work(batch=True) as uow:
            batch = await uow.batch.lock(
                order_ids=[], product_ids=[], user_ids=[], changing=[], keys=some
            )
            answers = [each.answered(each.key) for each in some if each.place in batch.claimed]
            await uow.batch.add([], [], products={}, changes=Changes(answers=answers))
            await uow.commit()
        return batch

    first = await claim(requests[:3])
    assert first.claimed == {each.place for each in requests[:3]}
    assert first.answers == {}
    second = await claim(requests)
    assert second.claimed == {each.place for each in requests[3:]}
    assert second.answers == {each.place: each.answered(each.key) for each in requests[:3]}
