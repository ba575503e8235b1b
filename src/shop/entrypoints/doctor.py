"""What `shop doctor` looks at: one list of checks, each a small function.

None of them changes anything. A check of the database is adapter code; those here look at the
settings and at this host. docs/operate.md has a row for each, by its name, which is stable.
"""

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shop.adapters.findings import Finding, State, danger, note, ok, unknown
from shop.adapters.passwords import is_common_password, is_guessable
from shop.adapters.sql import checks, postgresql_checks, sqlite_checks
from shop.adapters.sql.advice import advice
from shop.adapters.sql.errors import driver_error
from shop.adapters.sql.files import BESIDE, is_there, missing_right
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.adapters.sql.urls import parse_url, place_of, sqlite_file
from shop.domain.errors import ShopError, StoreUnfit
from shop.domain.ports import SchemaState
from shop.domain.text import counted
from shop.domain.users import OPERATOR
from shop.entrypoints.container import Container, build_container
from shop.entrypoints.demo import demo_users_left
from shop.entrypoints.keys import DEVELOPMENT_KEY_FILE, load_keys
from shop.entrypoints.settings import ENV_FILE, Settings, SettingsError

SECONDS_MAX = 10.0
"""Of one check."""
SCAN_SECONDS_MAX = 8.0
"""Of one that reads all of an SQLite file; it ends by itself before it is given up."""
PRODUCTS_SAMPLED = 50


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What is looked at."""

    settings: Settings
    workers: int
    """Processes of all servers over the database."""

    @property
    def in_production(self) -> bool:
        return self.settings.environment == "production"

    @cached_property
    def url(self) -> URL:
        return parse_url(self.settings.database_url)

    @cached_property
    def container(self) -> Container:
        """Over connections that change nothing."""
        container = build_container(self.settings)
        options = replace(container.database_options(), inspecting=True)
        container.database_options.override(options)
        return container

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        async with SqlUnitOfWork(engines=self.container.engines(), read_only=True) as uow:
            yield uow.connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    run: Callable[[Shop], Awaitable[Finding]]
    of: Literal["host", "database", "sqlite", "postgresql"] = "host"
    """What it looks at; not at the host, it needs a database that can be reached."""

    def concerns(self, settings: Settings) -> bool:
        if settings.store == "memory":
            return self.of == "host"
        return self.of in ("host", "database", settings.store)


async def examine(shop: Shop) -> AsyncIterator[tuple[str, Finding]]:
    """Each check that concerns this shop, by its name, one after the other."""
    is_reached = True
    try:
        for check in CHECKS:
            if not check.concerns(shop.settings):
                continue
            if check.of == "host" or is_reached:
                finding = await _run(check, shop)
            else:
                finding = unknown("Not looked at: see database.")
            if check.name == "database":
                is_reached = finding.state is State.OK
            yield check.name, finding
    finally:
        if shop.settings.store != "memory":
            await shop.container.engines().dispose()


def without_settings(error: SettingsError) -> list[tuple[str, Finding]]:
    """What is left to say when they cannot be read."""
    wrong = danger(str(error), "Mend the setting; .env.example has all of them.")
    others = [check.name for check in CHECKS if check.of in ("host", "database")]
    rest = [(name, unknown("Not looked at: see settings.")) for name in others]
    return [("settings", wrong), *rest[1:]]


async def _run(check: Check, shop: Shop) -> Finding:
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await check.run(shop)
    except TimeoutError:
        return unknown(f"It takes longer than {SECONDS_MAX:g} s.")
    except (SettingsError, StoreUnfit) as error:
        return danger(str(error), "")
    except Exception as error:
        # Others go on. Of what nobody foresaw only the kind is said: its words may hold anything.
        return unknown(_reason(error, shop.url))


def _reason(error: Exception, url: URL) -> str:
    if (sentence := advice(error, url)) is not None:
        return sentence
    if isinstance(error, DBAPIError):
        return str(driver_error(error)).splitlines()[0]
    if isinstance(error, ShopError | OSError):
        return str(error)
    return f"It failed: {type(error).__name__}."


# --- settings and this host ---


async def _settings(shop: Shop) -> Finding:
    if not shop.in_production:
        return note(
            "SHOP_ENVIRONMENT is development.",
            "Where customers order, set it to production: secrets are then checked, and demo users "
            "refused.",
        )
    if shop.settings.seconds_to_drain == 0:
        return note(
            "SHOP_DRAIN_SECONDS is 0: behind a load balancer a restart loses requests.",
            "Leave it unset, or set it to more than the balancer needs to notice.",
        )
    return ok("production, and all settings are understood.")


async def _secrets(shop: Shop) -> Finding:
    """Whether access tokens can be forged; whether who has a list of passwords is let in."""
    settings, url = shop.settings, shop.url
    if not settings.secret_key and not settings.signing_key_file:
        if not DEVELOPMENT_KEY_FILE.exists():
            return note("No SHOP_SECRET_KEY: `shop serve` makes one, and keeps it.", "")
        return ok(f"A random key in {DEVELOPMENT_KEY_FILE}.")
    load_keys(settings)
    graded = danger if shop.in_production else note
    named = {"SHOP_SECRET_KEY": [settings.secret_key], "SHOP_OLD_SECRET_KEYS": settings.old_secrets}
    for name, secrets in named.items():
        if any(is_guessable(secret) for secret in secrets if secret):
            return graded(
                f"{name} has a pattern, by which it can be guessed: who does signs tokens.",
                "Take a random one (openssl rand -base64 48); docs/security.md says how keys are "
                "rolled.",
            )
    if url.password and is_common_password(str(url.password)):
        return graded(
            "The database's password is one that many use.", "Give the role a random one."
        )
    return ok("No pattern in them, and none is too short.")


async def _files(shop: Shop) -> Finding:
    """What holds a secret, or the database: for the shop's user alone."""
    settings = shop.settings
    named = [
        settings.signing_key_file,
        shop.url.query.get("passfile"),
        shop.url.query.get("sslkey"),
    ]
    secret = [ENV_FILE, DEVELOPMENT_KEY_FILE, *(Path(str(name)) for name in named if name)]
    if settings.store == "sqlite":
        file = sqlite_file(shop.url)
        secret += [file, *(file.with_name(file.name + end) for end in BESIDE)]
        if file.exists() and (missing := missing_right(file)):
            return danger(f"{file}: {missing}.", "Run the shop as the owner of the file.")
    modes = {path: path.stat().st_mode for path in dict.fromkeys(secret) if path.is_file()}
    for_all = [path for path, mode in modes.items() if mode & stat.S_IRWXO]
    for_all += [path for path, mode in modes.items() if mode & stat.S_IWGRP]
    replaceable = [path for path in modes if _is_open_to_all(path.absolute().parent)]
    if for_all or replaceable:
        wrong = dict.fromkeys([*for_all, *(path.absolute().parent for path in replaceable)])
        return danger(
            f"Others than the owner may read or change {', '.join(map(str, wrong))}.",
            "chmod go= each of them; what others may have read, make anew.",
        )
    for_group = [path for path, mode in modes.items() if mode & stat.S_IRGRP]
    if for_group:
        return note(
            f"The group may read {', '.join(map(str, for_group))}.",
            "chmod g= each of them, if the group is more than the shop.",
        )
    return ok(f"{counted(len(modes), 'file')}, for the owner alone.")


