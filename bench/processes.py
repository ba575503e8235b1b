"""What processes cost, from /proc, and what the machine is worth just now."""

import os
import resource
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of a process, its living descendants, and those dead ones that were waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name, in parentheses, may hold anything; what follows it is numbers.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(member, 0) for member in family) / _TICKS


def machine_cpu_seconds() -> tuple[float, float]:
    """What all processes of this machine have cost, and what its host gave to other machines."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq) / _TICKS, steal / _TICKS


def waited_cpu_seconds() -> float:
    """Of the children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Pace:
    """How fast the machine is: its host may give it less for a while, which /proc does not show."""

    def __init__(self) -> None:
        self._fastest = float("inf")

    def slowdown(self) -> float:
        """How much longer a fixed piece of work takes now than at its fastest so far."""
        took = min(_fixed_work() for _ in range(5))
        self._fastest = min(self._fastest, took)
        return took / self._fastest


def _fixed_work() -> float:
    began = time.perf_counter()
    sum(number * number for number in range(100_000))
    return time.perf_counter() - began


pace = _Pace()
