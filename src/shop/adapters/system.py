"""The real clock, and makers of ids, codes and secrets."""

import base64
import os
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

# Crockford's base 32: no I, L, O or U, so a code survives being read out.
_TO_CROCKFORD = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)
_CODE_LENGTH = 12


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
    encoded = base64.b32encode(os.urandom(8))[:_CODE_LENGTH]
    return encoded.translate(_TO_CROCKFORD).decode("ascii")


def new_refresh_token() -> str:
    return secrets.token_urlsafe(32)