def _is_open_to_all(folder: Path) -> bool:
    """Who may write to it may put other files in the place of those in it."""
    mode = folder.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


PUBLIC_HOSTS_MAX = 2**16


async def _proxies(shop: Shop) -> Finding:
    networks = shop.settings.proxy_networks
    if any(network.prefixlen == 0 for network in networks):
        return danger(
            "SHOP_TRUSTED_PROXIES is everybody: clients choose the address by which attempts to "
            "sign in are counted.",
            "Name the network that the proxy's connections come from.",
        )
    broad = [one for one in networks if not one.is_private and one.num_addresses > PUBLIC_HOSTS_MAX]
    if broad:
        return note(
            f"SHOP_TRUSTED_PROXIES has a large public network: {broad[0]}.",
            "Name the addresses of the proxies alone.",
        )
    if shop.in_production and not networks:
        return note(
            "SHOP_TRUSTED_PROXIES is empty: behind a proxy all clients count as one address.",
            "If there is a proxy, name its network; if not, all is well.",
        )
    return ok(f"{counted(len(networks), 'network')} of proxies.")


# --- any database ---


async def _database(shop: Shop) -> Finding:
    """Whether it can be reached at all."""
    place = place_of(shop.url)
    if shop.settings.store == "sqlite":
        if not is_there(sqlite_file(shop.url)):
            if shop.settings.is_embedded:
                return note(f"There is no database {place} yet.", "`shop serve` makes it.")
            return danger(f"There is no database {place}.", "`shop migrate` makes it.")
        # Before a connection of the pool: one that cannot be opened keeps its thread.
        try:
            sqlite_checks.probe(shop.url)
        except Exception as error:
            return danger(_reason(error, shop.url), "")
    try:
        async with shop.connection():
            return ok(f"{place[0].upper()}{place[1:]}.")
    except ShopError as error:
        return danger(_reason(error, shop.url), "")


