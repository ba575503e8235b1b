"""Sessions: families of refresh tokens that descend from one sign-in.

A token stays good until its own time is over or its successor has been used; from then on it is
retired, and presenting a retired token ends the family. So a client that never adopts successors
works, and one that does gets theft detection. Successors of the same token are siblings. Two tabs
that refresh at once get siblings that were issued together, and both live. A sibling that was
issued at another time is retired too: it may be a thief's, who refreshed a stolen token.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

CLIENT_LENGTH_MAX = 200
ISSUED_TOGETHER = timedelta(seconds=30)
"""Siblings issued within this time of each other may both be used."""
SESSIONS_MAX = 100
"""How many open sessions a user has, at most; a further sign-in ends the oldest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLifetimes:
    refresh: timedelta = timedelta(days=1)
    family: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFamily:
    id: UUID
    user_id: int
    started_at: datetime
    ends_at: datetime
    """For good, however often it was refreshed."""
    last_used_at: datetime
    expires_at: datetime
    """When the last of its tokens expires; past it nobody needs to know of the family."""
    client: str = ""
    """What signed in, in its own words (`User-Agent`)."""
    ended_at: datetime | None = None
    """Signed out, or ended because a retired token was presented."""

    @property
    def key(self) -> tuple[datetime, UUID]:
        """What lists are ordered by."""
        return self.last_used_at, self.id

    def is_over(self, now: datetime) -> bool:
        return self.ended_at is not None or now >= self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuery:
    """The open sessions of a user."""

    user_id: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A refresh token as it is stored: by its hash only."""

    token_hash: bytes
    family_id: UUID
    predecessor: bytes | None
    """Hash of the token it was given out for; using this one retires that one."""
    issued_at: datetime
    expires_at: datetime
    retired: bool = False

    def retires(self, other: "RefreshToken") -> bool:
        """Whether the use of this one retires the other one of its family."""
        if self.predecessor is None or other.token_hash == self.token_hash:
            return False
        if other.token_hash == self.predecessor:
            return True
        apart = abs(other.issued_at - self.issued_at)
        return other.predecessor == self.predecessor and apart > ISSUED_TOGETHER


def hash_token(token: str) -> bytes:
    """SHA-256; enough for a random token of 256 bits, which cannot be guessed from a list."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def describe_client(user_agent: str) -> str:
    """What a client calls itself, as far as it fits and is fit to be shown."""
    printable = "".join(c if c.isprintable() else "?" for c in user_agent)
    return printable[:CLIENT_LENGTH_MAX]
