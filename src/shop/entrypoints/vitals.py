"""What is not counted where it happens, but looked at now and then: queues, pools, the process."""

import asyncio
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shop.adapters.sql.engine import PoolState
from shop.domain.errors import StoreUnavailable
from shop.domain.services.count_stock import ReadCounts
from shop.domain.users import OPERATOR
from shop.entrypoints.metrics import Metrics

_PROBE_SECONDS = 0.02
_FILES_SECONDS = 10.0
"""Between two looks at the open files: it makes a list of all of them."""
_STATM, _FILES = Path("/proc/self/statm"), Path("/proc/self/fd")


class Queue(Protocol):
    @property
    def waiting(self) -> int: ...


class Pools(Protocol):
    @property
    def pools(self) -> Mapping[str, PoolState]: ...


@dataclass(kw_only=True)
class Vitals:
    """Tells the metrics how this process is."""

    metrics: Metrics
    intake: Queue
    passwords: Queue
    reads: Mapping[str, Queue]
    pools: Pools | None
    """None of a store in memory."""
    read_counts: ReadCounts
    monotonic: Callable[[], float] = time.monotonic
    _started_at: float = field(default_factory=time.time)
    _files: dict[str, float] = field(default_factory=dict)
    _files_due_at: float = -math.inf

    async def __call__(self) -> None:
        """Look at it, and at how late the event loop is."""
        self.look()
        due = time.perf_counter() + _PROBE_SECONDS
        await asyncio.sleep(_PROBE_SECONDS)
        self.metrics.lagged(max(0.0, time.perf_counter() - due))

    def look(self) -> None:
        self.metrics.queues_are(
            intake=self.intake.waiting,
            passwords=self.passwords.waiting,
            reads={name: queue.waiting for name, queue in self.reads.items()},
        )
        for name, pool in self.pools.pools.items() if self.pools is not None else ():
            self.metrics.pool_is(name, in_use=pool.in_use, size=pool.size, awaited=pool.awaited)
        if (now := self.monotonic()) >= self._files_due_at:
            self._files, self._files_due_at = _files(), now + _FILES_SECONDS
        of_cpu = resource.getrusage(resource.RUSAGE_SELF)
        self.metrics.process_is(
            {"start_time_seconds": self._started_at, **_memory(), **self._files},
            cpu_seconds=of_cpu.ru_utime + of_cpu.ru_stime,
        )

    async def tell_counts(self) -> None:
        """What one process has counted for all, or `shop stock verify` has found out."""
        try:
            counts = await self.read_counts(caller=OPERATOR)
        except StoreUnavailable:
            self.metrics.database_is(up=False)
            raise
        self.metrics.database_is(up=True)
        self.metrics.products_are(
            out_of_stock=counts.out_of_stock,
            low=counts.low,
            below_zero=counts.below_zero,
            at=counts.counted_at,
        )
        self.metrics.stock_was_verified(differences=counts.differences, at=counts.verified_at)


def _memory() -> dict[str, float]:
    if not _STATM.exists():
        return {}
    pages = int(_STATM.read_text().split()[1])
    return {"resident_memory_bytes": pages * os.sysconf("SC_PAGE_SIZE")}


def _files() -> dict[str, float]:
    figures: dict[str, float] = {"max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    if sys.platform == "linux":
        # One of them is that of looking.
        figures["open_fds"] = len(os.listdir(_FILES)) - 1  # noqa: PTH208 - an object each costs more
    return figures
