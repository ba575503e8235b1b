"""Counting attempts to sign in, inside the caller's transaction; the rules are in `throttling`."""

from datetime import datetime

from shop.domain.errors import TooManyAttempts
from shop.domain.events import Event
from shop.domain.ports import AttemptRepository, Audit
from shop.domain.throttling import (
    WITH_ADDRESS,
    WITH_NAME,
    AttemptKeys,
)


async def note_attempt(
    attempts: AttemptRepository, keys: AttemptKeys, now: datetime, audit: Audit, throttled: Event
) -> None:
    """Count an attempt as failed until it has succeeded.

    Raises `TooManyAttempts`, which is audited as `throttled`; then it is not counted.
    """
    stored = await attempts.lock([keys.name, keys.address, keys.pair], now)
    pair = stored[keys.pair]
    of_name = pair if pair.is_known_at(now) else stored[keys.name]
    of_address = stored[keys.address]
    try:
        of_name.check(now)
        of_address.check(now)
    except TooManyAttempts:
        audit(throttled)
        raise
    await attempts.save([of_name.failed(now, WITH_NAME), of_address.failed(now, WITH_ADDRESS)])


async def forgive_attempt(attempts: AttemptRepository, keys: AttemptKeys, now: datetime) -> None:
    """The attempt succeeded: forget the name's failures, and know where the user signs in from."""
    stored = await attempts.lock([keys.name, keys.address, keys.pair], now)
    await attempts.save(
        [
            stored[keys.name].forgiven(now),
            stored[keys.address].undone(),
            stored[keys.pair].forgiven(now, is_known=True),
        ]
    )
