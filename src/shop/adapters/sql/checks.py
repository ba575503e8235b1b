"""What `shop doctor` looks at in a database of either kind; nothing of it is changed.

Each check is a function of a connection, whose transaction may only read.
"""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.findings import Finding, danger, note, ok
from shop.adapters.sql import tables
from shop.adapters.sql.leases import SqlLeaseRepository
from shop.adapters.system import utc_now
from shop.domain.text import counted

FUTURE_MAX = timedelta(seconds=60)
"""How far ahead an order may be: the clocks of the hosts that place them differ."""


async def newest_order(connection: AsyncConnection) -> Finding:
    """Orders of the future: some clock was wrong, and lists by time are no more in their order."""
    created_at = tables.orders.c.created_at
    newest = await connection.scalar(select(created_at).order_by(created_at.desc()).limit(1))
    now = utc_now()
    if newest is not None and newest > now + FUTURE_MAX:
        return danger(
            f"The newest order is {(newest - now).total_seconds():.0f} s ahead of this host's "
            "clock.",
            "Set the clocks of all hosts by NTP; the order keeps its time.",
        )
    return ok("No order is ahead of this host's clock.")


async def background(connection: AsyncConnection, names: Collection[str]) -> Finding:
    """Whether some process holds the lease of each task: that one does it."""
    held = set(await SqlLeaseRepository(connection).held())
    left = sorted(set(names) - held)
    if not left:
        return ok(f"{counted(len(names), 'task')}: a server does each of them.")
    return note(
        f"No server does {', '.join(left)} just now.",
        "Where `shop serve` has run for some minutes: look for lines of shop.background in its "
        "log.",
    )
