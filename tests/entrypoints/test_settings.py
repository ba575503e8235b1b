"""Settings: a wrong one stops the start by name, and none leaks."""

from pathlib import Path

import pytest

from shop.entrypoints.settings import Settings, SettingsError, load_settings, variable

KEY = "a key for tests that is long enough"
EXAMPLE = Path(__file__).parents[2] / ".env.example"
VARIABLES = {variable(field) for field in Settings.__struct_fields__}


def load(**environ: str) -> Settings:
    return load_settings({"SHOP_SECRET_KEY": KEY, **environ})


def test_without_any_variable_the_embedded_database_serves() -> None:
    settings = load()
    assert settings.store == "sqlite"
    assert settings.is_embedded


def test_variables_of_others_are_none_of_its_business() -> None:
    assert load(PATH="/bin", SHOPPING="x", shop_currency="x").currency == "EUR"


def test_an_unknown_variable_stops_the_start_and_the_nearest_one_is_suggested() -> None:
    with pytest.raises(SettingsError, match=r"SHOP_DATABSE_URL.*did you mean SHOP_DATABASE_URL\?"):
        load(SHOP_DATABSE_URL="memory://")


def test_an_unknown_variable_like_no_other_leads_to_the_list() -> None:
    with pytest.raises(SettingsError, match=r"SHOP_ZZZ is not a setting; see .env.example"):
        load(SHOP_ZZZ="1")


