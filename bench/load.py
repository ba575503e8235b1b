"""Load over HTTP, from wrk: a closed loop of so many connections."""

import shutil
import subprocess
from pathlib import Path

import msgspec

from bench.data import LINES_MAX, PRODUCTS

TIMEOUT_SECONDS = 60
_SCRIPT = Path(__file__).with_name("orders.lua")


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
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("The benchmark needs wrk (on Debian and Ubuntu: apt install wrk).")
    generator = [wrk, "--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
    generator += ["--latency", f"--timeout={TIMEOUT_SECONDS}s", f"--script={_SCRIPT}", url, "--"]
    arguments = [str(tokens), workload, str(PRODUCTS), str(LINES_MAX), str(seed)]
    run = subprocess.run([*generator, *arguments], check=True, capture_output=True, text=True)
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=Load)
