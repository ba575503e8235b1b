"""Settings: typed, read once from `SHOP_*` variables; a wrong one stops the start by name."""

import contextlib
import difflib
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy.exc import ArgumentError

from shop.adapters.sql.servers import WrongUrl, parse_url

PREFIX = "SHOP_"
EMBEDDED_DATABASE_URL = "sqlite+aiosqlite:///var/shop.sqlite3"
SECRET_KEY_BYTES_MIN = 32
DRAIN_SECONDS_MAX = 14.0
"""With the seconds that requests under way may take then, a stop takes less than 30."""
_DRAIN_SECONDS = {"development": 0.0, "production": 8.0}
_DEVELOPMENT_KEY_FILE = Path("var/secret_key")
_STORES: dict[str, Literal["memory", "sqlite", "postgresql"]] = {
    "sqlite+aiosqlite": "sqlite",
    "postgresql+asyncpg": "postgresql",
    "memory": "memory",
}

Seconds = Annotated[float, Meta(gt=0, le=86_400 * 400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class SettingsError(Exception):
    """A setting is missing or wrong; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each field is the environment variable of its name in capitals, with `SHOP_` in front."""

    environment: Literal["development", "production"] = "development"
    database_url: str = EMBEDDED_DATABASE_URL
    secret_key: str = ""
    old_secret_keys: str = ""
    signing_key_file: str = ""
    verification_keys_file: str = ""
    currency: Annotated[str, Meta(pattern="^(?!CLF|UYW)[A-Z]{3}$")] = "EUR"
    public_url: Annotated[str, Meta(pattern="^(https?://[^/?#]+[^?#]*)?$")] = ""

    database_pool_size: Annotated[int, Meta(ge=1, le=1_000)] = 10
    database_read_pool_size: Annotated[int, Meta(ge=1, le=1_000)] = 4
    database_pool_timeout: Seconds = 5.0
    database_connect_timeout: Seconds = 3.0
    database_statement_timeout: Seconds = 10.0
    database_read_statement_timeout: Seconds = 5.0
    database_lock_timeout: Seconds = 5.0
    database_pgbouncer: bool = False
    database_application_name: Annotated[str, Meta(min_length=1, max_length=63)] = "shop"

    intake_batch_max: Annotated[int, Meta(ge=1, le=1_000)] = 256
    intake_queue_max: Count = 4_096
    intake_deadline: Seconds = 8.0

    access_token_lifetime: Seconds = 300.0
    refresh_token_lifetime: Seconds = 86_400.0
    session_lifetime: Seconds = 86_400.0 * 30
    issuer: Annotated[str, Meta(min_length=1, max_length=200)] = "shop"
    audience: Annotated[str, Meta(min_length=1, max_length=200)] = "shop"
    token_leeway: Annotated[float, Meta(ge=0, le=60)] = 5.0

    trusted_proxies: str = ""
    cors_origins: Annotated[
        str, Meta(pattern=r"^(https?://[^/,\s]+(,\s*https?://[^/,\s]+)*)?$")
    ] = ""
    registration: bool = False
    check_users: bool = False
    orders_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    refreshes_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 60

    body_max: Annotated[int, Meta(ge=1_024, le=10_485_760)] = 65_536
    request_timeout: Seconds = 10.0
    request_deadline: Seconds = 15.0
    idempotency_key_lifetime: Seconds = 86_400.0 * 7
    drain_seconds: Annotated[float, Meta(ge=0, le=DRAIN_SECONDS_MAX)] | None = None
    send_timeout: Seconds = 10.0
    send_rate_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_024
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    access_log: bool = False

    @property
    def store(self) -> Literal["memory", "sqlite", "postgresql"]:
        scheme = self.database_url.partition(":")[0]
        return _STORES[scheme]

    @property
    def seconds_to_drain(self) -> float:
        if self.drain_seconds is not None:
            return self.drain_seconds
        return _DRAIN_SECONDS[self.environment]

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return _networks(self.trusted_proxies)

    @property
    def old_secrets(self) -> list[str]:
        return [secret.strip() for secret in self.old_secret_keys.split(",") if secret.strip()]

    @property
    def origins(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the default one, which migrates itself."""
        return self.database_url == EMBEDDED_DATABASE_URL

    def __repr__(self) -> str:
        return f"Settings(environment={self.environment!r})"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment. Raises `SettingsError`."""
    environ = os.environ if environ is None else environ
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        # An empty variable is one that is not set, as compose files write it.
        if name.startswith(PREFIX) and value
    }
    for name in values:
        if name not in Settings.__struct_fields__:
            raise SettingsError(_unknown(name))
    settings = _convert(values)
    _check_database_url(settings.database_url)
    _check_demo(settings)
    for secret in settings.old_secrets:
        check_secret_key("old_secret_keys", secret)
    try:
        _networks(settings.trusted_proxies)
    except ValueError as error:
        raise SettingsError(f"SHOP_TRUSTED_PROXIES is wrong: {error}.") from None
    return msgspec.structs.replace(settings, secret_key=_secret_key(settings))


@lru_cache(maxsize=8)
def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _convert(values: Mapping[str, str]) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise SettingsError(f"{variable(path.rstrip('`'))} is wrong: {message}.") from None


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.__struct_fields__, n=1)
    hint = f"did you mean {variable(close[0])}?" if close else "see .env.example for all settings."
    return f"{variable(name)} is not a setting; {hint}"


def _check_database_url(url: str) -> None:
    try:
        parsed = parse_url(url)
    except WrongUrl as error:
        raise SettingsError(f"SHOP_DATABASE_URL is wrong: {error}.") from None
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in _STORES:
        raise SettingsError(
            "SHOP_DATABASE_URL is wrong: it must start with sqlite+aiosqlite:///, "
            "postgresql+asyncpg:// or memory://."
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsError(
            "SHOP_DATABASE_URL is wrong: SQLite needs a file; memory:// is the store without one."
        )


def _check_demo(settings: Settings) -> None:
    """The in-memory store comes with demo users, whose passwords everybody knows."""
    if settings.environment == "production" and settings.store == "memory":
        raise SettingsError(
            "SHOP_DATABASE_URL is memory://, which starts with demo users: production needs a "
            "SQLite file or a PostgreSQL server."
        )


def _secret_key(settings: Settings) -> str:
    key = settings.secret_key
    if not key and settings.signing_key_file:
        return ""
    if not key and settings.environment == "production":
        raise SettingsError(
            f"SHOP_SECRET_KEY is not set: production needs one of at least {SECRET_KEY_BYTES_MIN} "
            "bytes, the same for all processes, such as from `openssl rand -base64 48`."
        )
    if not key:
        return _development_key(_DEVELOPMENT_KEY_FILE)
    check_secret_key("secret_key", key)
    return key


def check_secret_key(field: str, key: str) -> None:
    if len(key.encode()) < SECRET_KEY_BYTES_MIN:
        raise SettingsError(
            f"{variable(field)} is too short: a key needs at least {SECRET_KEY_BYTES_MIN} bytes."
        )


def _development_key(path: Path) -> str:
    """A random key, made once and kept, so that restarts sign nobody out."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Written aside and linked into place: nobody ever reads half a key.
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(secrets.token_urlsafe(48))
            draft.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(draft.name)
    return path.read_text()
