"""Real `shop serve` processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_ROOT = Path(__file__).parent.parent
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
SHOP = (str(Path(sys.executable).with_name("shop")), "serve")
CONSTANT = (sys.executable, "-m", "bench.variants", "constant")
DIRECT = (sys.executable, "-m", "bench.variants", "direct")
BARE = (sys.executable, "-m", "bench.variants", "bare")
NAIVE = (sys.executable, "-m", "bench.variants", "naive")


@dataclass(frozen=True, kw_only=True)
class Server:
    pid: int
    url: str


@contextmanager
def serving(
    command: tuple[str, ...], *, workers: int, environment: Mapping[str, str], folder: Path
) -> Iterator[Server]:
    """A server for as long as the block; it has stopped, gracefully, when the block is left."""
    port = _free_port()
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--workers", str(workers)],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                # The code beside this, wherever the command is installed from.
                "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}",
                **environment,
            },
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            try:
                _wait_until_ready(process, url)
                yield Server(pid=process.pid, url=url)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_SECONDS_MAX)
        except BaseException:
            process.kill()
            log.seek(0)
            print(log.read()[-5_000:], file=sys.stderr)
            raise


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            if httpx.get(f"{url}/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError("the server did not start")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
