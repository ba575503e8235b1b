"""Blocking work in a thread that nobody has to wait for, not even the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def try_for(seconds_max: float, work: Callable[[], object], *, name: str) -> None:
    """Returns when the work is done or the time is over; then it goes on as long as it can.

    A thread of an executor would be waited for when the process ends, however long it takes.
    """
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            # The loop may be gone by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name=name, daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), seconds_max)
