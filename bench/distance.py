"""A database that is further away: everything takes so long to get there, and to come back.

`python -m bench.distance SOCKET TARGET SECONDS` listens at one Unix socket and speaks for another.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.servers import START_SECONDS_MAX

_CHUNK = 1 << 16
_SOCKET = ".s.PGSQL.5432"


@contextmanager
def further_away(host: Path, *, folder: Path, seconds: float) -> Iterator[Path]:
    """The folder of a PostgreSQL socket from which that in `host` is so far away, one way."""
    socket = folder / _SOCKET
    socket.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.distance", socket, host / _SOCKET, str(seconds)]
    )
    try:
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError("the distance did not start")
            time.sleep(0.05)
        yield folder
    finally:
        process.terminate()
        process.wait()


async def _serve(socket: Path, target: Path, seconds: float) -> None:
    async def connect(near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_unix_connection(target)
        with suppress(ConnectionError):
            await asyncio.gather(
                _carry(near_in, far_out, seconds), _carry(far_in, near_out, seconds)
            )

    async with await asyncio.start_unix_server(connect, socket) as server:
        await server.serve_forever()


async def _carry(source: asyncio.StreamReader, to: asyncio.StreamWriter, seconds: float) -> None:
    """What is read goes on later, in its order; what follows it is read meanwhile."""
    loop = asyncio.get_running_loop()
    while chunk := await source.read(_CHUNK):
        loop.call_later(seconds, to.write, chunk)
    loop.call_later(seconds, to.close)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
