"""`shop doctor`: each finding is provoked; what cannot be done is said; nothing is changed."""

import asyncio
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shop.adapters.findings import Finding, State
from shop.adapters.passwords import is_guessable
from shop.adapters.sql import engine, postgresql_checks, sqlite_checks
from shop.adapters.sql.schema import head
from shop.entrypoints import doctor
from shop.entrypoints.cli.main import main
from shop.entrypoints.doctor import CHECKS, Check, Shop
from shop.entrypoints.settings import Settings, variable
from tests.cases import all_cases
from tests.pgbouncer import PROGRAM, running_pgbouncer
from tests.postgresql import TEMPLATE, PostgresServer, running_postgresql
from tests.stores import migrate

OPERATE = Path(__file__).parents[2] / "docs" / "operate.md"
SECRET = "kT9-vR2_mQ7xWz4LpB8nYc3HdJ6sFg1AeU5oI0qZ"
PASSWORD = "planted-2f81-password"
PRODUCTION = {"SHOP_ENVIRONMENT": "production", "SHOP_SECRET_KEY": SECRET}
SQLITE = "sqlite+aiosqlite:///"
AWAY = f"postgresql+asyncpg://shop:{PASSWORD}@/shop?host=/nowhere"

Findings: TypeAlias = dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands are run; a `.env` in it is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "ENV_FILE", Path(".env"))
    return tmp_path


def run(*arguments: str, **variables: str) -> Result:
    own: dict[str, str | None] = {variable(name): None for name in Settings.__struct_fields__}
    wide = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}
    result = CliRunner().invoke(main, ["doctor", *arguments], env=own | wide | variables)
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert "Traceback" not in result.output
    assert "planted" not in result.output
    assert SECRET not in result.output
    return result


def findings(*arguments: str, **variables: str) -> Findings:
    """By the name of the check; the exit code must be what they say."""
    result = run("--json", *arguments, **variables)
    listed = json.loads(result.stdout)
    for one in listed:
        assert list(one) == ["check", "state", "found", "what_to_do"]
        assert one["state"] in set(State)
        assert one["found"]
    assert result.exit_code == int(any(one["state"] == "danger" for one in listed))
    found = {one["check"]: one for one in listed}
    assert len(found) == len(listed)
    return found


def states(found: Findings, *but: str) -> set[str]:
    return {one["state"] for name, one in found.items() if name not in but}


# --- a sound shop ---


@pytest.fixture
def served(sqlite_url: str) -> str:
    """A migrated SQLite database as a shop that runs in production has it."""
    file = Path(sqlite_url.removeprefix(SQLITE))
    file.chmod(0o600)
    with changing(file) as connection:
        purges = ("purge_sessions", "purge_attempts", "purge_keys")
        for task in ("make_searchable", "count_lists", "count_stock", *purges):
            connection.execute(_LEASE, (task,))
    return sqlite_url


_LEASE = "INSERT INTO leases (name, holder, expires_at) VALUES (?, '0', '2999-01-01 00:00:00.0')"
SOUND = {**PRODUCTION, "SHOP_TRUSTED_PROXIES": "10.0.0.0/8"}


@contextmanager
def changing(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file)
    with connection:
        yield connection
    connection.close()


def test_a_sound_shop_on_sqlite_is_all_ok(served: str) -> None:
    found = findings(SHOP_DATABASE_URL=served, **SOUND)
    assert states(found) == {"ok"}, found
    assert set(found) == {one.name for one in CHECKS if one.of not in ("postgresql",)}


def test_a_sound_shop_on_postgresql_is_all_ok_but_for_what_the_tests_switch_off(
    postgresql_url: str,
) -> None:
    found = findings(SHOP_DATABASE_URL=postgresql_url, **SOUND)
    assert found["durability"]["state"] == "danger"
    assert "fsync, full_page_writes, synchronous_commit" in found["durability"]["found"]
    assert states(found, "durability", "background") == {"ok"}, found
    assert set(found) == {one.name for one in CHECKS if one.of != "sqlite"}


