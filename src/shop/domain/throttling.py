"""Throttling of sign-ins: guessing gets slower and slower, and its victim is never locked out.

Attempts are counted under a user name and under an address, before the password is looked at, so
that guesses made at once count as well. Past a few failures each further attempt must wait, twice
as long each time up to a limit. A success forgets the failures. Where a user has signed in before,
only failures from there count for that name, so that nobody elsewhere can keep the user out.
"""

import hashlib
import ipaddress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from shop.domain.errors import TooManyAttempts

FORGOTTEN_AFTER = timedelta(minutes=15)
KNOWN_FOR = timedelta(days=30)

# The end of no wait at all. It is no moment of an attempt: clocks of processes differ, and of two
# attempts made at once the later one may be counted first.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many failures are free, and how long the wait after a further one can get."""

    free: int
    wait_max: timedelta

    def wait_after(self, failures: int) -> timedelta:
        if failures <= self.free:
            return timedelta()
        # Beyond 2**20 seconds the limit holds anyway.
        return min(timedelta(seconds=2 ** min(failures - self.free, 20)), self.wait_max)


WITH_NAME = Patience(free=5, wait_max=timedelta(minutes=1))
WITH_ADDRESS = Patience(free=20, wait_max=timedelta(minutes=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What is remembered under a key."""

    key: bytes
    failures: int = 0
    blocked_until: datetime = LONG_AGO
    seen_at: datetime
    is_known: bool = False
    """For a name with an address: whether the user has signed in from there."""

    def check(self, now: datetime) -> None:
        """Raises `TooManyAttempts` while the next attempt has to wait."""
        if now < self.blocked_until:
            raise TooManyAttempts(retry_after=(self.blocked_until - now).seconds + 1)

    def failed(self, now: datetime, patience: Patience) -> Self:
        """After one more, which counts as failed until it has succeeded."""
        failures = 1 if now - self.seen_at > FORGOTTEN_AFTER else self.failures + 1
        wait = patience.wait_after(failures)
        return replace(
            self,
            failures=failures,
            blocked_until=now + wait if wait else LONG_AGO,
            seen_at=now,
        )

    def forgiven(self, now: datetime, *, is_known: bool = False) -> Self:
        return replace(self, failures=0, blocked_until=LONG_AGO, seen_at=now, is_known=is_known)

    def is_known_at(self, now: datetime) -> bool:
        return self.is_known and now - self.seen_at < KNOWN_FOR

    def is_forgotten(self, now: datetime) -> bool:
        """Whether it makes no difference any more."""
        return now - self.seen_at > (KNOWN_FOR if self.is_known else FORGOTTEN_AFTER)

    def undone(self) -> Self:
        """Without the last one, which succeeded; what others failed at stays."""
        return replace(self, failures=max(0, self.failures - 1), blocked_until=LONG_AGO)


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
        """Of all who register from there, under whatever name."""
        return cls.of(f"register {_network(address)}", address)


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
