"""Hosts of a network of the tests' own: namespaces for their networks and their processes.

`make test-cluster` starts the tests in an empty network namespace. In it is a bridge, and each host
hangs on it by a cable. A host's first process reads from a pipe that the tests hold, so the host
ends when they do, in whatever way they end, and the kernel ends everything that runs on it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

OURS = "10.99.0.1"
"""The address of the tests, and of the shop's servers, which they start."""
COMMAND_SECONDS_MAX = 30.0

_NEW_HOST = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# It takes no notice of children that end, so the kernel removes them: there is no init to do it.
_FIRST_PROCESS = ("env", "--ignore-signal=CHLD", "cat")

# What a switch would learn anew: a host has the same address in the network after a power cut.
_HARDWARE_ADDRESS = "02:00:00:00:00:{number:02x}"


def missing_network() -> str | None:
    """Why there can be no hosts here, in words."""
    if os.geteuid() != 0:
        return "hosts are namespaces, which root alone can make: sudo make test-cluster"
    if [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]:
        return "hosts are made by ip, nsenter and unshare (Debian: iproute2 and util-linux)"
    if len(Path("/proc/self/net/route").read_text().splitlines()) > 1:
        return "they want a network of their own, which make test-cluster gives them where it can"
    return None


def run(*command: str) -> None:
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS_MAX, cwd="/"
    )


class Program:
    """A process on a host, or on the tests' own; what it says is in a file of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Of the program, as it is seen from here; `nsenter` is its parent."""
        parent = self._process.pid
        [child] = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(child)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Until it has ended."""
        # `nsenter` stops where its child is stopped.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(COMMAND_SECONDS_MAX)

    def wait_until(self, is_ready: Callable[[], bool], *, within: float) -> None:
        wait_until(
            is_ready,
            within=within,
            unless=lambda: not self.is_running,
            says=lambda: self.log.read_text(errors="replace")[-4_000:],
        )


@dataclass(kw_only=True)
class Host:
    """A machine: it is switched on and off, runs programs, and loses what it sends."""

    name: str
    number: int
    folder: Path
    """Its disk; the user who runs the programs owns it."""
    _first: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _switched_on: int = 0
    _programs: list[Program] = field(default_factory=list, repr=False)

    @property
    def address(self) -> str:
        return f"10.99.0.{self.number}"

    def switch_on(self) -> None:
        """A new machine in the place of the old one, with its disk and its address."""
        self.folder.mkdir(exist_ok=True)
        os.chown(self.folder, _user().pw_uid, _user().pw_gid)
        self._switched_on += 1
        self._first = subprocess.Popen(
            [*_NEW_HOST, *_FIRST_PROCESS],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        wait_until(lambda: self._pid is not None, within=COMMAND_SECONDS_MAX)
        ending = ("address", _HARDWARE_ADDRESS.format(number=self.number), "netns", str(self._pid))
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", *ending)
        run("ip", "link", "set", self._cable, "master", "shop", "up")
        self._ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self._ip("link", "set", "eth0", "up")
        self._ip("link", "set", "lo", "up")

    def switch_off(self) -> None:
        """As a power cut: nobody on the network is told."""
        first, self._first = self._first, None
        if first is not None:
            run("ip", "link", "set", self._cable, "down")
            first.kill()
            first.communicate(timeout=COMMAND_SECONDS_MAX)
            self._forget_programs()

    def kill_all(self) -> None:
        """End every program at once, as `kill -9` does; the machine is there and hangs up."""
        run(*self._enter(), "sh", "-c", "kill -9 -1 || true")
        self._forget_programs()

    def _forget_programs(self) -> None:
        while self._programs:
            self._programs.pop().wait()

    @property
    def is_on(self) -> bool:
        return self._first is not None

    def start(
        self, *command: str | Path, name: str = "", environment: Mapping[str, str] | None = None
    ) -> Program:
        """As a user without rights: neither PostgreSQL nor PgBouncer runs as root."""
        log = self.folder / f"{name or Path(command[0]).name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self._enter(), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for the tests: they end the host when they are done with it.
                start_new_session=True,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(environment or {})},
            )
        self._programs.append(Program(process, log))
        return self._programs[-1]

    def lose_what_is_sent_to(self, *addresses: str) -> None:
        """What is sent from here to there gets lost; connections stay, and nobody is told."""
        for address in addresses:
            self._ip("route", "add", "blackhole", f"{address}/32")

    def reach(self, *addresses: str) -> None:
        """The opposite of `lose_what_is_sent_to`."""
        for address in addresses:
            self._ip("route", "delete", "blackhole", f"{address}/32")

    @property
    def _cable(self) -> str:
        return f"host{self.number}-{self._switched_on}"

    @property
    def _pid(self) -> int | None:
        """Of its first process."""
        assert self._first is not None, f"{self.name} is off"
        parent = self._first.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else None

    def _ip(self, *words: str) -> None:
        run("nsenter", f"--target={self._pid}", "--net", "ip", *words)

    def _enter(self) -> list[str]:
        user = [f"--setuid={_user().pw_uid}", f"--setgid={_user().pw_gid}"]
        return ["nsenter", f"--target={self._pid}", "--net", "--pid", "--mount", *user, "--"]


class Network:
    """The hosts of a test run; all of them end with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "shop", "type", "bridge")
        run("ip", "address", "add", f"{OURS}/24", "dev", "shop")
        run("ip", "link", "set", "shop", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.switch_off()
        run("ip", "link", "delete", "shop")

    def new_host(self, name: str, number: int) -> Host:
        """Switched on; the number is the last of its address."""
        host = Host(name=name, number=number, folder=self.folder / name)
        self.hosts.append(host)
        host.switch_on()
        return host


def give(path: Path) -> Path:
    """Let the user without rights have it, and nobody else."""
    os.chown(path, _user().pw_uid, _user().pw_gid)
    path.chmod(0o700 if path.is_dir() else 0o600)
    return path


def _user() -> pwd.struct_passwd:
    return pwd.getpwnam("postgres")


def wait_until(
    condition: Callable[[], bool],
    *,
    within: float,
    unless: Callable[[], bool] = lambda: False,
    says: Callable[[], str] = lambda: "",
) -> None:
    """Ask again and again. Raises `AssertionError`, with what was said, if it does not happen."""
    give_up_at = time.monotonic() + within
    while not condition():
        assert not unless(), f"it ended:\n{says()}"
        assert time.monotonic() < give_up_at, f"it did not happen within {within} s:\n{says()}"
        time.sleep(0.1)


def logs_of(folder: Path) -> Sequence[Path]:
    return sorted(folder.rglob("*.log"))