def test_for_people_it_is_a_table_and_says_how_many_of_each_there_are(served: str) -> None:
    result = run(SHOP_DATABASE_URL=served, **SOUND)
    assert result.exit_code == 0
    assert result.stdout.startswith("check\tstate\tfound\twhat_to_do\nsettings\tok\t")
    assert (
        result.stderr == f"{len(result.stdout.splitlines()) - 1} ok, 0 note, 0 danger, 0 unknown\n"
    )
    result = run(SHOP_DATABASE_URL=AWAY)
    assert result.exit_code == 1
    assert "Something endangers what the shop promises." in result.stderr


# --- what is wrong, each by itself ---


def file_of(url: str) -> Path:
    return Path(url.removeprefix(SQLITE))


def with_file(change: Callable[[Path], object]) -> Callable[[str, pytest.MonkeyPatch], object]:
    return lambda url, _: change(file_of(url))


def with_sql(*statements: str) -> Callable[[str, pytest.MonkeyPatch], None]:
    def change(url: str, _: pytest.MonkeyPatch) -> None:
        with changing(file_of(url)) as connection:
            for statement in statements:
                connection.execute(statement)

    return change


def with_patch(target: Any, name: str, value: object) -> Callable[[str, pytest.MonkeyPatch], None]:
    return lambda _, patch: patch.setattr(target, name, value)


def with_text(name: str, content: str, mode: int) -> Callable[[str, pytest.MonkeyPatch], None]:
    def make(_: str, __: pytest.MonkeyPatch) -> None:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(mode)

    return make


def damage(file: Path) -> None:
    """Most of its tables; the schema stays."""
    with changing(file) as connection:
        [[page]] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'stock_movements'"
        ).fetchall()
        [[size]] = connection.execute("PRAGMA page_size").fetchall()
    with file.open("r+b") as opened:
        opened.seek((page - 1) * size)
        opened.write(b"\xff" * size)


def in_utf_16(file: Path) -> None:
    file.unlink()
    with changing(file) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE notes (note TEXT)")


def deaf(connection: Any, _: object) -> None:
    connection.isolation_level = None


async def slow(_: Shop) -> Finding:
    await asyncio.sleep(60)
    raise AssertionError


def leave_alone(*_: object) -> None: ...


def no_time(_: str, patch: pytest.MonkeyPatch) -> None:
    """For what takes long of a large file; of a small one it is over before anybody looks."""
    patch.setattr(doctor, "SCAN_SECONDS_MAX", -1.0)
    patch.setattr(sqlite_checks, "_STEPS", 1)


def another_stock(url: str, _: pytest.MonkeyPatch) -> None:
    create = ["products", "create", "TEA-1", "--name", "Tea", "--price", "1", "--stock", "4"]
    assert CliRunner().invoke(main, create, env={"SHOP_DATABASE_URL": url}).exit_code == 0
    with changing(file_of(url)) as connection:
        connection.execute("UPDATE stock SET on_hand = 5")


