"""Throttling of sign-ins: guessing gets slower and slower, and its victim is never locked out.

Attempts are counted under a user name and under an address. Only so many are let in before the
outcome of the earlier ones is known, so that guesses made at once get no further than guesses made
one by one; who comes too early waits for those outcomes. Past a few failures each further attempt
is refused for a while, twice as long each time up to a limit. A success forgets the failures of the
counter that it was judged by, but never those of an address. Where a user has signed in before,
name and address have a counter in common that alone judges them: nobody elsewhere, and no neighbour
at the same address, can keep the user out.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from shop.domain.errors import TooManyAttempts

FORGOTTEN_AFTER = timedelta(minutes=15)
KNOWN_FOR = timedelta(days=30)
OUTCOME_WITHIN = timedelta(seconds=30)
"""An attempt whose outcome is not known by then has failed: its client, or its process, is gone."""
KEPT_FOR = FORGOTTEN_AFTER + OUTCOME_WITHIN
"""Failures are forgotten before, but an attempt may have begun just before that."""

# The end of no wait at all. It is no moment of an attempt: clocks of processes differ, and of two
# attempts made at once the later one may be counted first.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)


class MustWait(Exception):  # nothing is wrong
    """An attempt comes too early: others under this key have no outcome yet."""

    def __init__(self, key: bytes) -> None:
        super().__init__("the outcome of other attempts is not known yet")
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRule:
    """How many failures are free, and how long the wait after a further one can get."""

    free: int
    wait_max: timedelta

    def wait_after(self, failures: int) -> timedelta:
        if failures <= self.free:
            return timedelta()
        # Beyond 2**20 seconds the limit holds anyway.
        return min(timedelta(seconds=2 ** min(failures - self.free, 20)), self.wait_max)


WITH_NAME = WaitRule(free=5, wait_max=timedelta(minutes=1))
WITH_ADDRESS = WaitRule(free=20, wait_max=timedelta(minutes=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What is remembered under a key."""

    key: bytes
    failures: int = 0
    pending: tuple[datetime, ...] = ()
    """When each attempt began whose outcome is not known yet; no two at the same moment."""
    blocked_until: datetime = LONG_AGO
    seen_at: datetime
    """The last failure or success; while there is nothing to forget, the last attempt."""
    is_known: bool = False
    """For a name with an address: whether the user has signed in from there."""

    def as_of(self, now: datetime, rule: WaitRule) -> Self:
        """What it is by now: what had no outcome in time has failed, what is old is forgotten.

        A clock that was set back makes no block longer than the failures ask for.
        """
        current = self
        for began in sorted(self.pending):
            if abs(now - began) > OUTCOME_WITHIN:
                current = current.failed(began, min(began + OUTCOME_WITHIN, now), rule)
        if now - current.seen_at > FORGOTTEN_AFTER:
            return replace(current, failures=0, blocked_until=LONG_AGO)
        latest = now + rule.wait_after(current.failures)
        return replace(current, blocked_until=min(current.blocked_until, latest))

    def check(self, now: datetime) -> None:
        """Raises `TooManyAttempts` while it is blocked."""
        if now < self.blocked_until:
            wait = self.blocked_until - now
            raise TooManyAttempts(retry_after=int(wait.total_seconds()) + 1)

    def has_room(self, rule: WaitRule) -> bool:
        """Whether another attempt may begin, even if all that are pending fail."""
        return not self.pending or self.failures + len(self.pending) <= rule.free

    def begun(self, began: datetime, now: datetime) -> Self:
        return replace(
            self,
            pending=(*self.pending, began),
            seen_at=self.seen_at if self.failures else now,
        )

    def withdrawn(self, began: datetime) -> Self:
        """Without a pending attempt, as if it had not been made."""
        return replace(self, pending=tuple(other for other in self.pending if other != began))

    def failed(self, began: datetime, at: datetime, rule: WaitRule) -> Self:
        """With a pending attempt as a failure; one that is not pending has been counted before."""
        if began not in self.pending:
            return self
        failures = 1 if at - self.seen_at > FORGOTTEN_AFTER else self.failures + 1
        wait = rule.wait_after(failures)
        return replace(
            self.withdrawn(began),
            failures=failures,
            blocked_until=max(self.blocked_until, at + wait) if wait else self.blocked_until,
            seen_at=at,
        )

    def forgiven(self, began: datetime, now: datetime, *, is_known: bool = False) -> Self:
        """Without a pending attempt, which succeeded, and without all failures."""
        return replace(
            self.withdrawn(began),
            failures=0,
            blocked_until=LONG_AGO,
            seen_at=now,
            is_known=is_known,
        )

    def is_known_at(self, now: datetime) -> bool:
        return self.is_known and now - self.seen_at < KNOWN_FOR

    def is_forgotten(self, now: datetime) -> bool:
        """Whether it makes no difference any more."""
        return now - self.seen_at > (KNOWN_FOR if self.is_known else KEPT_FOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptKeys:
    """Hashes, so that what people typed as a user name (at times a password) is stored nowhere."""

    name: bytes
    address: bytes
    pair: bytes

    @classmethod
    def of(cls, username: str, address: str) -> Self:
        network = _network(address)
        return cls(
            name=_hash("name", username),
            address=_hash("address", network),
            pair=_hash("pair", username, network),
        )

    @classmethod
    def of_registration(cls, address: str) -> Self:
        """Of all who register from there, under whatever name; apart from those who sign in."""
        registering = f"register {_network(address)}"
        return cls.of(registering, registering)

    @property
    def all(self) -> tuple[bytes, bytes, bytes]:
        return self.name, self.address, self.pair

    def judges(self, *, is_known: bool) -> Mapping[bytes, WaitRule]:
        """The counters that decide about an attempt, each with its rule."""
        if is_known:
            return {self.pair: WITH_NAME}
        return {self.name: WITH_NAME, self.address: WITH_ADDRESS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that was let in and has no outcome yet."""

    keys: AttemptKeys
    began_at: datetime
    """Tells it from the other pending ones."""
    is_known: bool
    """Whether the user had signed in from there when it began."""

    @property
    def judges(self) -> Mapping[bytes, WaitRule]:
        return self.keys.judges(is_known=self.is_known)


def free_moment(now: datetime, counters: Iterable[Attempts]) -> datetime:
    """A moment, now or just after, at which no pending attempt of these began."""
    taken = {began for counter in counters for began in counter.pending}
    while now in taken:
        now += _MOMENT
    return now


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).digest()


def _network(address: str) -> str:
    """An IPv6 host has a whole /64 to choose addresses from; it counts as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