WRONG = [
    ("SHOP_ENVIRONMENT", ["staging", "Production"]),
    (
        "SHOP_DATABASE_URL",
        [
            "nonsense",
            "postgresql://x",
            "sqlite:///x",
            "mysql://x",
            "sqlite+aiosqlite://",
            "sqlite+aiosqlite:///:memory:",
            "postgresql+asyncpg://h:port/x",
            "postgresql+asyncpg://h:1,i:port/x",
            "postgresql+asyncpg://h:1,/x",
            "postgresql+asyncpg:///x?host=h:1&host=i",
            "postgresql+asyncpg://h/x?target_session_attrs=prefer-standby",
        ],
    ),
    ("SHOP_DATABASE_READ_URL", ["nonsense", "sqlite+aiosqlite:///x", "memory://"]),
    ("SHOP_DATABASE_READ_LAG_MAX", ["0", "-1"]),
    ("SHOP_SECRET_KEY", ["short", "k" * 31]),
    ("SHOP_CURRENCY", ["eur", "EURO", "E1R", "CLF"]),
    ("SHOP_PUBLIC_URL", ["shop.example", "https://", "ftp://shop.example", "https://a/?b"]),
    ("SHOP_DATABASE_POOL_SIZE", ["0", "-1", "1001", "ten", "1.5", "9" * 30]),
    ("SHOP_DATABASE_READ_POOL_SIZE", ["0", "1001"]),
    ("SHOP_DATABASE_READ_STATEMENT_TIMEOUT", ["0"]),
    ("SHOP_DATABASE_POOL_TIMEOUT", ["0", "-1", "soon", "nan", "inf", "1e300"]),
    ("SHOP_DATABASE_CONNECT_TIMEOUT", ["0"]),
    ("SHOP_DATABASE_STATEMENT_TIMEOUT", ["0"]),
    ("SHOP_DATABASE_LOCK_TIMEOUT", ["0"]),
    ("SHOP_DATABASE_PGBOUNCER", ["maybe", "2"]),
    ("SHOP_DATABASE_APPLICATION_NAME", ["n" * 64]),
    ("SHOP_INTAKE_BATCH_MAX", ["0", "1001"]),
    ("SHOP_INTAKE_QUEUE_MAX", ["0", "1000001"]),
    ("SHOP_INTAKE_DEADLINE", ["0"]),
    ("SHOP_ACCESS_TOKEN_LIFETIME", ["0", "-5"]),
    ("SHOP_REFRESH_TOKEN_LIFETIME", ["0"]),
    ("SHOP_SESSION_LIFETIME", ["0"]),
    ("SHOP_ISSUER", ["i" * 201]),
    ("SHOP_AUDIENCE", ["a" * 201]),
    ("SHOP_REQUEST_TIMEOUT", ["0"]),
    ("SHOP_REQUEST_DEADLINE", ["0"]),
    ("SHOP_IDEMPOTENCY_KEY_LIFETIME", ["0"]),
    ("SHOP_DRAIN_SECONDS", ["-1", "14.1", "soon"]),
    ("SHOP_KEEP_ALIVE", ["maybe"]),
    ("SHOP_KEEP_ALIVE_TIMEOUT", ["0.5", "3601", "10s"]),
    ("SHOP_SEND_TIMEOUT", ["0", "soon"]),
    ("SHOP_SEND_RATE_MIN", ["-1", "fast"]),
    ("SHOP_BODY_MAX", ["1023", "10485761", "1 MB"]),
    ("SHOP_LOG_LEVEL", ["loud", "INFO"]),
    ("SHOP_LOG_FORMAT", ["xml"]),
    ("SHOP_ACCESS_LOG", ["maybe"]),
    ("SHOP_LOG_SAMPLE", ["-0.1", "1.1", "half"]),
    ("SHOP_LOG_SLOW", ["0", "-1", "soon"]),
    ("SHOP_METRICS_ADDRESS", ["9100", "127.0.0.1", "http://127.0.0.1:9100", "::1:9100", "h:port"]),
    ("SHOP_METRICS_TOKEN", ["short", "with a blank, however long", "t" * 201]),
    ("SHOP_LOW_STOCK", ["-1", "few"]),
    (
        "SHOP_TRACES_ENDPOINT",
        [
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http://user:hunter2@collector/v1/traces",
            "http://collector/v1/traces?key=hunter2",
            "http://collector/a b",
        ],
    ),
    ("SHOP_TRACES_SAMPLE", ["-0.1", "1.1", "1 %", "nan"]),
    (
        "SHOP_SENTRY_DSN",
        [
            "hunter2",
            "https://sentry.example/1",
            "https://hunter2@sentry.example/",
            "https://hunter2@sentry.example/project",
            "ftp://hunter2@sentry.example/1",
            "https://hunter2@/1",
            "https://hunter2@sentry.example/1?x",
        ],
    ),
    ("SHOP_OLD_SECRET_KEYS", ["short", f"{'k' * 32},short"]),
    ("SHOP_TOKEN_LEEWAY", ["-1", "61"]),
    ("SHOP_TRUSTED_PROXIES", ["proxy", "10.0.0.0/33", "10.0.0.1/8"]),
    ("SHOP_CORS_ORIGINS", ["shop.example", "https://shop.example/path", "*"]),
    ("SHOP_REGISTRATION", ["maybe"]),
    ("SHOP_CHECK_USERS", ["maybe"]),
    ("SHOP_ORDERS_PER_MINUTE", ["-1"]),
    ("SHOP_REFRESHES_PER_MINUTE", ["-1"]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG for value in values]
)
def test_a_wrong_value_stops_the_start_with_a_sentence_that_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is .*\.$") as refused:
        load(**{name: value})
    assert "hunter2" not in str(refused.value)


def test_every_setting_has_a_wrong_value_in_the_table_above() -> None:
    # The files are read when the keys are: tests/security/test_tokens.py.
    files = {"SHOP_SIGNING_KEY_FILE", "SHOP_VERIFICATION_KEYS_FILE"}
    assert {name for name, _ in WRONG} == VARIABLES - files


