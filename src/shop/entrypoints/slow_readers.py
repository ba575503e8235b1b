"""Ends connections whose peers do not read what they asked for.

The web server waits for ever for a peer that reads nothing, or a byte now and then, and each one
holds a place that others need. The kernel knows what of the written bytes has arrived, so a thread
asks it about every connection. Only Linux tells; elsewhere nobody is ended.
"""

import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

UNSENT_BYTES_MAX = 65_536
"""Written, but not yet sent, in the kernel for one connection."""
STOPPING_SECONDS_MAX = 2.0
"""Without progress, once the server is stopping."""
_SWEEP_SECONDS = 1.0

# Of `struct tcp_info` in linux/tcp.h: state, segments in flight, bytes acknowledged, bytes unsent.
TCP_INFO = struct.Struct("=B23xI92xQ16xI")
_LISTENING = 10

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.http")


@dataclass(slots=True)
class _Waiting:
    """A connection while something that was written has not arrived."""

    since: float
    acknowledged_before: int
    """When this stretch of time began."""
    progress_at: float
    acknowledged: int


class SlowReaders:
    """Of the connections to one port of this process.

    Who has something to read must take a byte at least every `seconds_max`, and in each stretch of
    so many seconds `rate_min` bytes a second.
    """

    def __init__(self, port: int, *, seconds_max: float, rate_min: int) -> None:
        self._port = port
        self._seconds_max = seconds_max
        self._rate_min = rate_min
        # By inode, which no other socket has while the connection lives.
        self._waiting: dict[int, _Waiting] = {}
        self._seen: set[int] = set()
        self._has_listened = False

    def watch(self) -> None:
        """For as long as the process lives, in a thread of its own."""
        if sys.platform == "linux":
            threading.Thread(target=self._run, name="slow-readers", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_SWEEP_SECONDS)
            try:
                ended = self.sweep(time.monotonic())
            except OSError as error:
                # Such as no file descriptor left; the next sweep may find one.
                logger.warning("connections.not_seen", error=str(error))
                continue
            if ended:
                logger.warning("connections.ended", count=ended, reason="their peers did not read")

    def sweep(self, now: float) -> int:
        """Look at every connection once; how many were ended."""
        ended = 0
        is_listening = False
        waiting, seen = {}, set()
        for inode, connection in _sockets_on(self._port):
            seen.add(inode)
            if inode not in self._seen:
                # A connection has it from the socket that listened, unless it came before this.
                connection.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX
                )
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
            state, in_flight, acknowledged, unsent = TCP_INFO.unpack(info)
            if state == _LISTENING:
                is_listening = True
            elif in_flight or unsent:
                one = self._waiting.get(inode) or _Waiting(now, acknowledged, now, acknowledged)
                if self._is_too_slow(one, now, acknowledged):
                    _end(connection)
                    ended += 1
                else:
                    waiting[inode] = one
        self._waiting, self._seen = waiting, seen
        self._has_listened |= is_listening
        if self._has_listened and not is_listening:
            # The server stops, and waits for all who are still there.
            self._seconds_max = min(self._seconds_max, STOPPING_SECONDS_MAX)
        return ended

    def _is_too_slow(self, one: _Waiting, now: float, acknowledged: int) -> bool:
        if acknowledged > one.acknowledged:
            one.progress_at, one.acknowledged = now, acknowledged
        if now - one.progress_at >= self._seconds_max:
            return True
        if (seconds := now - one.since) >= self._seconds_max:
            if acknowledged - one.acknowledged_before < self._rate_min * seconds:
                return True
            one.since, one.acknowledged_before = now, acknowledged
        return False


def _sockets_on(port: int) -> Iterator[tuple[int, socket.socket]]:
    """The process's TCP sockets whose own end has this port, with their inodes.

    Copies of their descriptors: the web server may close its own, and open others, at any time.
    """
    for descriptor in Path("/proc/self/fd").iterdir():
        if not descriptor.is_socket():
            continue
        try:
            copy = os.dup(int(descriptor.name))
        except OSError:
            continue
        status = os.fstat(copy)
        if not stat.S_ISSOCK(status.st_mode):
            # A file was opened there just now. The copy stays open: when it is closed the process
            # loses its locks on the file, and it may be SQLite's.
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, copy) as connection:
            try:
                address = connection.getsockname()
                if isinstance(address, tuple) and address[1] == port:
                    yield status.st_ino, connection
            except OSError:
                # It has just been closed, or it is no TCP socket.
                continue


def _end(connection: socket.socket) -> None:
    # Nothing of what is still to be sent stays in the kernel when the server closes it.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
