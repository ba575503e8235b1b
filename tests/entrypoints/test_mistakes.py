"""What operators get wrong, through the command line: each is told in a sentence or two.

Settings by themselves are in `test_settings.py`; here are databases that cannot be used, and
whatever else a command runs into. A case is a line in a table: its name, the command, and the words
that must be among those said.
"""

import asyncio
import ctypes
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from shop.entrypoints.cli.main import main
from tests.cases import all_cases
from tests.concurrency.servers import SECRET_KEY, shop_command, words_of
from tests.postgresql import PostgresServer, unused_name

PASSWORD = "hunter2-and-more"
"""In every address of a database, and in no message."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    says: str
    command: str = "migrate"
    url: str = ""
    exit_code: int = 1
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        quick = {"SHOP_DATABASE_CONNECT_TIMEOUT": "0.3", "SHOP_DATABASE_LOCK_TIMEOUT": "0.1"}
        own = {"SHOP_SECRET_KEY": SECRET_KEY, "SHOP_DATABASE_URL": self.url, "COLUMNS": "500"}
        return quick | own | {"TERMINAL_WIDTH": "500"} | self.settings


def told(mistake: Mistake) -> str:
    """What the command says, which must have refused as it should."""
    result = CliRunner().invoke(main, words_of(mistake.command), env=mistake.variables, input="")
    if result.exc_info is not None and not isinstance(result.exception, SystemExit | None):
        pytest.fail("Traceback: " + "".join(traceback.format_exception(*result.exc_info)))
    check(mistake, result.exit_code, result.stdout, result.stderr)
    return result.stderr


def check(mistake: Mistake, exit_code: int, stdout: str, stderr: str) -> None:
    message = " ".join(re.sub(r"[─│╭╮╰╯]", " ", stderr).split())
    assert exit_code == mistake.exit_code, stdout + stderr
    assert "Traceback" not in stdout + stderr
    assert PASSWORD not in stdout + stderr
    assert mistake.says in message
    if exit_code == 1:
        assert not stdout
        message = message.removeprefix("Error ")
        assert 1 <= len(re.findall(r"[.?](?: |$)", message)) <= 2, message
        assert len(message) <= 500


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- settings and usage ---

SQLITE = "sqlite+aiosqlite:///"
POSTGRESQL = "postgresql+asyncpg://"
AT = f"{POSTGRESQL}shop:{PASSWORD}@"

WRONG_URLS = {
    "another scheme": (f"mysql://shop:{PASSWORD}@db/shop", "it must start with sqlite+aiosqlite"),
    "no scheme": ("shop.sqlite3", "it must start with sqlite+aiosqlite"),
    "blanks": ("  ", "it must start with sqlite+aiosqlite"),
    "postgres": (
        f"postgres://shop:{PASSWORD}@db/shop",
        "postgresql+asyncpg:// instead of postgres",
    ),
    "no driver": ("postgresql://db/shop", "postgresql+asyncpg:// instead of postgresql://"),
    "psycopg": ("postgresql+psycopg://db/shop", "instead of postgresql+psycopg://"),
    "psycopg2": ("postgresql+psycopg2://db/shop", "instead of postgresql+psycopg2://"),
    "sqlite's own": ("sqlite:///shop.sqlite3", "sqlite+aiosqlite:// instead of sqlite://"),
    "two slashes": ("sqlite+aiosqlite://var/shop.sqlite3", "write sqlite+aiosqlite:///path"),
    "no path": ("sqlite+aiosqlite://", "SQLite needs the path of a file"),
    "in memory": (f"{SQLITE}:memory:", "memory:// is the store without one"),
    "a file URI": (f"{SQLITE}file:x?uri=true", "SQLite needs the path of a file"),
    "a home folder": (f"{SQLITE}~/shop.sqlite3", "write the whole path"),
    "an option of SQLite": (f"{SQLITE}x?mode=ro", "the option mode is not known"),
    "words as port": (f"{AT}db:port/shop", "with a number as port"),
    "no port": (f"{AT}db:/shop", "with a number as port"),
    "port 0": (f"{AT}db:0/shop", "a port must be from 1 to 65535"),
    "a large port": (f"{AT}db:65536/shop", "a port must be from 1 to 65535"),
    "a large port of several": (f"{AT}db:1,db:65536/shop", "a port must be from 1 to 65535"),
    "bare IPv6": (f"{AT}::1/shop", "an IPv6 address in brackets"),
    "half brackets": (f"{AT}[::1/shop", "an IPv6 address in brackets"),
    "@ in the password": (f"{POSTGRESQL}shop:x@{PASSWORD}@db/shop", "percent-encoded (%40 is @)"),
    "an impossible host": (f"{AT}a..b/shop", "a host is no name or address"),
    "a long host": (f"{AT}{'a' * 70}/shop", "a host is no name or address"),
    "an unknown option": (f"{AT}db/shop?schema=x", "the option schema is not known."),
    "gssencmode": (f"{AT}db/shop?gssencmode=disable", "the option gssencmode is not known"),
    "channel_binding": (f"{AT}db/shop?channel_binding=require", "channel_binding is not known"),
    "pgbouncer": (f"{AT}db/shop?pgbouncer=true", "set SHOP_DATABASE_PGBOUNCER=true instead"),
    "a pool": (f"{AT}db/shop?pool_size=5", "set SHOP_DATABASE_POOL_SIZE instead"),
    "an option twice": (f"{AT}db/shop?sslmode=require&sslmode=allow", "more than once"),
    "sslmode": (f"{AT}db/shop?sslmode=true", "sslmode must be one of disable, allow"),
    "ssl": (f"{AT}db/shop?ssl=on", "ssl must be one of disable, allow"),
    "no certificate": (f"{AT}db/shop?sslrootcert=/nowhere", "sslrootcert names no file"),
    "connect_timeout": (f"{AT}db/shop?connect_timeout=soon", "a number of seconds from 1"),
    "a cache size": (f"{AT}db/shop?prepared_statement_cache_size=x", "must be a whole number"),
    "a target": (f"{AT}db/shop?target_session_attrs=x", "must be one of any, primary"),
    "too long": ("x" * 10_000, "it must start with sqlite+aiosqlite"),
}


@pytest.mark.parametrize(("url", "says"), WRONG_URLS.values(), ids=WRONG_URLS)
def test_a_wrong_address_of_the_database(url: str, says: str) -> None:
    assert "SHOP_DATABASE_URL is wrong: " in told(Mistake(url=url, says=says))
    assert not list(Path().iterdir())


PRODUCTION = {"SHOP_ENVIRONMENT": "production"}
SETTINGS = {
    "an environment": ({"SHOP_ENVIRONMENT": "prod"}, "it must be development or production"),
    "a boolean": ({"SHOP_ACCESS_LOG": "ja"}, "it must be true or false"),
    "a number": ({"SHOP_DATABASE_POOL_SIZE": "many"}, "a whole number from 1 to 1,000"),
    "out of range": ({"SHOP_DATABASE_POOL_SIZE": "0"}, "a whole number from 1 to 1,000"),
    "a unit": ({"SHOP_KEEP_ALIVE_TIMEOUT": "10s"}, "a number from 1 to 3,600, without a unit"),
    "too long": ({"SHOP_ISSUER": "x" * 201}, "text of 1 to 200 characters"),
    "two lines": ({"SHOP_ISSUER": "a\nb"}, "one line of text"),
    "no such setting": ({"SHOP_PORT": "80"}, "SHOP_PORT is not a setting"),
    "no secret": (PRODUCTION | {"SHOP_SECRET_KEY": ""}, "SHOP_SECRET_KEY is not set"),
    "a simple secret": (PRODUCTION | {"SHOP_SECRET_KEY": "k" * 40}, "8 different bytes"),
    "proxies": ({"SHOP_TRUSTED_PROXIES": "proxy"}, "SHOP_TRUSTED_PROXIES is wrong"),
    "memory": ({"SHOP_DATABASE_URL": "memory://"}, "lives only inside `shop serve`"),
}


@pytest.mark.parametrize(("settings", "says"), SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_setting(settings: dict[str, str], says: str) -> None:
    told(Mistake(settings=settings, says=says))


OF_SERVE = {
    "no key file": ("serve", {"SHOP_SIGNING_KEY_FILE": "/nowhere"}, "No such file"),
    "a folder as key file": ("serve", {"SHOP_SIGNING_KEY_FILE": "/"}, "Is a directory"),
    "a host that cannot be": ("serve --host a..b", {}, "no such name"),
    "a host of nobody": ("serve --host 192.0.2.1", {}, "Cannot listen on 192.0.2.1:8000"),
    "workers in memory": ("serve --workers 2", {"SHOP_DATABASE_URL": "memory://"}, "--workers 1"),
}


@pytest.mark.parametrize(("command", "settings", "says"), OF_SERVE.values(), ids=OF_SERVE)
def test_what_cannot_be_served(
    command: str, settings: dict[str, str], says: str, sqlite_url: str
) -> None:
    told(Mistake(command=command, url=sqlite_url, settings=settings, says=says))


@pytest.mark.parametrize(
    "command",
    [
        "nonsense",
        "serve --port 0",
        "serve --port 65536",
        "serve --port http",
        "demo --port 0",
        "set-role ann boss",
        "orders show abc",
        "products list --limit 0",
        "stock adjust TEA-1 --reason count",
        "stock adjust TEA-1 --delta x --reason count",
    ],
)
def test_wrong_usage(command: str, sqlite_url: str) -> None:
    told(Mistake(command=command, url=sqlite_url, says="Usage: ", exit_code=2))


# --- SQLite ---


def not_there(folder: Path) -> str:
    return "gone.sqlite3"


def a_folder(folder: Path) -> str:
    (folder / "data").mkdir()
    return "data"


def below_a_file(folder: Path) -> str:
    (folder / "notes").write_text("words")
    return "notes/shop.sqlite3"


def no_database(folder: Path) -> str:
    (folder / "notes").write_text("words " * 1_000)
    return "notes"


def private_and_no_database(folder: Path) -> str:
    (folder / "notes").write_text("words " * 1_000)
    (folder / "notes").chmod(0o600)
    return "notes"


def a_device(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def damaged(folder: Path) -> str:
    file = folder / "shop.sqlite3"
    content = file.read_bytes()
    # All but the first page, which says what it is.
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    return "shop.sqlite3"


def of_something_else(folder: Path) -> str:
    connection = sqlite3.connect(folder / "other.sqlite3")
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.close()
    return "other.sqlite3"


BAD_FILES: dict[str, tuple[Callable[[Path], str], str, str]] = {
    "not there": (not_there, "There is no database", "list-users"),
    "a folder": (a_folder, "is a folder: SHOP_DATABASE_URL must name the file", "migrate"),
    "a folder, read": (a_folder, "is a folder: SHOP_DATABASE_URL must name the file", "list-users"),
    "below a file": (below_a_file, "cannot be made (", "migrate"),
    "below a file, read": (below_a_file, "There is no database", "list-users"),
    "no database": (no_database, "is no SQLite database", "migrate"),
    "no database, read": (no_database, "is no SQLite database", "list-users"),
    "no database, private": (private_and_no_database, "is no SQLite database", "migrate"),
    "a pipe": (a_device, "is no file: SHOP_DATABASE_URL must name the file", "migrate"),
    "a long name": (lambda _: "x" * 300, "File name too long", "migrate"),
    "damaged": (damaged, "is damaged", "products list"),
    "damaged, served": (damaged, "is damaged", "migrate"),
    "of something else": (of_something_else, "not migrated", "list-users"),
    "of something else, migrated": (of_something_else, "There is something else in", "migrate"),
}


@pytest.mark.parametrize(("make", "says", "command"), BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.usefixtures("sqlite_url")
def test_a_file_that_is_no_database_of_the_shop(
    tmp_path: Path, make: Callable[[Path], str], says: str, command: str
) -> None:
    file = tmp_path / make(tmp_path)
    there = set(tmp_path.iterdir())
    before = file.stat() if file in there else None
    told(Mistake(command=command, url=SQLITE + str(file), says=says))
    if before is None:
        assert set(tmp_path.iterdir()) == there
    elif not says.startswith(("is damaged", "There is something", "not migrated")):
        # What is somebody else's stays as it was.
        assert file.stat().st_mode == before.st_mode


def test_a_database_that_somebody_else_is_writing_to(sqlite_url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "shop.sqlite3")
    other.execute("BEGIN IMMEDIATE")
    command = "products create TEA-1 --name Tea --price 1"
    told(Mistake(command=command, url=sqlite_url, says="Somebody else is writing to"))
    other.close()


_CAPABILITIES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_DROP_FROM_BOUNDING_SET = 24


def obey_permissions() -> None:
    """In a process about to become another program, which root is then refused like anybody."""
    if os.geteuid() == 0:
        library = ctypes.CDLL(None, use_errno=True)
        for capability in _CAPABILITIES:
            if library.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "root keeps its rights here")


# By name: what has which permissions in a folder with a database, and what is done there.
FORBIDDEN = {
    "a new database": ("", 0o500, "migrate", "new.sqlite3", "since this user may not write to"),
    "a new folder": ("", 0o500, "migrate", "new/x.sqlite3", "cannot be made (Permission denied)"),
    "migrating": ("shop.sqlite3", 0o400, "migrate", "shop.sqlite3", "may not write to it"),
    "serving": ("shop.sqlite3", 0o400, "serve", "shop.sqlite3", "this user may not write to it"),
    "changing": (
        "shop.sqlite3",
        0o400,
        "products create TEA-1 --name Tea --price 1",
        "shop.sqlite3",
        "this user may not write to it",
    ),
    "reading": ("shop.sqlite3", 0o000, "list-users", "shop.sqlite3", "this user may not read it"),
    "files beside": ("", 0o500, "migrate", "shop.sqlite3", "write to its folder, where SQLite"),
    "a folder": ("", 0o000, "list-users", "shop.sqlite3", "cannot be reached (Permission denied)"),
    "a key": ("", 0o500, "serve", "shop.sqlite3", "no key can be kept in"),
    "settings": (".env", 0o000, "list-users", "shop.sqlite3", ".env cannot be read (Permission"),
}

# One process for all: most of a command's time goes into its start.
_RUN = """
import json, os, sys
from click.testing import CliRunner
from shop.entrypoints.cli.main import main
for folder, command, variables in json.load(sys.stdin):
    os.chdir(folder)
    result = CliRunner().invoke(main, command.split(), env=variables)
    failed = result.exception is not None and not isinstance(result.exception, SystemExit)
    problem = f"Traceback: {result.exception!r}" if failed else ""
    print(json.dumps([result.exit_code, result.stdout, result.stderr + problem]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="rights of root are given up as Linux has it")
def test_what_this_user_may_not(migrated_sqlite: Path, tmp_path: Path) -> None:
    mistakes: dict[str, Mistake] = {}
    folders: dict[str, Path] = {}
    with ExitStack() as stack:
        for name, (path, mode, command, file, says) in FORBIDDEN.items():
            folders[name] = folder = tmp_path / name
            folder.mkdir()
            (folder / ".env").touch()
            shutil.copy(migrated_sqlite, folder / "shop.sqlite3")
            stack.enter_context(permissions(folder / path, mode))
            settings = {"SHOP_SECRET_KEY": ""} if name == "a key" else {}
            url = f"{SQLITE}{folder / file}"
            mistakes[name] = Mistake(command=command, url=url, says=says, settings=settings)
        # The process starts where it may be, and goes into a folder while it still can.
        asked = [
            (str(tmp_path if name == "a folder" else folders[name]), one.command, one.variables)
            for name, one in mistakes.items()
        ]
        try:
            ran = subprocess.run(
                [sys.executable, "-c", _RUN],
                input=json.dumps(asked),
                preexec_fn=obey_permissions,
                capture_output=True,
                text=True,
                check=True,
            )
        except subprocess.SubprocessError as error:
            if isinstance(error, subprocess.CalledProcessError):
                raise
            pytest.skip("root cannot give up its rights here")
    answers = map(json.loads, ran.stdout.splitlines())
    with all_cases() as cases:
        for (name, mistake), answer in zip(mistakes.items(), answers, strict=True):
            with cases.case(name):
                check(mistake, *answer)


@contextmanager
def permissions(path: Path, mode: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def told_by_process(mistake: Mistake, *before: str) -> None:
    ran = subprocess.run(
        [*before, *shop_command(*mistake.command.split())],
        env={**os.environ, **mistake.variables},
        capture_output=True,
        text=True,
        check=False,
    )
    check(mistake, ran.returncode, ran.stdout, ran.stderr)


def test_the_command_itself_says_the_same() -> None:
    url = f"{AT}/shop?host=/nowhere"
    told_by_process(Mistake(command="list-users", url=url, says="its socket is not there"))


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && cd {tmp_path} && exec "$@"'
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*before, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can be mounted by root on Linux only")
    told_by_process(Mistake(url=f"{SQLITE}{tmp_path}/shop.sqlite3", says="the disk"), *before)


# --- PostgreSQL ---


@pytest.fixture(scope="module")
def bad(postgresql: PostgresServer) -> Iterator[dict[str, str]]:
    """Who asks for which database, by what is wrong with it, on the server of the tests."""
    names = {name: unused_name(name) for name in ("stranger", "guest", "crowd", "empty", "taken")}
    names |= {name: unused_name(name) for name in ("forbidden", "reading")}
    with ExitStack() as stack:
        for role in ("stranger", "guest", "crowd"):
            limit = "CONNECTION LIMIT 0" if role == "crowd" else ""
            postgresql.execute(f"CREATE ROLE {names[role]} LOGIN PASSWORD 'right' {limit}")
            stack.callback(postgresql.execute, f"DROP ROLE {names[role]}")
        for database in ("empty", "taken", "forbidden", "reading"):
            postgresql.create_database(names[database])
            stack.callback(postgresql.drop_database, names[database])
        postgresql.execute("CREATE TABLE users (name text)", database=names["taken"])
        postgresql.execute(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC", database=names["forbidden"]
        )
        postgresql.execute(
            f"ALTER DATABASE {names['reading']} SET default_transaction_read_only = on"
        )
        ask_for_password(postgresql, names["stranger"])
        yield {
            "wrong password": f"{names['stranger']}:{PASSWORD}@/postgres",
            "no password": f"{names['stranger']}@/postgres",
            "no such user": f"nobody_here:{PASSWORD}@/postgres",
            "no such database": f"shop:{PASSWORD}@/not_there",
            "too many connections": f"{names['crowd']}@/postgres",
            "no right to create": f"{names['guest']}@/{names['forbidden']}",
            "no tables": f"shop:{PASSWORD}@/{names['empty']}",
            "something else": f"shop:{PASSWORD}@/{names['taken']}",
            "read-only": f"shop:{PASSWORD}@/{names['reading']}",
        }


def ask_for_password(postgresql: PostgresServer, role: str) -> None:
    """The server trusts everybody else, and other tests use it at the same time."""
    rules = postgresql.root / "data" / "pg_hba.conf"
    with (postgresql.root / "hba").open("w") as lock:
        flock(lock, LOCK_EX)
        rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
    postgresql.execute("SELECT pg_reload_conf()")
    give_up_at = time.monotonic() + 30
    while asyncio.run(lets_in(postgresql, role)):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


async def lets_in(postgresql: PostgresServer, role: str) -> bool:
    try:
        connection = await asyncpg.connect(
            host=str(postgresql.root), user=role, password="wrong", database="postgres"
        )
    except asyncpg.InvalidPasswordError:
        return False
    await connection.close()
    return True


@pytest.mark.parametrize(
    ("name", "command", "says"),
    [
        ("wrong password", "migrate", "does not let the user 'stranger_"),
        ("wrong password", "serve", "does not let the user 'stranger_"),
        ("no password", "migrate", "does not let the user 'stranger_"),
        ("no such user", "migrate", "does not let the user 'nobody_here' in"),
        ("no such database", "list-users", "There is no database 'not_there' at /"),
        ("too many connections", "migrate", "has too many connections"),
        ("no right to create", "migrate", "may not do this in the database 'forbidden_"),
        ("no tables", "list-users", "is not migrated to this version; run `shop migrate`."),
        ("no tables", "serve", "is not migrated to this version; run `shop migrate`."),
        ("something else", "migrate", "There is something else in the database 'taken_"),
        ("read-only", "migrate", "No changes can be made in the database 'reading_"),
    ],
)
def test_a_postgresql_that_refuses(
    postgresql: PostgresServer, bad: dict[str, str], name: str, command: str, says: str
) -> None:
    url = f"{POSTGRESQL}{bad[name]}?host={postgresql.root}"
    told(Mistake(command=command, url=url, says=says))


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A port where something else answers so, or nothing takes connections (None)."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if answer is not None:
            listening.listen()

            def serve() -> None:
                while True:
                    try:
                        connection, _ = listening.accept()
                    except OSError:
                        return
                    with connection:
                        connection.recv(1_024)
                        connection.sendall(answer)
                        if not answer:
                            time.sleep(1)

            threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        if answer is not None:
            listening.shutdown(socket.SHUT_RDWR)


NOT_POSTGRESQL = {
    "nobody": (None, "", "Nothing answers at 127.0.0.1:"),
    "silent": (b"", "", "did not answer in time"),
    "a web server": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "", "cannot be connected to ("),
    "no TLS": (b"N", "?sslmode=require", "cannot be connected to ("),
    "no authority": (b"S", "?sslmode=verify-full", "cannot be connected to ("),
    "no TLS at all": (b"S" + b"x" * 100, "?ssl=require", "127.0.0.1:"),
}


@pytest.mark.parametrize(("answer", "options", "says"), NOT_POSTGRESQL.values(), ids=NOT_POSTGRESQL)
def test_what_is_no_postgresql(
    answer: bytes | None, options: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering(answer) as port:
        told(Mistake(url=f"{AT}127.0.0.1:{port}/shop{options}", says=says))


def test_a_host_that_nobody_knows() -> None:
    told(
        Mistake(url=f"{AT}no-such-host.invalid/shop", says="no-such-host.invalid:5432 is not known")
    )


def test_none_of_several_hosts() -> None:
    with answering(None) as one, answering(None) as two:
        url = f"{AT}127.0.0.1:{one},127.0.0.1:{two}/shop"
        told(Mistake(url=url, says=f"Nothing answers at 127.0.0.1:{one}, 127.0.0.1:{two}"))


def test_no_socket_and_no_rights_to_it(tmp_path: Path) -> None:
    told(Mistake(url=f"{AT}/shop?host={tmp_path}", says="its socket is not there"))
