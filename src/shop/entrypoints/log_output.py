"""Where log lines go. One that cannot be written is lost: it fails nothing and nobody waits for it.

A line is handed to the system whole, in one call. To a file that is atomic, and to a pipe up to
4,096 bytes: lines of several workers do not mix.
"""

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from queue import SimpleQueue
from typing import Protocol

WAITING_BYTES_MAX = 4 * 1024 * 1024
"""Of lines that wait for a destination that is slow; what comes then is counted and dropped."""

_GATHER_SECONDS = 0.01
_FULL_SECONDS = 0.01
_CLOSE_SECONDS = 1.0


class Destination(Protocol):
    """A file without a buffer of its own."""

    def write(self, data: memoryview, /) -> int | None:
        """How many bytes were taken; None if it takes none at the moment."""


class Output(Protocol):
    def write(self, line: bytes) -> None: ...


class NoOutput:
    """Before logging is set up."""

    def write(self, line: bytes) -> None: ...


def standard_error() -> Destination | None:
    """None if the process was started without one."""
    stream = getattr(sys.stderr, "buffer", None)
    return getattr(stream, "raw", stream)


class DirectOutput:
    """Writes at once, and waits if the destination does. For commands, which nobody waits for."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            _write_whole(self._destination, line)


class BackgroundOutput:
    """Writes in a thread of its own, so that a server never waits for who reads its log.

    A server that writes a lot writes many lines at once. What waits is bounded; `note_lost` makes
    the line that says how many were lost, once there is room again.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        note_lost: Callable[[int], bytes],
        waiting_bytes_max: int = WAITING_BYTES_MAX,
    ) -> None:
        self._destination = destination
        self._note_lost = note_lost
        self._waiting_bytes_max = waiting_bytes_max
        self._begin()
        # A process that is forked has neither the thread nor a claim to what waits for it.
        os.register_at_fork(after_in_child=self._begin)
        # Runs at the end of the main process as well as of one that it started.
        Finalize(None, self.close, exitpriority=0)

    def _begin(self) -> None:
        # A signal's handler may log in the middle of `write`, in the same thread.
        self._lock = threading.RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._lines: list[bytes] = []
        self._size = 0
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._closing = False

    def write(self, line: bytes) -> None:
        if self._closing:
            self._write_late(line)
            return
        with self._lock:
            if self._size + len(line) > self._waiting_bytes_max:
                self._lost += 1
                return
            self._lines.append(line)
            self._size += len(line)
            if len(self._lines) > 1:
                return  # The thread was told.
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        self._wake.put(None)

    def close(self) -> None:
        """Write what waits, unless it takes too long."""
        self._closing = True
        if self._thread is not None:
            self._wake.put(None)
            self._thread.join(_CLOSE_SECONDS)

    def _write_late(self, line: bytes) -> None:
        """Of a process that ends. A thread that has not ended is held up, as this one would be."""
        if self._thread is None or not self._thread.is_alive():
            with suppress(OSError, ValueError):
                _write_whole(self._destination, line)

    def _run(self) -> None:
        while not self._closing:
            self._wake.get()
            if not self._closing:
                time.sleep(_GATHER_SECONDS)
            self._write_waiting()

    def _write_waiting(self) -> None:
        with self._lock:
            lines, self._lines, self._size = self._lines, [], 0
            lost, self._lost = self._lost, 0
        if lost:
            lines.append(self._note_lost(lost))
        try:
            _write_whole(self._destination, b"".join(lines))
        except (OSError, ValueError):
            with self._lock:
                self._lost += lost + len(lines) - bool(lost)


def _write_whole(destination: Destination, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        # Whoever shares a pipe may have said that nobody waits for it.
        written = destination.write(rest)
        if written is None:
            time.sleep(_FULL_SECONDS)
        else:
            rest = rest[written:]


def is_terminal(destination: object) -> bool:
    return isinstance(destination, io.RawIOBase) and destination.isatty()