IN_WORDS = {
    "SHOP_ENVIRONMENT=prod": "it must be development or production",
    "SHOP_LOG_LEVEL=loud": "it must be debug, error, info or warning",
    "SHOP_DATABASE_POOL_SIZE=ten": "it must be a whole number from 1 to 1,000",
    "SHOP_BODY_MAX=1 MB": "it must be a whole number from 1,024 to 10,485,760",
    "SHOP_SEND_TIMEOUT=5s": "it must be a number above 0 to 34,560,000, without a unit",
    "SHOP_TOKEN_LEEWAY=-1": "it must be a number from 0 to 60, without a unit",
    "SHOP_REGISTRATION=maybe": "it must be true or false, written so or as yes and no",
    "SHOP_CURRENCY=euro": "it must be three capital letters of ISO 4217",
    "SHOP_PUBLIC_URL=x": "it must be an address",
    "SHOP_CORS_ORIGINS=x": "it must be origins without a path",
    f"SHOP_ISSUER={'i' * 201}": "it must be text of 1 to 200 characters",
    "SHOP_ISSUER=a\nb": "it must be one line of text in UTF-8",
    "SHOP_ISSUER=\udcff": "it must be one line of text in UTF-8",
}


@pytest.mark.parametrize(("setting", "words"), IN_WORDS.items())
def test_what_a_setting_must_be_is_said_in_words(setting: str, words: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(SettingsError) as refused:
        load(**{name: value})
    assert str(refused.value).startswith(f"{name} is wrong: {words}")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((written, True) for written in ("1", "true", "True", "YES", "yes", "on", " on ")),
        *((written, False) for written in ("0", "false", "FALSE", "no", "No", "off")),
    ],
)
def test_booleans_are_what_people_write(written: str, value: bool) -> None:
    assert load(SHOP_REGISTRATION=written).registration is value
    assert load(SHOP_KEEP_ALIVE=written).keep_alive is value


PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDPU\n-----END PRIVATE KEY-----"
GOOD = KEY.replace(" ", "-")
BAD_SECRETS = {
    "a comma": (f"{GOOD},{GOOD}", "has no comma"),
    "a blank before": (f" {GOOD}", "begins or ends with a blank"),
    "a blank after": (f"{GOOD} ", "begins or ends with a blank"),
    "one byte": ("k" * 32, "is too simple"),
    "a word again and again": ("changeme" * 4, "is too simple"),
}


