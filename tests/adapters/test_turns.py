"""Turns: nobody has more than their share under way, and nobody waits for another user's."""

import asyncio

import pytest

from shop.adapters.turns import Turns, UserTurns
from shop.domain.errors import Overloaded

ANN, BOB = 1, 2


async def test_a_user_has_so_many_turns_at_once_and_another_as_many() -> None:
    turns = UserTurns(at_once=2, seconds_max=0.01)
    held = [await turns.take(user) for user in (ANN, ANN, BOB, BOB)]
    for user in (ANN, BOB):
        with pytest.raises(Overloaded) as refused:
            await turns.take(user)
        assert refused.value.retry_after >= 1
    held[0].release()
    await turns.take(ANN)


async def test_turns_of_the_process_are_the_same_for_all() -> None:
    turns = Turns(at_once=1, seconds_max=0.01)
    held = await turns.take()
    with pytest.raises(Overloaded) as refused:
        await turns.take()
    assert refused.value.retry_after >= 1
    held.release()
    await turns.take()


async def test_who_waits_gets_the_turn_that_ends_first_come_first_served() -> None:
    turns = UserTurns(at_once=1, seconds_max=5)
    served = []

    async def use(number: int) -> None:
        turn = await turns.take(ANN)
        served.append(number)
        await asyncio.sleep(0)
        turn.release()

    await asyncio.gather(*(use(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]


async def test_who_gave_up_waiting_has_taken_nothing() -> None:
    turns = UserTurns(at_once=1, seconds_max=5)
    held = await turns.take(ANN)
    waiting = [asyncio.create_task(turns.take(ANN)) for _ in range(3)]
    await asyncio.sleep(0)
    held.release()
    # One of them has been given the turn by now, and does not know it yet.
    for task in waiting[:2]:
        task.cancel()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, True, False]


async def test_of_users_without_turns_nothing_is_kept() -> None:
    turns = UserTurns(at_once=1, seconds_max=5)
    for user in range(1_000):
        (await turns.take(user)).release()
    assert len(turns._turns) <= 1
