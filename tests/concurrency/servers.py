"""`shop serve` as a user starts it: a process of its own, in a folder of its own."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0

SECRET_KEY = "a key for tests, long enough to be one"

# What no server may ever log, whatever is done to it.
FAILURES = ("request.failed", "Traceback", "never retrieved", "panicked")


def environment(database_url: str, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a `shop` command; the tester's own settings are gone by then, see `tests/conftest.py`."""
    return dict(os.environ) | {
        "SHOP_DATABASE_URL": database_url,
        "SHOP_SECRET_KEY": SECRET_KEY,
        "SHOP_ACCESS_TOKEN_LIFETIME": "86400",
        # No load balancer has to turn away before a server stops.
        "SHOP_DRAIN_SECONDS": "0",
        **(settings or {}),
    }


def shop_command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("shop")), *arguments]


# What is installed names a function that another release may not have.
_OF_ANOTHER_RELEASE = "from shop.entrypoints.cli import main as of; getattr(of, 'run', of.main)()"


def command_of(source: Path | None, *arguments: str) -> list[str]:
    """Of the package in that folder, which has to be in `PYTHONPATH`, or of the one under test."""
    if source is None:
        return shop_command(*arguments)
    return [sys.executable, "-c", _OF_ANOTHER_RELEASE, *arguments]


def words_of(command: str) -> list[str]:
    """Of a command line; a `serve` that is not told where is to listen where nobody does.

    8000 may be the tester's.
    """
    words = shlex.split(command)
    is_told = words[:1] != ["serve"] or "--port" in words or "--host" in words
    return words if is_told else [*words, "--port", str(port_of(_own()))]


def reserved() -> socket.socket:
    """Bound but never listening: a server may bind the same port, nobody else is given it."""
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    return reservation


def port_of(reservation: socket.socket) -> int:
    port: int = reservation.getsockname()[1]
    return port


@cache
def _own() -> socket.socket:
    return reserved()


class ShopServer:
    """A server on a free port, which it keeps from start to start."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.workers = workers
        folder.mkdir()
        self._folder = folder
        self._environment = environment(database_url, settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._source: Path | None = None
        self._reservation = reserved()
        self.port = port_of(self._reservation)

    def set_program(self, source: Path | None) -> None:
        """What its next start runs: the package in this folder, or the one under test."""
        self._environment["PYTHONPATH"] = str(source) if source else ""
        self._source = source

    @property
    def log(self) -> str:
        """Of every start."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    @property
    def worker_pids(self) -> set[int]:
        """Of the workers that serve now."""
        log = self.log.rpartition("Starting granian")[2]
        spawned = re.findall(r"Spawning worker-(\d+) with PID: (\d+)", log)
        return {int(pid) for pid in dict(spawned).values()}

    def start(self) -> None:
        """Returns when every worker takes requests."""
        before = len(self.log)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command_of(
                    self._source,
                    *("serve", "--port", str(self.port), "--workers", str(self.workers)),
                ),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own, to be killed as one; and Ctrl-C is for the tests.
                start_new_session=True,
            )
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while self.log[before:].count("Started worker-") < self.workers or not self.is_listening():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise RuntimeError(f"The server did not start:\n{self.log[before:]}")
            time.sleep(0.02)

    def wait_for_line(self, text: str) -> None:
        """Until it has logged something with this text."""
        give_up_at = time.monotonic() + START_SECONDS_MAX
        while text not in self.log:
            assert time.monotonic() < give_up_at, self.log
            time.sleep(0.02)

    def terminate(self) -> None:
        """Tell it to stop, as a service manager does."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> int:
        """Its exit code, after a graceful stop."""
        self.terminate()
        return self.wait()

    def wait(self) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(timeout=STOP_SECONDS_MAX)

    def kill(self) -> None:
        """End parent and workers at once, with no chance to finish anything."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=STOP_SECONDS_MAX)

    def close(self) -> None:
        """End it in whatever state it is, and give the port back."""
        self.kill()
        self._reservation.close()

    def is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def cpu_ticks(self) -> dict[int, int]:
        """What each worker has worked so far, in the kernel's clock ticks."""
        ticks = {}
        for pid in self.worker_pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks[pid] = int(fields[11]) + int(fields[12])
        return ticks
