"""PostgreSQL's replicas: which of them may serve reads, and whether one has what was seen already.

Each is looked at every second, beside the primary, so that nobody waits for one that is away. How
late one is, is told by what the primary had written when, by this process's clock: the clocks of
the servers have no say in it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import asyncpg
import structlog

from shop.adapters.sql.drivers import Driver
from shop.adapters.sql.engine import DatabaseOptions, Engines, create_engines
from shop.adapters.sql.errors import driver_error
from shop.adapters.sql.marks import HAS_SEEN, SYSTEM, TIMELINE_OF_ANY
from shop.adapters.sql.statements import StatementObserver
from shop.adapters.sql.urls import each_host, hosts_of, parse_url
from shop.adapters.work import Seen

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.replicas")

LOOK_SECONDS_MAX = 2.0
"""Of one look at a server; who takes longer is away."""
SAMPLES_MAX = 300

_HAS = f"SELECT {HAS_SEEN.format(*(f'${n}::bigint' for n in (1, 2, 3)))} AS has_seen"

_LOOK = f"""
SELECT
    pg_is_in_recovery() AS is_standby,
    {SYSTEM} AS system,
    {TIMELINE_OF_ANY} AS timeline,
    (
        CASE
            WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn()
        END - '0/0'::pg_lsn
    )::bigint AS written,
    (SELECT string_agg(version_num, ' ' ORDER BY version_num) FROM alembic_version) AS schema
