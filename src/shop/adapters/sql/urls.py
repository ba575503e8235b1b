"""Database URLs: what may stand in one, and what of it goes to SQLAlchemy or to the driver."""

import os
import re
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# `prefer-standby` is left out: the shop writes.
_TARGETS = ("any", "primary", "read-write", "standby", "read-only")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SEVERAL_HOSTS = re.compile(
    r"(?P<before>postgresql\+asyncpg://(?:[^:/?#@]*(?::[^@]*)?@)?)"
    r"(?P<hosts>[^/?#@]*,[^/?#@]*)(?P<after>(?:[/?].*)?)",
    re.DOTALL,
)
_HOST = re.compile(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]+))?")
_PORT = "5432"
_PORT_MAX = 65_535

_SCHEMES = ("sqlite+aiosqlite", "postgresql+asyncpg", "memory")
# What people write for them, as other programs have it.
_MEANT = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite3": "sqlite+aiosqlite",
    "file": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "pgsql": "postgresql+asyncpg",
}

# Options of a PostgreSQL URL that SQLAlchemy or asyncpg takes by this name.
_TAKEN = {
    "host",
    "port",
    "user",
    "password",
    "passfile",
    "ssl",
    "target_session_attrs",
    "krbsrvname",
    "gsslib",
    "prepared_statement_cache_size",
}
# Those of libpq that asyncpg has by another name.
_RENAMED = {"sslmode": "ssl", "dbname": "database", "connect_timeout": "timeout"}
# Those that asyncpg reads from a URL of its own only.
_OF_TLS = {
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslcrl",
    "sslpassword",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
}
_FILES = {"sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile"}
# And those that the server takes.
_OF_SERVER = {"application_name", "options"}
# What other tools put into a URL, and what says it here.
_SAID_BY = {
    "pgbouncer": "SHOP_DATABASE_PGBOUNCER=true",
    "statement_cache_size": "SHOP_DATABASE_PGBOUNCER=true",
    "command_timeout": "SHOP_DATABASE_STATEMENT_TIMEOUT",
    "connection_limit": "SHOP_DATABASE_POOL_SIZE",
    "pool_size": "SHOP_DATABASE_POOL_SIZE",
    "pool_timeout": "SHOP_DATABASE_POOL_TIMEOUT",
    "timeout": "SHOP_DATABASE_CONNECT_TIMEOUT or connect_timeout",
}


class WrongUrl(ArgumentError):
    """Says in a sentence without a password, and without a full stop, what is wrong."""


def parse_url(text: str) -> URL:
    """A database URL, which may name several hosts of PostgreSQL as libpq takes them.

    `postgresql+asyncpg://user:password@one:5432,two:5432/database` is what SQLAlchemy spells
    `postgresql+asyncpg://user:password@/database?host=one:5432&host=two:5432`. Raises `WrongUrl`.
    """
    scheme = text.partition(":")[0]
    if scheme not in _SCHEMES:
        raise WrongUrl(_scheme_refusal(scheme))
    found = _SEVERAL_HOSTS.fullmatch(text)
    try:
        url = make_url(found["before"] + found["after"]) if found else make_url(text)
    except (ArgumentError, ValueError):
        # Their words may have parts of a password.
        raise WrongUrl(_UNREADABLE) from None
    if found:
        url = _with_hosts(url, found["hosts"])
    elif isinstance(host := url.query.get("host"), str):
        url = _with_port(url, host)
    if scheme == "sqlite+aiosqlite":
        _check_sqlite(url)
    if scheme == "postgresql+asyncpg":
        _check_postgresql(url)
    return url


def _scheme_refusal(scheme: str) -> str:
    base = scheme.partition("+")[0]
    if base in _MEANT and scheme.replace("+", "").isalnum():
        return f"it must start with {_MEANT[base]}:// instead of {scheme}://"
    return (
        "it must start with sqlite+aiosqlite:///, postgresql+asyncpg:// or memory://, and a path "
        "or user:password@host/database must follow"
    )


_UNREADABLE = (
    "it must be scheme://user:password@host:port/database, with a number as port, an IPv6 address "
    "in brackets, and any of / @ : ? # % in a user name or password percent-encoded (%40 is @)"
)


def _with_hosts(url: URL, text: str) -> URL:
    hosts = [_HOST.fullmatch(host) for host in text.split(",")]
    named = [host for host in hosts if host is not None]
    if len(named) < len(hosts):
        raise WrongUrl("each of several hosts must be name:port, or [address]:port of IPv6")
    return url.update_query_dict(
        {
            "host": ",".join(host["address"] or host["name"] for host in named),
            "port": ",".join(host["port"] or _PORT for host in named),
        }
    )


def _with_port(url: URL, text: str) -> URL:
    """Of one host in the query, which SQLAlchemy reads so for names without an underscore only."""
    if ":" not in text or "," in text or text.startswith("/") or _is_ipv6(text):
        return url
    host = _HOST.fullmatch(text)
    if host is None or (host["port"] and "port" in url.query):
        raise WrongUrl("the host must be name:port, or [address]:port of IPv6, with one port")
    port = {"port": host["port"]} if host["port"] else {}
    return url.update_query_dict({"host": host["address"] or host["name"], **port})


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_sqlite(url: URL) -> None:
    if url.host or url.username:
        raise WrongUrl(
            "SQLite has a path and no host: write sqlite+aiosqlite:///path, with a fourth slash if "
            "the path begins with one"
        )
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise WrongUrl("SQLite needs the path of a file; memory:// is the store without one")
    if str(url.database).startswith("~"):
        raise WrongUrl("nobody puts a home folder in the place of ~ here; write the whole path")
    for name in url.query:
        raise WrongUrl(f"the option {name} is not known for SQLite")