async def _encoding(shop: Shop) -> Finding:
    await shop.container.schema().check_encoding()
    return ok("UTF-8.")


async def _schema(shop: Shop) -> Finding:
    match await shop.container.schema().state():
        case SchemaState.CURRENT:
            return ok("That of this version.")
        case SchemaState.COMPATIBLE:
            return note(
                "Newer than this version, which can work on it.", "Replace the older servers."
            )
        case SchemaState.OUTDATED:
            return danger("Not migrated to this version.", "Run `shop migrate`.")
        case _:
            return danger(
                "Newer than this version, which cannot work on it.",
                "Run the newer version, or restore the backup from before `shop migrate`.",
            )


async def _newest_order(shop: Shop) -> Finding:
    async with shop.connection() as connection:
        return await checks.newest_order(connection)


async def _demo_users(shop: Shop) -> Finding:
    left = [user.username for user in await demo_users_left(shop.container)]
    if not left:
        return ok("None with the password that everybody knows.")
    found = f"Everybody knows the password of {', '.join(left)}."
    return (danger if shop.in_production else note)(
        found, "`shop disable-user` or `shop set-password` for each, before production."
    )


async def _ledger(shop: Shop) -> Finding:
    sample = await shop.container.sample_stock()(caller=OPERATOR, products=PRODUCTS_SAMPLED)
    if sample.differences:
        skus = ", ".join(audit.sku for audit in sample.differences[:5])
        return danger(
            f"Stock and ledger differ of {len(sample.differences)} of "
            f"{counted(sample.count, 'product')}: "
            f"{skus}.",
            "`shop stock verify` looks at all, and `--repair` writes corrections.",
        )
    return ok(f"Of the {counted(sample.count, 'product')} that moved last, stock and ledger agree.")


async def _search(shop: Shop) -> Finding:
    reason = await shop.container.schema().slow_search()
    if reason is not None:
        return note(f"Searches have no index: {reason}.", "See Searching in docs/deploy.md.")
    return ok("Searches have an index.")


async def _background(shop: Shop) -> Finding:
    names = [task.name for task in shop.container.background_tasks() if task.once]
    async with shop.connection() as connection:
        return await checks.background(connection, names)


# --- PostgreSQL ---