_USER = (
    "INSERT INTO users (id, username, username_folded, username_clash, password_hash, role, "
    "disabled, created_at) VALUES (7, 'ann', 'ann', 0, 'x', 'customer', 0, '2026-01-01 00:00:00.0')"
)
_ORDER = (
    "INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, "
    "modified_at) VALUES ('{0:032x}', 'A-{0}', 7, 'placed', 'EUR', x'{0:064x}', 1, '{1}', '{1}')"
)
Provoke: TypeAlias = Callable[[str, pytest.MonkeyPatch], object]
# By the check and the state: how it comes about, what is said, and settings.
PROVOKED: dict[tuple[str, str, str], tuple[Provoke, str, dict[str, str]]] = {
    ("settings", "note", "development"): (
        leave_alone,
        "SHOP_ENVIRONMENT is development",
        {"SHOP_ENVIRONMENT": "development"},
    ),
    ("settings", "note", "no drain"): (
        leave_alone,
        "SHOP_DRAIN_SECONDS is 0",
        {"SHOP_DRAIN_SECONDS": "0"},
    ),
    ("secrets", "danger", "a pattern"): (
        leave_alone,
        "SHOP_SECRET_KEY has a pattern",
        {"SHOP_SECRET_KEY": "change-me-" * 5},
    ),
    ("secrets", "note", "a pattern, in development"): (
        leave_alone,
        "SHOP_SECRET_KEY has a pattern",
        {"SHOP_SECRET_KEY": "change-me-" * 5, "SHOP_ENVIRONMENT": "development"},
    ),
    ("secrets", "danger", "an old one"): (
        leave_alone,
        "SHOP_OLD_SECRET_KEYS has a pattern",
        {"SHOP_OLD_SECRET_KEYS": "0123456789abcdefghijklmnopqrstuvwxyz"},
    ),
    ("secrets", "danger", "no key"): (
        leave_alone,
        "SHOP_SIGNING_KEY_FILE is wrong",
        {"SHOP_SIGNING_KEY_FILE": "not_there.pem"},
    ),
    ("secrets", "note", "none yet"): (
        leave_alone,
        "No SHOP_SECRET_KEY",
        {"SHOP_ENVIRONMENT": "development", "SHOP_SECRET_KEY": ""},
    ),
    ("files", "danger", "the database"): (
        with_file(lambda file: file.chmod(0o604)),
        "shop.sqlite3",
        {},
    ),
    ("files", "danger", "settings"): (with_text(".env", "", 0o644), ".env", {}),
    ("files", "danger", "a group that writes"): (with_text(".env", "", 0o620), ".env", {}),
    ("files", "note", "a group that reads"): (with_text(".env", "", 0o640), "group may read", {}),
    ("files", "danger", "the key of development"): (
        with_text("var/secret_key", "x" * 64, 0o644),
        "var/secret_key",
        {},
    ),
    ("files", "danger", "a folder of all"): (
        with_file(lambda file: file.parent.chmod(0o777)),
        "Others than the owner",
        {},
    ),
    ("proxies", "danger", "everybody"): (
        leave_alone,
        "clients choose the address",
        {"SHOP_TRUSTED_PROXIES": "10.0.0.0/8, 0.0.0.0/0"},
    ),
    ("proxies", "note", "a large network"): (
        leave_alone,
        "a large public network: 8.0.0.0/8",
        {"SHOP_TRUSTED_PROXIES": "8.0.0.0/8"},
    ),
    ("proxies", "note", "none"): (leave_alone, "behind a proxy", {"SHOP_TRUSTED_PROXIES": ""}),
    ("database", "danger", "not there"): (
        with_file(Path.unlink),
        "There is no database",
        {},
    ),
    ("database", "danger", "something else"): (
        with_file(lambda file: file.write_bytes(b"no database at all")),
        "is no SQLite database",
        {},
    ),
    ("version", "danger", "old"): (
        with_patch(sqlite_checks, "VERSION_MIN", (99, 0)),
        "SQLite 3.",
        {},
    ),
    ("durability", "danger", "deaf"): (
        with_patch(engine, "_look_at_sqlite", deaf),
        "does not do as it is told",
        {},
    ),
    ("durability", "note", "another journal"): (
        with_sql("PRAGMA journal_mode = delete"),
        "journal_mode=delete",
        {},
    ),
    ("encoding", "danger", "another"): (
        with_file(in_utf_16),
        "stores text as UTF-16le",
        {},
    ),
    ("schema", "danger", "outdated"): (
        with_sql("UPDATE alembic_version SET version_num = '0001'"),
        "Not migrated",
        {},
    ),
    ("schema", "danger", "not migrated"): (
        with_sql("DROP TABLE alembic_version"),
        "Not migrated",
        {},
    ),
    ("schema", "danger", "too new"): (
        with_sql(
            "UPDATE alembic_version SET version_num = '9999'",
            "UPDATE schema_compatibility SET oldest_program = '9999'",
        ),
        "which cannot work on it",
        {},
    ),
    ("schema", "note", "newer"): (
        with_sql(
            f"UPDATE schema_compatibility SET oldest_program = '{head()}'",  # noqa: S608
            "UPDATE alembic_version SET version_num = '9999'",
        ),
        "which can work on it",
        {},
    ),
    ("newest_order", "danger", "of the future"): (
        with_sql(
            _USER,
            _ORDER.format(1, "2026-01-01 00:00:00.0"),
            _ORDER.format(2, "2999-01-01 00:00:00.0"),
        ),
        "ahead of this host's clock",
        {},
    ),
    ("integrity", "danger", "damaged"): (with_file(damage), "The file is damaged", {}),
    ("integrity", "unknown", "large"): (
        no_time,
        "takes longer than",
        {},
    ),
    ("foreign_keys", "danger", "a row of none"): (
        with_sql(_ORDER.format(1, "2026-01-01 00:00:00.0")),
        "Rows that belong to none: of orders",
        {},
    ),
    ("foreign_keys", "unknown", "large"): (
        no_time,
        "takes longer than",
        {},
    ),
    ("file_system", "danger", "of several hosts"): (
        with_patch(sqlite_checks, "_kind_of", lambda *_: "nfs4"),
        "is on nfs4",
        {},
    ),
    ("disk", "danger", "full"): (
        with_patch(sqlite_checks, "FREE_BYTES_MIN", 1 << 60),
        "MB free",
        {},
    ),
    ("disk", "note", "soon full"): (
        with_patch(sqlite_checks, "FREE_BYTES_SOON", 1 << 60),
        "MB free",
        {},
    ),
    ("ledger", "danger", "another stock"): (
        another_stock,
        "1 of 1 product: TEA-1",
        {},
    ),
    ("background", "note", "no server"): (
        with_sql("UPDATE leases SET expires_at = '2020-01-01 00:00:00.0'"),
        "No server does count_lists, count_stock, make_searchable",
        {},
    ),
}


