"""Load over HTTP, from wrk: a closed loop of so many connections."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.data import LINES_MAX, PASSWORD, PRODUCTS, SIGNING_IN

TIMEOUT_SECONDS = 60
SIGNING_IN_SECONDS = 600
"""Longer than any measurement."""
_CHANGES = Path(__file__).with_name("changes.lua")
_ORDERS = Path(__file__).with_name("orders.lua")
_READS = Path(__file__).with_name("reads.lua")
_ROWS = Path(__file__).with_name("rows.lua")
_SIGN_INS = Path(__file__).with_name("sign_ins.lua")


class Load(msgspec.Struct, frozen=True):
    """What a load generator saw."""

    requests: int
    seconds: float
    refused: int
    """Answers that are not a success."""
    broken: int
    """Requests without an answer."""
    p50: float
    p99: float
    """Milliseconds."""

    @property
    def answered(self) -> int:
        return self.requests - self.refused

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


def send_orders(
    url: str, *, tokens: Path, workload: str, connections: int, seconds: int, seed: int
) -> Load:
    arguments = [str(tokens), workload, str(PRODUCTS), str(LINES_MAX), str(seed)]
    run = subprocess.run(
        [*_wrk(url, _ORDERS, connections, seconds), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Load)


def send_changes(url: str, *, tokens: Path, connections: int, seconds: int) -> Load:
    """Orders are placed, amended and cancelled."""
    run = subprocess.run(
        [*_wrk(url, _CHANGES, connections, seconds), str(tokens)],
        check=True,
        capture_output=True,
        text=True,
    )
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Load)


def send_reads(
    url: str,
    *,
    tokens: Path,
    addresses: Path,
    connections: int,
    seconds: int,
    seed: int,
    delay: int = 0,
    seen: str = "",
) -> Load:
    """Each connection waits `delay` milliseconds before it asks again; `seen` is what it saw."""
    arguments = [str(tokens), str(addresses), str(seed), str(delay), seen]
    run = subprocess.run(
        [*_wrk(url, _READS, connections, seconds), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Load)


def send_rows(
    url: str, *, token: Path, bodies: Path, connections: int, seconds: int, every: float
) -> Load:
    """A request is sent every so many milliseconds; 0: as fast as they are answered."""
    run = subprocess.run(
        [*_wrk(url, _ROWS, connections, seconds), str(token), str(bodies), str(every)],
        check=True,
        capture_output=True,
        text=True,
    )
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Load)


@contextmanager
def people_signing_in(url: str) -> Iterator[None]:
    """While the block runs, so many are always waiting to be signed in."""
    arguments = [str(SIGNING_IN), PASSWORD]
    process = subprocess.Popen(
        [*_wrk(url, _SIGN_INS, SIGNING_IN, seconds=SIGNING_IN_SECONDS), *arguments],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError("nobody signed in any more while orders were measured")
    finally:
        process.kill()
        process.wait()


def _wrk(url: str, script: Path, connections: int, seconds: int) -> list[str]:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("The benchmark needs wrk (on Debian and Ubuntu: apt install wrk).")
    return [
        *(wrk, "--threads=1", f"--connections={connections}", f"--duration={seconds}s"),
        *("--latency", f"--timeout={TIMEOUT_SECONDS}s", f"--script={script}", url, "--"),
    ]
