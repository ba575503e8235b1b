"""What `shop doctor` looks at in PostgreSQL and on the way to it; nothing of it is changed."""

import asyncio
import ipaddress
import time

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.findings import Finding, danger, note, ok
from shop.adapters.sql.drivers import driver_of
from shop.adapters.sql.engine import Engines
from shop.adapters.sql.replicas import FIT, Replicas
from shop.adapters.sql.tables import metadata
from shop.domain.text import counted

VERSION_MIN = 12
"""Before it, statements of the shop are not understood."""
VERSION_MAINTAINED_MIN = 14
"""https://www.postgresql.org/support/versioning/"""

CLOCK_SECONDS_MAX = 1.0
"""Between a host and the database; NTP keeps it far below."""
CONNECTIONS_SHARE_MAX = 0.8
"""Of what there is: beyond it there is no room for a deployment and an operator's commands."""


async def version(connection: AsyncConnection) -> Finding:
    shown = str(await connection.scalar(text("SHOW server_version")))
    number = int(str(await connection.scalar(text("SHOW server_version_num"))))
    return of_version(shown, number // 10_000)


def of_version(shown: str, major: int) -> Finding:
    found = f"PostgreSQL {shown}."
    if major < VERSION_MIN:
        return danger(found, f"The shop needs PostgreSQL {VERSION_MIN} or newer.")
    if major < VERSION_MAINTAINED_MIN:
        return note(found, "Nobody mends its holes any more: go to a newer version.")
    return ok(found)


_DURABILITY = text(
    "SELECT name FROM pg_settings WHERE setting = 'off' "
    "AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name"
)
_UNLOGGED = text(
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u' "
    "AND pg_table_is_visible(oid) AND relname = ANY(:names) ORDER BY relname"
)


async def durability(connection: AsyncConnection) -> Finding:
    """Whether what was answered is on disk, in this role's and this database's sessions."""
    switched_off = list(await connection.scalars(_DURABILITY))
    if switched_off:
        return danger(
            f"Switched off: {', '.join(switched_off)}. A power cut may lose answered orders, or "
            "the whole database.",
            "Switch them on in postgresql.conf, and for the role and the database (ALTER ROLE, "
            "ALTER DATABASE ... RESET).",
        )
    unlogged = list(await connection.scalars(_UNLOGGED, {"names": list(metadata.tables)}))
    if unlogged:
        return danger(
            f"Tables that a crash empties: {', '.join(unlogged)}.",
            "Run ALTER TABLE ... SET LOGGED for each.",
        )
    return ok("fsync, full_page_writes and synchronous_commit are on.")


async def primary(connection: AsyncConnection) -> Finding:
    if await connection.scalar(text("SELECT pg_is_in_recovery()")):
        return danger(
            "This server is a standby: no change can be made.",
            "Name the primary in SHOP_DATABASE_URL, or all servers.",
        )
    return ok("This server is no standby.")


async def clock(connection: AsyncConnection, *, seconds_max: float) -> Finding:
    """This host's clock against the server's, which leases go by; half a round trip is unsure."""
    await connection.scalar(text("SELECT 1"))
    before, started = time.time(), time.perf_counter()
    theirs = float(
        await connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0
    )
    return of_clock(theirs - before, time.perf_counter() - started, seconds_max=seconds_max)


def of_clock(ahead: float, round_trip: float, *, seconds_max: float) -> Finding:
    """`ahead`: the server's time, less that of this host when it was asked for."""
    # It was told at some moment of the round trip.
    difference = max(0.0, abs(ahead - round_trip / 2) - round_trip / 2)
    if difference <= CLOCK_SECONDS_MAX:
        return ok("This host and the database have the same time.")
    found = f"This host's clock and the database's are {difference:.1f} s apart."
    advice = "Set the clocks of all hosts by NTP (chrony, systemd-timesyncd)."
    if difference > max(seconds_max, CLOCK_SECONDS_MAX):
        return danger(
            f"{found} Tokens of one host are refused by another, and orders have wrong times.",
            advice,
        )
    return note(found, advice)


# For who is no superuser, sessions of other roles have no more than their role and database. Of
# those processes that serve the server itself, none has a role.
_CONNECTIONS = text("""
SELECT
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int AS of_server,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_role,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database,
    (
        SELECT count(*) FROM pg_stat_activity
        WHERE usesysid IS NOT NULL AND datname IS NOT NULL
        AND (usename <> current_user OR datname <> current_database()
            OR application_name IS DISTINCT FROM current_setting('application_name'))
    ) AS others
""")


async def connections(connection: AsyncConnection, *, of_worker: int, workers: int) -> Finding:
    """Whether all workers get all connections they may want, beside those of others."""
    row = (await connection.execute(_CONNECTIONS)).one()
    # -1: no limit.
    own = min([limit for limit in (row.of_role, row.of_database) if limit >= 0], default=None)
    room = row.of_server - row.others
    if own is not None:
        room = min(room, own)
    wanted = of_worker * workers
    found = (
        f"{counted(workers, 'worker')} may open {counted(wanted, 'connection')} ({of_worker} "
        f"each); there is room for {room} (others have {row.others})."
    )
    advice = (
        "Fewer workers, a smaller SHOP_DATABASE_POOL_SIZE or SHOP_DATABASE_READ_POOL_SIZE, a "
        "larger max_connections, or PgBouncer."
    )
    if wanted > room:
        return danger(f"{found} Under load requests are refused.", advice)
    if wanted > room * CONNECTIONS_SHARE_MAX:
        return note(found, advice)
    return ok(found)


LOOK_PAUSE = 1.0
"""Seconds between two looks: how late a replica is, is told by what the primary wrote meanwhile."""

# By its state: what is so, and what to do.
_UNFIT = {
    "unknown": ("is compared with a primary that does not answer", "See database."),
    "away": ("does not answer", "Start it, or take it out of SHOP_DATABASE_READ_URL."),
    "promoted": (
        "is no standby any more: what it has is its own",
        "Make it a standby of the primary again, or take it out of SHOP_DATABASE_READ_URL.",
    ),
    "foreign": (
        "is a copy of another database",
        "Name standbys of the primary in SHOP_DATABASE_READ_URL.",
    ),
    "other_timeline": (
        "does not follow this primary, or does not say so yet",
        "Look at pg_stat_wal_receiver there. If it follows, CHECKPOINT makes it say so, and for "
        "good GRANT pg_read_all_stats to the shop's role.",
    ),
    "other_schema": ("lacks a migration", "Wait until it has caught up."),
    "late": (
        "is later than SHOP_DATABASE_READ_LAG_MAX",
        "Look at pg_stat_replication at the primary, and at the disk of the replica.",
    ),
}


async def replicas(replicas: Replicas, *, lag_max: float) -> Finding:
    """Whether each may serve reads; those that may not cost speed, and no promise."""
    for _ in range(2):
        await replicas.look()
        if not any(replica.state == "late" for replica in replicas):
            break
        await asyncio.sleep(LOOK_PAUSE)
    fit = [replica for replica in replicas if replica.state == FIT]
    wrong = [replica for replica in replicas if not replica.is_well]
    if wrong:
        said = [f"{each.name} {_UNFIT[each.state][0]}" for each in wrong]
        advice = dict.fromkeys(_UNFIT[each.state][1] for each in wrong)
        return note(f"The primary serves in their place: {'; '.join(said)}.", " ".join(advice))
    if not fit:
        return note(
            "SHOP_DATABASE_READ_URL names the primary alone.", "Name its standbys, or nothing."
        )
    lags = ", ".join(f"{each.name} ({each.lag or 0.0:.1f} s late)" for each in fit)
    return ok(f"Reads are served by {lags}; {lag_max:g} s are allowed.")


async def pooler(engines: Engines, *, is_set: bool) -> Finding:
    """Whether something stands between: the server's process is then not the one announced.

    Two clients tell the mode of it: what keeps its process while another works is no transaction
    pool, or has more processes than it is asked for.
    """
    async with engines.read.connect() as one, engines.look_up.connect() as two:
        first, second = driver_of(one), driver_of(two)
        assert isinstance(first, asyncpg.Connection)
        assert isinstance(second, asyncpg.Connection)
        process = await _process_of(first)
        async with second.transaction(readonly=True):
            await second.fetchval("SELECT pg_backend_pid()")
            later = await _process_of(first)
    return of_pooler(
        is_there=process != first.get_server_pid(), is_changing=process != later, is_set=is_set
    )


async def _process_of(driver: "asyncpg.Connection[asyncpg.Record]") -> int:
    async with driver.transaction(readonly=True):
        return int(await driver.fetchval("SELECT pg_backend_pid()"))


def of_pooler(*, is_there: bool, is_changing: bool, is_set: bool) -> Finding:
    if is_set and not is_there:
        return note(
            "SHOP_DATABASE_PGBOUNCER is set, and nothing stands before the server: statements are "
            "slower than they need be.",
            "Unset it, or let SHOP_DATABASE_URL lead to PgBouncer.",
        )
    if is_set:
        return ok("A pooler, and SHOP_DATABASE_PGBOUNCER is set.")
    if is_changing:
        return danger(
            "A pooler in transaction mode, and SHOP_DATABASE_PGBOUNCER is not set: the limits of "
            "statements and locks may not hold, and statements fail.",
            "Set SHOP_DATABASE_PGBOUNCER=true for every process and command.",
        )
    if is_there:
        return note(
            "Something stands before the server that keeps sessions apart, as far as one can see.",
            "If it is PgBouncer in transaction mode, set SHOP_DATABASE_PGBOUNCER=true.",
        )
    return ok("Nothing stands before the server.")


_TLS = text("""
SELECT ssl, version, host(client_addr) AS client, host(inet_server_addr()) AS server
FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()
""")


async def tls(connection: AsyncConnection, *, is_verified: bool) -> Finding:
    """The server's connection; if a pooler stands before it, the one from there."""
    row = (await connection.execute(_TLS)).one()
    return of_tls(row.version if row.ssl else None, row.client, row.server, is_verified=is_verified)


def of_tls(
    protocol: str | None, client: str | None, server: str | None, *, is_verified: bool
) -> Finding:
    """Addresses are None of a Unix socket."""
    addresses = [ipaddress.ip_address(one) for one in (client, server) if one is not None]
    if not addresses:
        return ok("A socket of this host.")
    if protocol is not None and is_verified:
        return ok(f"{protocol}, and the server shows its certificate.")
    if protocol is not None:
        return note(
            f"{protocol}, but whoever answers is taken for the server.",
            "Add sslmode=verify-full to SHOP_DATABASE_URL.",
        )
    if all(address.is_loopback for address in addresses):
        return ok("No TLS, inside of this host.")
    advice = "Switch TLS on at the server, and add sslmode=verify-full to SHOP_DATABASE_URL."
    if any(address.is_global for address in addresses):
        return danger("No TLS, over public addresses.", advice)
    return note("No TLS, over a private network.", advice)