"""  # noqa: S608


class Look(NamedTuple):
    """What a server says of itself."""

    is_standby: bool
    system: int
    timeline: int
    written: int | None
    """How much of the log it has written, or replayed, in bytes; None if it replays none."""
    schema: str | None


class Sample(NamedTuple):
    """How much of its log the primary had written when, in seconds."""

    at: float
    written: int


class ReplicaObserver:
    """Told what replicas do; this one does nothing with it."""

    def read_served(self, by: str) -> None:
        """`replica`, or the primary: `behind`, `unfit` or `failed` says why."""

    def replica_is(self, name: str, *, fit: bool, lag: float | None) -> None: ...


@dataclass(kw_only=True, eq=False)
class Replica:
    name: str
    """Its host and port."""
    engines: Engines
    state: str = "unknown"
    """`fit`, or why it is not asked."""
    reason: str = ""
    """What failed, if something did."""
    lag: float | None = None
    """Seconds, about; None if it is not known."""

    async def has(self, driver: Driver, seen: Seen) -> bool:
        """Whether what is read on this connection from now on has all of that."""
        assert isinstance(driver, asyncpg.Connection)
        [row] = await driver.fetch(_HAS, *seen)
        return bool(row["has_seen"])

    def fail(self, error: BaseException) -> None:
        """It is not asked again before it has been looked at."""
        self.become("failed", reason=str(driver_error(error)))

    @property
    def is_well(self) -> bool:
        return self.state in (FIT, PRIMARY)

    def become(self, state: str, *, reason: str = "") -> None:
        before, self.state, self.reason = self.state, state, reason
        if state == before:
            # It is told once: what is away stays so for a while.
            return
        about = {"replica": self.name, "state": state, "before": before}
        if reason:
            about["reason"] = reason
        if self.is_well:
            logger.info("replica.changed", **about)
        else:
            logger.warning("replica.changed", **about)
        if before == FIT and self.engines.servers is not None:
            # What is open to it may be silent for ever.
            self.engines.servers.end_all()


FIT, PRIMARY = "fit", "primary"


def state_of(look: Look, primary: Look | None, *, is_late: bool) -> str:
    """`fit`, or the first reason why a server serves no reads; `primary` is no fault."""
    if primary is None:
        return "unknown"
    if not look.is_standby:
        return PRIMARY if look[1:3] == primary[1:3] else "promoted"
    if look.system != primary.system:
        return "foreign"
    if look.timeline != primary.timeline:
        return "other_timeline"
    if look.schema != primary.schema:
        return "other_schema"
    return "late" if is_late else FIT


def lag_of(samples: Sequence[Sample], written: int) -> float | None:
    """How long ago the primary had written no more than that; None if it is longer than is known.

    Between two samples it is taken to have written evenly.
    """
    if written >= samples[-1].written:
        return 0.0
    for earlier, later in reversed(list(pairwise(samples))):
        if earlier.written <= written:
            share = (written - earlier.written) / (later.written - earlier.written)
            return samples[-1].at - earlier.at - share * (later.at - earlier.at)
    return None


class Replicas:
    """The replicas of one primary, as one process sees them. Until the first look none is fit."""

    def __init__(
        self,
        primary: Engines,
        replicas: Sequence[Replica],
        *,
        lag_max: float,
        observer: ReplicaObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lag_max` in seconds."""
        self.observer = observer or ReplicaObserver()
        self._engines = primary
        self._replicas = replicas
        self._lag_max = lag_max
        self._clock = clock
        self._primary: Look | None = None
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._turn = 0

    def __len__(self) -> int:
        return len(self._replicas)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)

    def choose(self) -> Replica | None:
        """One that is fit, each in its turn; None if there is none."""
        fit = [replica for replica in self._replicas if replica.state == FIT]
        self._turn += 1
        return fit[self._turn % len(fit)] if fit else None

    async def look(self) -> None:
        """Look at all servers, the primary first: what it had written then, the others may have.

        While it is away it writes nothing, so that they come no later.
        """
        self._sample(await _look_at(self._engines))
        # Not `gather`, which would not wait for them where this is cancelled.
        async with asyncio.TaskGroup() as looking:
            looks = [looking.create_task(_look_at(each.engines)) for each in self._replicas]
        for replica, look in zip(self._replicas, looks, strict=True):
            self._judge(replica, look.result())

    def _sample(self, primary: Look | Exception) -> None:
        if isinstance(primary, Exception) or primary.is_standby:
            return
        assert primary.written is not None
        known = self._primary
        if known is not None and known[:3] != primary[:3]:
            # Another server's log.
            self._samples.clear()
        self._primary = primary
        self._samples.append(Sample(self._clock(), primary.written))

    def _judge(self, replica: Replica, look: Look | Exception) -> None:
        replica.lag = None
        if isinstance(look, Exception):
            replica.become("away", reason=str(driver_error(look)) or type(look).__name__)
        else:
            if self._samples and look.written is not None:
                replica.lag = lag_of(self._samples, look.written)
            is_late = replica.lag is None or replica.lag > self._lag_max
            replica.become(state_of(look, self._primary, is_late=is_late))
        self.observer.replica_is(replica.name, fit=replica.is_well, lag=replica.lag)

    async def dispose(self) -> None:
        for replica in self._replicas:
            await replica.engines.dispose()


async def _look_at(engines: Engines) -> Look | Exception:
    """Or why it does not answer, or not in time."""
    try:
        async with asyncio.timeout(LOOK_SECONDS_MAX):
            lent = await engines.connect(engines.look_up)
            try:
                assert isinstance(lent.driver, asyncpg.Connection)
                [row] = await lent.driver.fetch(_LOOK)
            except BaseException:
                lent.terminate()
                await asyncio.shield(asyncio.create_task(lent.close()))
                raise
    except Exception as error:
        return error
    await engines.give_back(lent)
    return Look(*row)


def create_replicas(
    primary: Engines,
    url: str,
    options: DatabaseOptions,
    *,
    lag_max: float,
    observer: ReplicaObserver | None = None,
    statement_observers: Sequence[StatementObserver] = (),
) -> Replicas:
    """Each host of the URL is one; it has pools of its own, which only read. None has no URL."""
    options = replace(options, marking=False)
    replicas = [
        Replica(
            name=hosts_of(each),
            engines=create_engines(each, options, observers=statement_observers),
        )
        for each in (each_host(parse_url(url)) if url else ())
    ]
    return Replicas(primary, replicas, lag_max=lag_max, observer=observer)
