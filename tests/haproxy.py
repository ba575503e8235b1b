"""A HAProxy of the tests' own, in front of several servers, where one is installed."""

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


@contextmanager
def running_haproxy(ports: Sequence[int], *, checks: str = QUICK_CHECKS) -> Iterator[int]:
    """The port on which it listens for servers that listen on those; how it checks them.

    Answers say in `x-served-by` which one they are from: `shop-` and its port.
    """
    assert PROGRAM is not None, "it is not installed"
    root = Path(tempfile.mkdtemp(prefix="shop-haproxy-"))
    with socket.socket() as reservation:
        reservation.bind(("127.0.0.1", 0))
        port: int = reservation.getsockname()[1]
    servers = "\n".join(f"    server shop-{at} 127.0.0.1:{at}" for at in ports)
    configuration = root / "haproxy.cfg"
    configuration.write_text(_CONFIGURATION.format(port=port, servers=servers, checks=checks))
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "-f", configuration, "-db"], stdout=log, stderr=log)
    try:
        _wait_until_ready(port, process, root)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def _wait_until_ready(port: int, process: "subprocess.Popen[bytes]", root: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                log = (root / "log").read_text(errors="replace")
                raise RuntimeError(f"HAProxy did not start:\n{log}") from None
            time.sleep(0.02)