@pytest.mark.parametrize("named", PROVOKED, ids="-".join)
def test_what_is_wrong_is_found(
    served: str, named: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, state, _ = named
    provoke, says, settings = PROVOKED[named]
    provoke(served, monkeypatch)
    found = findings(**{**SOUND, "SHOP_DATABASE_URL": served, **settings})
    assert found[name]["state"] == state, found
    assert says in found[name]["found"]
    if state == "danger" and name not in ("database", "secrets", "encoding"):
        assert found[name]["what_to_do"]


def test_demo_users_are_a_danger_in_production(served: str) -> None:
    variables = {"SHOP_DATABASE_URL": served}
    demo = CliRunner().invoke(main, ["demo"], env=variables | {"SHOP_SECRET_KEY": SECRET})
    assert demo.exit_code == 0
    one = findings(**variables, **SOUND)["demo_users"]
    assert (one["state"], one["found"]) == (
        "danger",
        "Everybody knows the password of demo, admin.",
    )
    development = {**SOUND, "SHOP_ENVIRONMENT": "development"}
    assert findings(**variables, **development)["demo_users"]["state"] == "note"


def test_settings_that_cannot_be_read_are_the_finding() -> None:
    found = findings(SHOP_LOG_LEVEL="loud", **SOUND)
    assert found["settings"]["state"] == "danger"
    assert "SHOP_LOG_LEVEL is wrong" in found["settings"]["found"]
    assert states(found, "settings") == {"unknown"}


def test_without_its_database_the_other_checks_still_run() -> None:
    found = findings(**{**SOUND, "SHOP_DATABASE_URL": AWAY})
    assert found["database"]["state"] == "danger"
    assert "There is no PostgreSQL at /nowhere:5432" in found["database"]["found"]
    for name in ("settings", "secrets", "files", "proxies"):
        assert found[name]["state"] == "ok"
    assert states(found, "settings", "secrets", "files", "proxies", "database") == {"unknown"}


def test_a_password_of_the_database_that_many_use_is_a_danger() -> None:
    url = "postgresql+asyncpg://shop:password1@/shop?host=/nowhere"
    assert findings(**{**SOUND, "SHOP_DATABASE_URL": url})["secrets"]["state"] == "danger"


def test_of_the_store_in_memory_only_settings_and_host_are_looked_at() -> None:
    found = findings(SHOP_DATABASE_URL="memory://")
    assert set(found) == {one.name for one in CHECKS if one.of == "host"}


def test_a_new_folder_stays_as_it_is(folder: Path) -> None:
    found = findings()
    assert found["database"]["state"] == "note"
    assert "There is no database" in found["database"]["found"]
    assert not list(folder.iterdir())


# --- what cannot be done ---


def test_a_check_has_a_deadline_and_a_failure_of_its_own(
    served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Shop) -> Finding:
        raise ValueError(f"planted in {SECRET}")

    added = [Check(name="slow", run=slow), Check(name="broken", run=broken)]
    monkeypatch.setattr(doctor, "CHECKS", [*added, *CHECKS])
    monkeypatch.setattr(doctor, "SECONDS_MAX", 0.5)
    began = time.monotonic()
    found = findings(SHOP_DATABASE_URL=served, **SOUND)
    assert time.monotonic() < began + 30
    assert (found["slow"]["state"], found["slow"]["found"]) == (
        "unknown",
        "It takes longer than 0.5 s.",
    )
    assert found["broken"]["found"] == "It failed: ValueError."
    assert found["schema"]["state"] == "ok"


# --- PostgreSQL ---


def test_more_workers_than_the_server_has_connections_for_are_a_danger(postgresql_url: str) -> None:
    for workers, state, said in (
        (1, "ok", "1 worker may open 18 connections (18 each)"),
        (1_000, "danger", "1,000 workers may open 18,000 connections (18 each)"),
    ):
        one = findings("--workers", str(workers), SHOP_DATABASE_URL=postgresql_url)["connections"]
        assert one["state"] == state
        assert said in one["found"]


def test_limits_of_the_database_count_as_well(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    name = re.findall(r"/([^/?]+)\?", postgresql_url)[0]
    postgresql.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 20')
    one = findings("--workers", "1", SHOP_DATABASE_URL=postgresql_url)["connections"]
    postgresql.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
    assert one["state"] == "note"
    assert "there is room for 20" in one["found"]


def test_pgbouncer_set_without_one_is_a_note(postgresql_url: str) -> None:
    found = findings(SHOP_DATABASE_URL=postgresql_url, SHOP_DATABASE_PGBOUNCER="true")
    assert found["pooler"]["state"] == "note"
    assert "nothing stands before the server" in found["pooler"]["found"]
    assert "max_client_conn must be above 18" in found["connections"]["found"]


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed: apt install pgbouncer")
def test_a_pgbouncer_that_is_not_set_is_a_danger(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    name = re.findall(r"/([^/?]+)\?", postgresql_url)[0]
    with running_pgbouncer(postgresql, pool_size=3) as bouncer:
        url = f"postgresql+asyncpg://shop@/{name}?host={bouncer}"
        # The smallest pools there are.
        few = {"SHOP_DATABASE_POOL_SIZE": "1", "SHOP_DATABASE_READ_POOL_SIZE": "1"}
        for is_set, state in (("false", "danger"), ("true", "ok")):
            found = findings(SHOP_DATABASE_URL=url, SHOP_DATABASE_PGBOUNCER=is_set, **few)
            assert found["pooler"]["state"] == state, found
            # All the others can be done through it.
            assert "unknown" not in states(found)


def test_an_index_of_searches_that_is_missing_is_a_note(
    postgresql: PostgresServer, postgresql_url: str
) -> None:
    name = re.findall(r"/([^/?]+)\?", postgresql_url)[0]
    postgresql.execute("DROP INDEX products_search", database=name)
    found = findings(SHOP_DATABASE_URL=postgresql_url)
    assert found["search"]["state"] == "note"
    assert "Searches have no index" in found["search"]["found"]


def test_a_durable_server_is_sound_a_table_without_a_log_is_not_nor_is_a_standby() -> None:
    with running_postgresql(durable=True) as server:
        url = server.create_database(TEMPLATE)
        migrate(url)
        found = findings(SHOP_DATABASE_URL=url, **SOUND)
        assert states(found, "background") == {"ok"}, found
        with running_postgresql(standby_of=server, durable=True) as standby:
            one = findings(SHOP_DATABASE_URL=standby.url(TEMPLATE), **SOUND)["primary"]
            assert one["state"] == "danger"
            assert_replicas(url, standby.url(TEMPLATE), "ok", "Reads are served by")
            assert_replicas(url, url, "note", "the primary alone")
            assert_replicas(url, AWAY, "note", "does not answer")
            standby.execute("SELECT pg_wal_replay_pause()")
            server.execute(
                "UPDATE alembic_version SET version_num = version_num || 'x'", database=TEMPLATE
            )
            assert_replicas(url, standby.url(TEMPLATE), "note", "lacks a migration")
            server.execute(
                "UPDATE alembic_version SET version_num = rtrim(version_num, 'x')",
                database=TEMPLATE,
            )
        assert_replicas(url, "", "ok", "None")
        server.execute("ALTER TABLE leases SET UNLOGGED", database=TEMPLATE)
        one = findings(SHOP_DATABASE_URL=url, **SOUND)["durability"]
        assert (one["state"], one["found"]) == ("danger", "Tables that a crash empties: leases.")
        server.execute("ALTER TABLE leases SET LOGGED", database=TEMPLATE)
        # Of the role, and not in postgresql.conf.
        server.execute("ALTER ROLE shop SET synchronous_commit = off")
        one = findings(SHOP_DATABASE_URL=url, **SOUND)["durability"]
        assert one["found"].startswith("Switched off: synchronous_commit.")


def assert_replicas(url: str, read_url: str, state: str, part: str) -> None:
    variables = {"SHOP_DATABASE_URL": url, "SHOP_DATABASE_READ_URL": read_url}
    one = findings(**variables, **SOUND)["replicas"]
    assert (one["state"], part in one["found"]) == (state, True), one
    assert PASSWORD not in str(one)


# --- what no test can bring about: the judgement alone ---

CLOCKS = {
    "together": (0.3, 0.1, "ok"),
    "a slow answer": (4.0, 8.0, "ok"),
    "apart": (2.0, 0.1, "note"),
    "behind": (-2.0, 0.1, "note"),
    "far apart": (9.0, 0.1, "danger"),
    "far behind": (-9.0, 0.1, "danger"),
}
TLS: dict[str, tuple[str | None, str | None, str | None, bool, str]] = {
    "a socket": (None, None, None, False, "ok"),
    "this host": (None, "127.0.0.1", "127.0.0.1", False, "ok"),
    "this host, by IPv6": (None, "::1", "::1", False, "ok"),
    "a private network": (None, "10.0.0.7", "10.0.0.8", False, "note"),
    "the world": (None, "8.8.8.8", "10.0.0.8", False, "danger"),
    "not verified": ("TLSv1.3", "8.8.8.8", "10.0.0.8", False, "note"),
    "verified": ("TLSv1.3", "8.8.8.8", "10.0.0.8", True, "ok"),
}
VERSIONS = {"11.22": "danger", "13.9": "note", "15.18": "ok", "19beta1": "ok"}
POOLERS = {
    # There, changing, set.
    (False, False, False): "ok",
    (False, False, True): "note",
    (True, True, True): "ok",
    (True, False, True): "ok",
    (True, True, False): "danger",
    (True, False, False): "note",
}
MOUNTS = """\
overlay / overlay rw 0 0
/dev/sda1 /srv ext4 rw 0 0
tmpfs /srv/fast tmpfs rw 0 0
server:/shop /srv/far\\040away nfs4 rw 0 0
host /srv/mine fuse.sshfs rw 0 0
"""
FILE_SYSTEMS = {
    "/srv/shop.sqlite3": "ok",
    "/srv/fast/shop.sqlite3": "danger",
    "/srv/far away/shop.sqlite3": "danger",
    "/srv/mine/shop.sqlite3": "danger",
    "/srv/faster/shop.sqlite3": "ok",
    "/home/shop.sqlite3": "note",
}


def test_what_is_measured_is_judged(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    with all_cases() as cases:
        for clock, (ahead, round_trip, state) in CLOCKS.items():
            with cases.case("clock", clock):
                finding = postgresql_checks.of_clock(ahead, round_trip, seconds_max=5.0)
                assert finding.state == state
        for connection, (protocol, client, server, is_verified, state) in TLS.items():
            with cases.case("tls", connection):
                finding = postgresql_checks.of_tls(
                    protocol, client, server, is_verified=is_verified
                )
                assert finding.state == state
        for shown, state in VERSIONS.items():
            with cases.case("version", shown):
                major = int(re.findall(r"\d+", shown)[0])
                assert postgresql_checks.of_version(shown, major).state == state
        for (is_there, is_changing, is_set), state in POOLERS.items():
            with cases.case("pooler", is_there, is_changing, is_set):
                finding = postgresql_checks.of_pooler(
                    is_there=is_there, is_changing=is_changing, is_set=is_set
                )
                assert finding.state == state
        for file, state in FILE_SYSTEMS.items():
            with cases.case("file_system", file):
                assert sqlite_checks.file_system(Path(file), mounts).state == state
        with cases.case("another system"):
            assert sqlite_checks.file_system(Path("/x"), tmp_path / "none").state == "unknown"


@pytest.mark.parametrize("secret", ["x" * 40, "change-me-" * 4, "0123456789" * 4, "secret " * 6])
def test_a_secret_with_a_pattern_can_be_guessed(secret: str) -> None:
    assert is_guessable(secret)


def test_a_random_secret_cannot() -> None:
    for size in (32, 48, 96):
        assert not is_guessable(os.urandom(size).hex())


# --- nothing is changed ---


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_it_looks_through_cannot_write(
    kind: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(f"{kind}_url")
    shop = Shop(settings=Settings(database_url=url, secret_key=SECRET), workers=1)
    try:
        async with shop.connection() as connection:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await connection.execute(text("DELETE FROM leases"))
    finally:
        await shop.container.engines().dispose()


def test_the_file_of_sqlite_stays_as_it_is(served: str) -> None:
    file = file_of(served)
    with changing(file) as connection:
        # As another program may have left it.
        connection.execute("PRAGMA journal_mode = delete")
    file.chmod(0o644)
    before = file.stat(), file.read_bytes()
    findings(SHOP_DATABASE_URL=served, **SOUND)
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before[0].st_mode, before[0].st_mtime_ns)
    assert file.read_bytes() == before[1]


def test_it_looks_while_somebody_else_writes(served: str) -> None:
    with changing(file_of(served)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM leases")
        found = findings(SHOP_DATABASE_URL=served, **SOUND)
        assert states(found) == {"ok"}, found


# --- its documentation ---


def test_each_check_has_its_row_in_the_documentation() -> None:
    section = OPERATE.read_text().partition("## Doctor")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted({check.name for check in CHECKS})


def test_each_check_is_provoked_by_some_test() -> None:
    provoked = {name for name, _, _ in PROVOKED}
    of_postgresql = {"primary", "clock", "connections", "replicas", "pooler", "tls", "search"}
    assert {check.name for check in CHECKS} == provoked | of_postgresql | {"demo_users"}
