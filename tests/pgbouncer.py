"""A PgBouncer of the tests' own, in transaction mode, where one is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.postgresql import GUARD, PostgresServer, unprivileged_user

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_SECONDS_MAX = 30.0

_CONFIGURATION = """
[databases]
* = host={server} user=shop
[pgbouncer]
unix_socket_dir = {root}
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
"""


@contextmanager
def running_pgbouncer(server: PostgresServer, *, pool_size: int) -> Iterator[Path]:
    """The folder of its socket. It has so many connections to the server for all its clients."""
    assert PROGRAM is not None, "it is not installed"
    root = Path(tempfile.mkdtemp(prefix="shop-pgb-"))
    configuration = root / "pgbouncer.ini"
    configuration.write_text(
        _CONFIGURATION.format(server=server.root, root=root, pool_size=pool_size)
    )
    identity: dict[str, Any] = {}
    if (user := unprivileged_user()) is not None:
        # It refuses to run as root.
        os.chown(root, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", str(root), PROGRAM, configuration],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=root,
            **identity,
        )
    try:
        _wait_until_ready(root, process)
        yield root
    finally:
        with suppress(BrokenPipeError):
            process.communicate(b"stop\n", timeout=30)
        process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def _wait_until_ready(root: Path, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect(str(root / ".s.PGSQL.5432"))
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                log = (root / "log").read_text(errors="replace")
                raise RuntimeError(f"PgBouncer did not start:\n{log}") from None
            time.sleep(0.02)
