"""The queue of attempts: how much it asks of the store. What it is for is in tests/contracts."""

import asyncio

from shop.adapters.attempt_queue import ASKING_MAX, ProcessAttemptQueue
from shop.domain.throttling import MustWait


async def test_a_crowd_takes_only_a_few_connections() -> None:
    queue = ProcessAttemptQueue()
    asking = most = 0

    async def admit() -> None:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(0)
        asking -= 1

    await asyncio.gather(*(queue.admit(admit) for _ in range(100)))
    assert most == ASKING_MAX


async def test_those_who_wait_come_in_the_order_they_came() -> None:
    queue = ProcessAttemptQueue()
    is_full, admitted = True, []

    async def wait(number: int) -> None:
        async def admit() -> None:
            if is_full:
                raise MustWait(b"key")
            admitted.append(number)

        await queue.admit(admit)

    waiting = [asyncio.create_task(wait(number)) for number in range(20)]
    await asyncio.sleep(0.01)
    is_full = False
    queue.settled([b"key", b"another"])
    await asyncio.gather(*waiting)
    assert admitted == list(range(20))