def _on_connection(
    check: Callable[[AsyncConnection], Awaitable[Finding]],
) -> Callable[[Shop], Awaitable[Finding]]:
    async def run(shop: Shop) -> Finding:
        async with shop.connection() as connection:
            return await check(connection)

    return run


async def _clock(shop: Shop) -> Finding:
    async with shop.connection() as connection:
        return await postgresql_checks.clock(connection, seconds_max=shop.settings.token_leeway)


async def _connections(shop: Shop) -> Finding:
    if shop.settings.database_pgbouncer:
        wanted = shop.container.database_options().connections_max * shop.workers
        return ok(f"PgBouncer's own limits count: its max_client_conn must be above {wanted}.")
    async with shop.connection() as connection:
        return await postgresql_checks.connections(
            connection,
            of_worker=shop.container.database_options().connections_max,
            workers=shop.workers,
        )


async def _replicas(shop: Shop) -> Finding:
    if not shop.settings.has_replicas:
        return ok("None: the primary serves all reads.")
    replicas = shop.container.replicas()
    try:
        return await postgresql_checks.replicas(
            replicas, lag_max=shop.settings.database_read_lag_max
        )
    finally:
        await replicas.dispose()


async def _pooler(shop: Shop) -> Finding:
    return await postgresql_checks.pooler(
        shop.container.engines(), is_set=shop.settings.database_pgbouncer
    )


async def _tls(shop: Shop) -> Finding:
    mode = shop.url.query.get("sslmode", shop.url.query.get("ssl"))
    async with shop.connection() as connection:
        return await postgresql_checks.tls(
            connection, is_verified=mode in ("verify-ca", "verify-full")
        )


# --- SQLite ---


async def _integrity(shop: Shop) -> Finding:
    async with shop.connection() as connection:
        return await sqlite_checks.integrity(connection, seconds_max=SCAN_SECONDS_MAX)


async def _foreign_keys(shop: Shop) -> Finding:
    async with shop.connection() as connection:
        return await sqlite_checks.foreign_keys(connection, seconds_max=SCAN_SECONDS_MAX)


async def _file_system(shop: Shop) -> Finding:
    return sqlite_checks.file_system(sqlite_file(shop.url))


async def _disk(shop: Shop) -> Finding:
    return sqlite_checks.disk(sqlite_file(shop.url))


CHECKS: Sequence[Check] = (
    Check(name="settings", run=_settings),
    Check(name="secrets", run=_secrets),
    Check(name="files", run=_files),
    Check(name="proxies", run=_proxies),
    Check(name="database", run=_database, of="database"),
    Check(name="version", run=_on_connection(postgresql_checks.version), of="postgresql"),
    Check(name="version", run=_on_connection(sqlite_checks.version), of="sqlite"),
    Check(name="durability", run=_on_connection(postgresql_checks.durability), of="postgresql"),
    Check(name="durability", run=_on_connection(sqlite_checks.durability), of="sqlite"),
    Check(name="primary", run=_on_connection(postgresql_checks.primary), of="postgresql"),
    Check(name="encoding", run=_encoding, of="database"),
    Check(name="schema", run=_schema, of="database"),
    Check(name="clock", run=_clock, of="postgresql"),
    Check(name="newest_order", run=_newest_order, of="database"),
    Check(name="connections", run=_connections, of="postgresql"),
    Check(name="replicas", run=_replicas, of="postgresql"),
    Check(name="pooler", run=_pooler, of="postgresql"),
    Check(name="tls", run=_tls, of="postgresql"),
    Check(name="integrity", run=_integrity, of="sqlite"),
    Check(name="foreign_keys", run=_foreign_keys, of="sqlite"),
    Check(name="file_system", run=_file_system, of="sqlite"),
    Check(name="disk", run=_disk, of="sqlite"),
    Check(name="demo_users", run=_demo_users, of="database"),
    Check(name="ledger", run=_ledger, of="database"),
    Check(name="search", run=_search, of="database"),
    Check(name="background", run=_background, of="database"),
)
