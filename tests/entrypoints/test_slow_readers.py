"""Looking for peers that do not read, from inside the process; over the wire: `concurrency/`."""

import fcntl
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shop.entrypoints.slow_readers import TCP_INFO, UNSENT_BYTES_MAX, SlowReaders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who reads")

_TRY_TO_LOCK = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("locked")
"""


def test_files_keep_their_locks(tmp_path: Path) -> None:
    """A process loses its locks on a file when it closes any descriptor of it: SQLite's, too."""
    path = tmp_path / "database"
    with path.open("w+") as file, socket.create_server(("127.0.0.1", 0)) as listener:
        fcntl.lockf(file, fcntl.LOCK_EX)
        SlowReaders(listener.getsockname()[1], seconds_max=1, rate_min=1).sweep(0)
        tried = subprocess.run(
            [sys.executable, "-c", _TRY_TO_LOCK, path], capture_output=True, text=True, check=True
        )
    assert tried.stdout == "locked\n"


def test_connections_to_other_ports_are_left_alone() -> None:
    """The database's are among them."""
    readers = SlowReaders(1, seconds_max=1, rate_min=1)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as peer,
        listener.accept()[0] as accepted,
    ):
        accepted.setblocking(False)
        fill(accepted)
        assert [readers.sweep(now) for now in (0, 10, 20)] == [0, 0, 0]
        peer.sendall(b"still here")
        accepted.setblocking(True)
        assert accepted.recv(10) == b"still here"


def test_only_who_does_not_read_is_ended_and_the_kernel_keeps_little_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        readers = SlowReaders(address[1], seconds_max=10, rate_min=1)
        readers.sweep(0)
        with (
            small_buffer_peer(address) as lazy,
            listener.accept()[0] as to_lazy,
            socket.create_connection(address) as idle,
            listener.accept()[0] as to_idle,
        ):
            for connection in (to_lazy, to_idle):
                connection.setblocking(False)
            assert fill(to_lazy) < UNSENT_BYTES_MAX + 50_000
            assert [readers.sweep(now) for now in (1, 10.9)] == [0, 0]
            assert readers.sweep(11.1) == 1
            with pytest.raises(BrokenPipeError):
                to_lazy.send(b"x")
            to_idle.send(b"hello")
            assert idle.recv(5) == b"hello"
            assert lazy.fileno() > 0


def test_a_server_that_stops_has_less_patience() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    readers = SlowReaders(address[1], seconds_max=10, rate_min=1)
    with small_buffer_peer(address), listener.accept()[0] as accepted:
        accepted.setblocking(False)
        fill(accepted)
        assert readers.sweep(0) == 0
        assert readers.sweep(3) == 0
        listener.close()
        assert readers.sweep(3.1) == 0, "it is noticed"
        assert readers.sweep(3.2) == 1


def small_buffer_peer(address: tuple[str, int]) -> socket.socket:
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    peer.connect(address)
    return peer


def fill(connection: socket.socket) -> int:
    """Write until the kernel takes no more, and nothing is under way; how much it took.

    A peer that does not read still acknowledges what its kernel has room for, and may be late with
    that (RFC 1122, 4.2.3.2): whoever looked before and after it would see progress.
    """
    written, give_up_at = 0, time.monotonic() + 20
    while True:
        try:
            written += connection.send(bytes(16_384))
        except BlockingIOError:
            if not in_flight(connection):
                return written
            assert time.monotonic() < give_up_at
            time.sleep(0.001)


def in_flight(connection: socket.socket) -> int:
    """Segments that were sent and not acknowledged yet."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
    return int(TCP_INFO.unpack(info)[1])