def _check_postgresql(url: URL) -> None:
    for name, value in url.query.items():
        _check_option(name, value)
    if url.query.get("target_session_attrs", "any") not in _TARGETS:
        raise WrongUrl("target_session_attrs must be one of " + ", ".join(_TARGETS))
    for name in ("ssl", "sslmode"):
        if url.query.get(name, "prefer") not in _SSL_MODES:
            raise WrongUrl(f"{name} must be one of " + ", ".join(_SSL_MODES))
    hosts, ports = _addresses(url)
    for host in hosts:
        _check_host(host)
    # SQLAlchemy takes port 0 for none.
    if url.port == 0 or not all(1 <= port <= _PORT_MAX for port in ports):
        raise WrongUrl(f"a port must be from 1 to {_PORT_MAX}")


def _check_option(name: str, value: str | tuple[str, ...]) -> None:
    if name not in _TAKEN | _OF_TLS | _OF_SERVER and name not in _RENAMED:
        instead = f"; set {_SAID_BY[name]} instead" if name in _SAID_BY else ""
        raise WrongUrl(f"the option {name} is not known{instead}")
    if name not in ("host", "port") and not isinstance(value, str):
        raise WrongUrl(f"the option {name} is there more than once")
    if name == "connect_timeout" and not _is_seconds(str(value)):
        raise WrongUrl("connect_timeout must be a number of seconds from 1 to 3600")
    if name in _FILES and not os.access(str(value), os.R_OK):
        raise WrongUrl(f"{name} names no file that is there and can be read")
    if name == "prepared_statement_cache_size" and not str(value).isdecimal():
        raise WrongUrl(f"{name} must be a whole number")


def _is_seconds(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text[:9]) <= 3_600


def _check_host(host: str) -> None:
    if "@" in host:
        # The rest of a password, most likely: it is not repeated.
        raise WrongUrl(_UNREADABLE)
    if not host.startswith("/"):
        try:
            host.encode("idna")
        except UnicodeError:
            raise WrongUrl("a host is no name or address that there can be") from None


def _addresses(url: URL) -> tuple[list[str], list[int]]:
    """Hosts and ports, as many as are named. Raises `WrongUrl`."""
    try:
        _, options = url.get_dialect()().create_connect_args(url)
        ports = [int(port) for port in _listed(options.get("port"))]
    except (ArgumentError, ValueError):
        raise WrongUrl("each host needs a port, as in ?host=one:5432&host=two:5432") from None
    return [str(host) for host in _listed(options.get("host"))], ports


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def split_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL for SQLAlchemy, and what of its options goes straight to asyncpg's `connect`."""
    options: dict[str, Any] = {}
    for_tls: dict[str, Any] = {}
    for_server: dict[str, Any] = {}
    for name, value in url.query.items():
        if name in _RENAMED:
            options[_RENAMED[name]] = float(str(value)) if name == "connect_timeout" else value
        elif name in _OF_TLS:
            for_tls[name] = value
        elif name in _OF_SERVER:
            for_server[name] = value
    if for_tls:
        options["dsn"] = "postgresql://?" + urlencode(for_tls)
    if for_server:
        options["server_settings"] = for_server
    moved = [name for name in url.query if name not in _TAKEN]
    return url.difference_update_query(moved), options


def each_host(url: URL) -> list[URL]:
    """The same for each of several hosts, by itself."""
    hosts, ports = _addresses(url)
    if len(hosts) < 2:
        return [url]
    alone = url.difference_update_query(["host", "port"])
    return [
        alone.update_query_dict({"host": host, "port": str(port)})
        for host, port in zip(hosts, ports, strict=True)
    ]


def sqlite_file(url: URL) -> Path:
    """The database's file, by its whole path."""
    return Path(str(url.database)).absolute()


def read_only_url(url: URL) -> URL:
    """Of an SQLite database that is neither made nor changed by who opens it."""
    name = f"file:{quote(str(sqlite_file(url)))}"
    return url.set(database=name, query={"mode": "ro", "uri": "true"})


def place_of(url: URL) -> str:
    """Where the database is, for people: without a password."""
    if url.get_backend_name() == "sqlite":
        return str(sqlite_file(url))
    return f"the database {database_of(url)!r} at {hosts_of(url)}"


def database_of(url: URL) -> str:
    return str(url.database or url.query.get("dbname") or user_of(url))


def user_of(url: URL) -> str:
    return str(url.username or url.query.get("user") or "")


def hosts_of(url: URL) -> str:
    hosts, ports = _addresses(url)
    named = [
        (f"[{host}]" if ":" in host else host)
        + f":{ports[number] if number < len(ports) else _PORT}"
        for number, host in enumerate(hosts)
    ]
    return ", ".join(named) or "PostgreSQL's usual address"
