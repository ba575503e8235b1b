"""The real clock, and makers of ids, codes and secrets."""

import os
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

# Crockford's base 32: no I, L, O or U, so a code survives being read out.
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562): made later it sorts later, so indexes grow at their end."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    number = milliseconds << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=number)


def new_order_code() -> str:
    """60 random bits."""
    number = int.from_bytes(os.urandom(8), "big")
    return "".join([_PAIRS[number >> shift & 0x3FF] for shift in range(0, 60, 10)])


def new_refresh_token() -> str:
    return secrets.token_urlsafe(32)
