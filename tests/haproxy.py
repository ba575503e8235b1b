"""A HAProxy of the tests' own, in front of several servers or databases, where one is installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
START_SECONDS_MAX = 30.0

# What it could not send at all it sends to another server; what it has sent it never sends twice.
_CONFIGURATION = """
global
    maxconn 500
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch
frontend shop
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
{checks}
    http-response set-header x-served-by %s
{servers}
"""


# Five times a second.
QUICK_CHECKS = """
    balance roundrobin
    option httpchk GET /health/ready
    default-server check inter 200ms fall 1 rise 2
"""


# For databases: what is sent is not looked at. Who is away is noticed by a connection that fails.
_OF_DATABASES = """
global
    maxconn 500
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch
listen databases
    bind unix@{root}/.s.PGSQL.5432 mode 666
    balance roundrobin
    default-server check inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
{servers}
"""


@contextmanager
def running_haproxy(ports: Sequence[int], *, checks: str = QUICK_CHECKS) -> Iterator[int]:
    """The port on which it listens for servers that listen on those; how it checks them.

    Answers say in `x-served-by` which one they are from: `shop-` and its port.
    """
    with socket.socket() as reservation:
        reservation.bind(("127.0.0.1", 0))
        port: int = reservation.getsockname()[1]
    servers = "\n".join(f"    server shop-{at} 127.0.0.1:{at}" for at in ports)
    text = _CONFIGURATION.format(port=port, servers=servers, checks=checks)
    with _running(text) as (process, root):
        _wait_until_ready(socket.AF_INET, ("127.0.0.1", port), process, root)
        yield port


@contextmanager
def haproxy_of_databases(sockets: Sequence[Path]) -> Iterator[Path]:
    """The folder of its socket, which leads to one of those servers, by their sockets' folders."""
    servers = "\n".join(
        f"    server database-{number} unix@{folder}/.s.PGSQL.5432"
        for number, folder in enumerate(sockets)
    )
    with _running(_OF_DATABASES.replace("{servers}", servers)) as (process, root):
        _wait_until_ready(socket.AF_UNIX, str(root / ".s.PGSQL.5432"), process, root)
        yield root


@contextmanager
def _running(configuration: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """`{root}` in it is its folder."""
    assert PROGRAM is not None, "it is not installed"
    root = Path(tempfile.mkdtemp(prefix="shop-haproxy-"))
    file = root / "haproxy.cfg"
    file.write_text(configuration.replace("{root}", str(root)))
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "-f", file, "-db"], stdout=log, stderr=log)
    try:
        yield process, root
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def _wait_until_ready(
    family: int, address: str | tuple[str, int], process: "subprocess.Popen[bytes]", root: Path
) -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while True:
        with socket.socket(family) as connection:
            connection.settimeout(1)
            if connection.connect_ex(address) == 0:
                return
        if process.poll() is not None or time.monotonic() > give_up_at:
            log = (root / "log").read_text(errors="replace")
            raise RuntimeError(f"HAProxy did not start:\n{log}")
        time.sleep(0.02)