@pytest.mark.parametrize(("secret", "words"), BAD_SECRETS.values(), ids=BAD_SECRETS)
def test_production_takes_good_secrets_only(secret: str, words: str) -> None:
    own = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": GOOD}
    for good in (GOOD, "0123456789abcdef" * 2):
        assert load_settings(own | {"SHOP_SECRET_KEY": good}).secret_key == good
    assert load_settings(own | {"SHOP_OLD_SECRET_KEYS": f"{GOOD}, {GOOD}"}).old_secrets
    for field in ("SHOP_SECRET_KEY", "SHOP_OLD_SECRET_KEYS"):
        if field == "SHOP_SECRET_KEY" or words == "is too simple":
            with pytest.raises(SettingsError, match=rf"^{field} .*{words}") as refused:
                load_settings(own | {field: secret})
            assert secret not in str(refused.value)
    # Whoever tries the shop is not bothered.
    assert load_settings({"SHOP_SECRET_KEY": secret}).secret_key == secret


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SHOP_SECRET_KEY", "belongs into a file that SHOP_SIGNING_KEY_FILE names"),
        ("SHOP_OLD_SECRET_KEYS", "belongs into a file that SHOP_SIGNING_KEY_FILE names"),
        ("SHOP_SIGNING_KEY_FILE", "it must name the file of one"),
        ("SHOP_VERIFICATION_KEYS_FILE", "it must name the file of one"),
    ],
)
def test_a_pem_in_the_wrong_place_is_named_and_not_repeated(name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is wrong: ") as refused:
        load(**{name: PEM})
    assert words in str(refused.value)
    assert "MC4C" not in str(refused.value)


def test_production_without_a_key_does_not_start() -> None:
    with pytest.raises(SettingsError, match=r"^SHOP_SECRET_KEY is not set: production needs one"):
        load_settings({"SHOP_ENVIRONMENT": "production"})
    with pytest.raises(SettingsError, match=r"^SHOP_SECRET_KEY is not set"):
        load_settings({"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": ""})


def test_production_does_not_start_on_the_store_with_demo_users() -> None:
    own = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": KEY}
    with pytest.raises(SettingsError, match=r"^SHOP_DATABASE_URL is memory://.* demo users"):
        load_settings(own | {"SHOP_DATABASE_URL": "memory://"})
    assert load_settings(own | {"SHOP_DATABASE_URL": "sqlite+aiosqlite:///x"}).store == "sqlite"


def test_a_key_is_measured_in_bytes() -> None:
    assert load(SHOP_SECRET_KEY="ü" * 16).secret_key == "ü" * 16


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load(SHOP_CURRENCY="", SHOP_DATABASE_POOL_SIZE="").currency == "EUR"


def test_no_message_repeats_a_password() -> None:
    with pytest.raises(SettingsError) as refused:
        load(SHOP_DATABASE_URL="postgres://shop:hunter2@db/shop")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        load(SHOP_SECRET_KEY="hunter2")
    assert "hunter2" not in str(refused.value)


def test_showing_settings_shows_no_secret() -> None:
    settings = load(SHOP_DATABASE_URL="postgresql+asyncpg://shop:hunter2@db/shop")
    for shown in (repr(settings), str(settings), f"{settings!r}"):
        assert KEY not in shown
        assert "hunter2" not in shown


def test_env_example_lists_exactly_the_settings_with_their_defaults() -> None:
    listed = dict(
        line.split("=", 1)
        for line in EXAMPLE.read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert set(listed) == VARIABLES
    assert listed.pop("SHOP_SECRET_KEY") == ""
    for name, value in listed.items():
        # A value that is its field's default, set alone, changes nothing; an empty one is not set.
        assert load(**{name: value}) == load(), name
        field = name.removeprefix("SHOP_").lower()
        assert (value == "") == (getattr(load(), field) in ("", None)), name


def test_only_in_production_a_server_that_stops_waits_for_those_who_route_traffic() -> None:
    assert load().seconds_to_drain == 0
    assert load(SHOP_ENVIRONMENT="production").seconds_to_drain == 8
    assert load(SHOP_ENVIRONMENT="production", SHOP_DRAIN_SECONDS="0").seconds_to_drain == 0
    assert load(SHOP_DRAIN_SECONDS="1.5").seconds_to_drain == 1.5


def test_logs_are_for_programs_in_production_and_for_people_elsewhere() -> None:
    assert load().form_of_log == "text"
    assert load(SHOP_ENVIRONMENT="production").form_of_log == "json"
    assert load(SHOP_ENVIRONMENT="production", SHOP_LOG_FORMAT="text").form_of_log == "text"
    assert load(SHOP_LOG_FORMAT="json").form_of_log == "json"


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("memory://", "memory"),
        ("sqlite+aiosqlite:////srv/shop.sqlite3", "sqlite"),
        ("postgresql+asyncpg://shop@db/shop", "postgresql"),
    ],
)
def test_the_address_of_the_database_says_which_store_it_is(url: str, store: str) -> None:
    settings = load(SHOP_DATABASE_URL=url)
    assert settings.store == store
    assert not settings.is_embedded


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://collector/v1/traces", "https://collector/v1/traces"),
        ("https://collector/of/ours/", "https://collector/of/ours/"),
    ],
)
def test_an_endpoint_without_a_path_has_the_one_of_the_standard(
    endpoint: str, address: str
) -> None:
    assert load(SHOP_TRACES_ENDPOINT=endpoint).traces_address == address
    assert load().traces_endpoint == ""


def test_a_dsn_is_shown_nowhere() -> None:
    settings = load(SHOP_SENTRY_DSN="https://hunter2@sentry.example/path/1")
    assert "hunter2" not in f"{settings} {settings!r}"
