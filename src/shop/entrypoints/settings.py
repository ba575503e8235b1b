"""Settings: typed, read once from `SHOP_*` variables; a wrong one stops the start by name."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shop.adapters.sql.urls import WrongUrl, parse_url
from shop.entrypoints.env_file import PREFIX, WrongFile, read_env_file

ENV_FILE = Path(".env")
EMBEDDED_DATABASE_URL = "sqlite+aiosqlite:///var/shop.sqlite3"
SECRET_KEY_BYTES_MIN = 32
DRAIN_SECONDS_MAX = 14.0
"""With the seconds that requests under way may take then, a stop takes less than 30."""
_DRAIN_SECONDS = {"development": 0.0, "production": 8.0}
_LOG_FORMATS: dict[str, Literal["text", "json"]] = {"development": "text", "production": "json"}
SECRET_KEY_DIFFERENT_MIN = 8
"""Different bytes; a random key has more, and a word written several times has fewer."""
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
    currency: Annotated[
        str,
        Meta(
            pattern="^(?!CLF|UYW)[A-Z]{3}$",
            description="three capital letters of ISO 4217 with 0 to 3 decimals, such as EUR",
        ),
    ] = "EUR"
    public_url: Annotated[
        str,
        Meta(
            pattern="^(https?://[^/?#]+[^?#]*)?$",
            description="an address without ? and #, such as https://shop.example",
        ),
    ] = ""

    database_read_url: str = ""
    database_read_lag_max: Seconds = 5.0
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
        str,
        Meta(
            pattern=r"^(https?://[^/,\s]+(,\s*https?://[^/,\s]+)*)?$",
            description="origins without a path, separated by commas, such as https://shop.example",
        ),
    ] = ""
    registration: bool = False
    check_users: bool = False
    orders_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    refreshes_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 60

    body_max: Annotated[int, Meta(ge=1_024, le=10_485_760)] = 65_536
    request_timeout: Seconds = 10.0
    request_deadline: Seconds = 15.0
    idempotency_key_lifetime: Seconds = 86_400.0 * 7
    metrics_address: Annotated[
        str,
        Meta(
            pattern=r"^((\[[0-9A-Fa-f:.%]+\]|[^:\[\]/\s]+):[0-9]{1,5})?$",
            description="an address and a port, such as 127.0.0.1:9100 or [::1]:9100",
        ),
    ] = ""
    metrics_token: Annotated[
        str,
        Meta(
            pattern="^([!-~]{16,200})?$",
            description="16 to 200 printable ASCII characters without blanks",
        ),
    ] = ""
    low_stock: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    drain_seconds: Annotated[float, Meta(ge=0, le=DRAIN_SECONDS_MAX)] | None = None
    keep_alive: bool = True
    keep_alive_timeout: Annotated[float, Meta(ge=1, le=3_600)] = 10.0
    send_timeout: Seconds = 10.0
    send_rate_min: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_024
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] | None = None
    access_log: bool = False
    log_sample: Annotated[float, Meta(ge=0, le=1)] = 1.0
    log_slow: Seconds = 1.0
    traces_endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^/?#@\s]+(/[^?#\s]*)?)?$",
            description=(
                "an address without user, ? and #, such as http://127.0.0.1:4318/v1/traces; what a "
                "collector must be told beside is in OTEL_EXPORTER_OTLP_HEADERS"
            ),
        ),
    ] = ""
    traces_sample: Annotated[float, Meta(ge=0, le=1)] = 0.01
    sentry_dsn: Annotated[
        str,
        Meta(
            # It has a key in it.
            pattern=r"^(https?://[^/?#@:\s]+(:[^/?#@\s]*)?@[^/?#@\s]+/([^?#\s]*/)?[0-9]+)?$",
            description="a DSN as Sentry shows it, such as https://key@sentry.example/1",
        ),
    ] = ""

    @property
    def store(self) -> Literal["memory", "sqlite", "postgresql"]:
        scheme = self.database_url.partition(":")[0]
        return _STORES[scheme]

    @property
    def has_replicas(self) -> bool:
        return bool(self.database_read_url)

    @property
    def shared_read_deadline(self) -> float:
        """Behind that of the requests that wait for it: when both are over, theirs says why."""
        return self.request_deadline + 1.0

    @property
    def seconds_to_drain(self) -> float:
        if self.drain_seconds is not None:
            return self.drain_seconds
        return _DRAIN_SECONDS[self.environment]

    @property
    def form_of_log(self) -> Literal["text", "json"]:
        return self.log_format or _LOG_FORMATS[self.environment]

    @property
    def traces_address(self) -> str:
        """With the path that OTLP gives it, if it has none."""
        scheme, _, rest = self.traces_endpoint.partition("://")
        host, _, path = rest.partition("/")
        return f"{scheme}://{host}/{path or 'v1/traces'}"

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
    """Settings from the environment and `.env`, or from these alone. Raises `SettingsError`."""
    if environ is not None:
        return _settings_of(_ours(environ))
    try:
        of_file = read_env_file(ENV_FILE)
    except WrongFile as error:
        raise SettingsError(str(error)) from None
    of_process = _ours(os.environ)
    try:
        return _settings_of({**of_file, **of_process})
    except SettingsError as error:
        name = str(error).partition(" ")[0]
        if name in of_file.keys() - of_process.keys():
            raise SettingsError(f"{error} It is set in {ENV_FILE.absolute()}.") from None
        raise


def _ours(environ: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(PREFIX)}


def _settings_of(variables: Mapping[str, str]) -> Settings:
    # An empty variable is one that is not set, as compose files write it.
    values = {
        name.removeprefix(PREFIX).lower(): value for name, value in variables.items() if value
    }
    for name, value in values.items():
        if name not in _RULES:
            raise SettingsError(_unknown(name))
        _check_text(name, value)
    settings = _convert(values)
    _check_database_url("database_url", settings.database_url)
    _check_replicas(settings)
    _check_demo(settings)
    _check_secrets(settings)
    try:
        _networks(settings.trusted_proxies)
    except ValueError as error:
        raise SettingsError(f"SHOP_TRUSTED_PROXIES is wrong: {error}.") from None
    return settings


_PEM = "-----BEGIN"
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _check_text(name: str, value: str) -> None:
    if _PEM in value and name in ("secret_key", "old_secret_keys"):
        raise SettingsError(
            f"{variable(name)} is wrong: it holds a key in PEM form, which belongs into a file "
            "that SHOP_SIGNING_KEY_FILE names."
        )
    if _PEM in value:
        raise SettingsError(
            f"{variable(name)} is wrong: it holds a key itself; it must name the file of one."
        )
    if _NO_TEXT.search(value):
        raise SettingsError(f"{variable(name)} is wrong: it must be one line of text in UTF-8.")


@lru_cache(maxsize=8)
def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _convert(values: Mapping[str, str]) -> Settings:
    converted: dict[str, Any] = {
        name: _BOOLEANS.get(value.strip().lower(), value) if _RULES[name] == _OF_BOOLEANS else value
        for name, value in values.items()
    }
    try:
        return msgspec.convert(converted, Settings, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("`$.")[2].rstrip("`")
        raise SettingsError(f"{variable(name)} is wrong: it must be {_RULES[name]}.") from None


_OF_BOOLEANS = "true or false, written so or as yes and no, on and off, or 1 and 0"


def _rule(kind: msgspec.inspect.Type) -> str:
    """What a setting must be, in words."""
    if isinstance(kind, msgspec.inspect.Metadata):
        description = (kind.extra_json_schema or {}).get("description")
        return str(description) if description else _rule(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        # Of a setting whose default depends on others: who sets it sets the first.
        return _rule(kind.types[0])
    if isinstance(kind, msgspec.inspect.BoolType):
        return _OF_BOOLEANS
    if isinstance(kind, msgspec.inspect.LiteralType):
        *others, last = map(str, kind.values)
        return f"{', '.join(others)} or {last}"
    if isinstance(kind, msgspec.inspect.IntType):
        return f"a whole number from {kind.ge:,} to {kind.le:,}"
    if isinstance(kind, msgspec.inspect.FloatType):
        lowest = f"above {kind.gt:,}" if kind.ge is None else f"from {kind.ge:,}"
        return f"a number {lowest} to {kind.le:,}, without a unit"
    assert isinstance(kind, msgspec.inspect.StrType)
    return f"text of {kind.min_length} to {kind.max_length} characters"


def _rules() -> dict[str, str]:
    kind = msgspec.inspect.type_info(Settings)
    assert isinstance(kind, msgspec.inspect.StructType)
    return {field.name: _rule(field.type) for field in kind.fields}


_RULES = _rules()


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.__struct_fields__, n=1)
    hint = f"did you mean {variable(close[0])}?" if close else "see .env.example for all settings."
    return f"{variable(name)} is not a setting; {hint}"


def _check_database_url(field: str, url: str) -> None:
    try:
        parse_url(url)
    except WrongUrl as error:
        raise SettingsError(f"{variable(field)} is wrong: {error}.") from None


def _check_replicas(settings: Settings) -> None:
    if not settings.has_replicas:
        return
    _check_database_url("database_read_url", settings.database_read_url)
    for field in ("database_url", "database_read_url"):
        url = getattr(settings, field)
        if not url.startswith("postgresql+asyncpg:"):
            raise SettingsError(
                f"SHOP_DATABASE_READ_URL is set, and {variable(field)} is no PostgreSQL: only that "
                "has replicas."
            )


def _check_demo(settings: Settings) -> None:
    """The in-memory store comes with demo users, whose passwords everybody knows."""
    if settings.environment == "production" and settings.store == "memory":
        raise SettingsError(
            "SHOP_DATABASE_URL is memory://, which starts with demo users: production needs a "
            "SQLite file or a PostgreSQL server."
        )


def _check_secrets(settings: Settings) -> None:
    in_production = settings.environment == "production"
    if in_production and not settings.secret_key and not settings.signing_key_file:
        raise SettingsError(
            f"SHOP_SECRET_KEY is not set: production needs one of at least {SECRET_KEY_BYTES_MIN} "
            "bytes, the same for all processes, such as from `openssl rand -base64 48`."
        )
    if settings.secret_key:
        _check_secret("secret_key", settings.secret_key, in_production=in_production)
    for secret in settings.old_secrets:
        _check_secret("old_secret_keys", secret, in_production=in_production)


def _check_secret(field: str, secret: str, *, in_production: bool) -> None:
    name = variable(field)
    if len(secret.encode()) < SECRET_KEY_BYTES_MIN:
        raise SettingsError(
            f"{name} is too short: a key needs at least {SECRET_KEY_BYTES_MIN} bytes."
        )
    if not in_production:
        return
    if "," in secret:
        raise SettingsError(
            f"{name} is wrong: a key has no comma, which separates those of SHOP_OLD_SECRET_KEYS."
        )
    if secret != secret.strip():
        raise SettingsError(f"{name} is wrong: it begins or ends with a blank.")
    if len(set(secret.encode())) < SECRET_KEY_DIFFERENT_MIN:
        raise SettingsError(
            f"{name} is too simple: a key needs at least {SECRET_KEY_DIFFERENT_MIN} different "
            "bytes, such as one from `openssl rand -base64 48`."
        )
