"""Work in threads that nobody waits for."""

import asyncio
import subprocess
import sys
import threading

from shop.adapters.threads import try_for


async def test_it_returns_when_the_work_is_done() -> None:
    done: list[str] = []
    async with asyncio.timeout(5):
        await try_for(60, lambda: done.append(threading.current_thread().name), name="aside")
    assert done == ["aside"]


async def test_it_returns_when_the_time_is_over_though_the_work_goes_on() -> None:
    end, ended = threading.Event(), threading.Event()

    def work() -> None:
        end.wait(10)
        ended.set()

    async with asyncio.timeout(5):
        await try_for(0.01, work, name="aside")
    assert not ended.is_set()
    end.set()
    assert await asyncio.to_thread(ended.wait, 5)


def test_a_process_ends_while_the_work_goes_on() -> None:
    program = (
        "import asyncio, time; from shop.adapters.threads import try_for; "
        "asyncio.run(try_for(0.01, lambda: time.sleep(600), name='aside'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
