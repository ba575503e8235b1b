"""Images that are built, and containers that are run, by buildah and podman, without Docker.

Everything lies in one folder that goes at the end: images, containers, networks, the socket.
`IMAGES_FOLDER=/a/folder` keeps it, so that the next run finds the base image there.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATE = 315_532_800
"""SOURCE_DATE_EPOCH of the Dockerfile: 1980-01-01, in seconds."""
_BASE = "localhost/shop-base:1"
_PACKAGES = "python3,python3-venv,ca-certificates"
_BUILD_SECONDS_MAX = 1800
# What a machine that is a container itself may not set; podman's own defaults are higher.
ULIMITS = {"nofile": 8192, "nproc": 4096}


def missing() -> str | None:
    """Why nothing can be built here, if so."""
    if os.name != "posix" or os.geteuid() != 0:
        return "images are built by root only, since there is no Docker to ask"
    needed = ["buildah", "podman", "runc"]
    if "BASE_IMAGE" not in os.environ:
        needed.append("debootstrap")
    absent = [program for program in needed if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} not installed (on Debian: apt install {' '.join(absent)})"
    return None


class Engine:
    """buildah and podman over one folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self._options = [
            *("--root", str(folder / "store")),
            *("--runroot", str(folder / "run")),
            *("--storage-driver", "overlay"),
        ]
        (folder / "net").mkdir(exist_ok=True)

    def podman(self, *arguments: str, seconds: float = 120, check: bool = True) -> str:
        """Its standard output."""
        return self._run([*self._podman(), *arguments], seconds=seconds, check=check)

    def _podman(self) -> list[str]:
        networks = ["--network-config-dir", str(self.folder / "net")]
        return ["podman", *self._options, *networks, "--runtime", "runc"]

    @staticmethod
    def _run(command: Sequence[str], *, seconds: float, check: bool = True) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            said = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            raise RuntimeError(f"{' '.join(command[:3])} ... ended with {done.returncode}:\n{said}")
        return done.stdout

    def base_image(self) -> str:
        """`BASE_IMAGE` from the environment, or a Debian with Python, made here once."""
        if named := os.environ.get("BASE_IMAGE"):
            return named
        if not self.has(_BASE):
            system = self.folder / "rootfs"
            command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm"]
            self._run([*command, str(system)], seconds=_BUILD_SECONDS_MAX)
            # The authorities this machine trusts: there may be a mirror between it and the index.
            shutil.copyfile(
                "/etc/ssl/certs/ca-certificates.crt", system / "etc/ssl/certs/ca-certificates.crt"
            )
            archive = self.folder / "base.tar"
            self._run(["tar", "-C", str(system), "-cf", str(archive), "."], seconds=600)
            self.podman("import", str(archive), _BASE, seconds=600)
            archive.unlink()
            shutil.rmtree(system)
        return _BASE

    def has(self, image: str) -> bool:
        command = [*self._podman(), "image", "exists", image]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0

    def build(self, tag: str, *, context: Path = ROOT, options: Sequence[str] = ()) -> None:
        """Build an image from nothing: no layer of an earlier build is taken."""
        command = ["buildah", *self._options, "build", "--isolation", "chroot"]
        # The OCI format knows no health check.
        command += ["--format", "docker", "--no-cache", "--timestamp", str(DATE)]
        command += ["--build-arg", f"BASE_IMAGE={self.base_image()}", "--tag", tag, *options]
        self._run([*command, str(context)], seconds=_BUILD_SECONDS_MAX)

    def image(self, tag: str) -> Any:
        return json.loads(self.podman("image", "inspect", tag))[0]

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """The files of an image, and of nothing that runs."""
        folder = self.podman("image", "mount", tag).strip()
        try:
            yield Path(folder)
        finally:
            self.podman("image", "unmount", tag)

    def run(self, *arguments: str) -> str:
        """`podman run`, with the limits that may be set here."""
        limits = [f"--ulimit={name}={value}:{value}" for name, value in ULIMITS.items()]
        return self.podman("run", *limits, *arguments)

    @contextmanager
    def serving(self) -> Iterator[dict[str, str]]:
        """The environment for programs that take this for a Docker daemon.

        Health checks are podman's own, but nobody else runs them where there is no systemd.
        """
        self.socket.unlink(missing_ok=True)
        stop = threading.Event()
        checker = threading.Thread(target=self._check_health, args=[stop])
        command = [*self._podman(), "system", "service", "-t", "0", f"unix://{self.socket}"]
        with (self.folder / "service.log").open("wb") as log:
            service = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            give_up_at = time.monotonic() + 30
            while not self.socket.exists():
                assert service.poll() is None, (self.folder / "service.log").read_text()
                assert time.monotonic() < give_up_at, "podman's service does not answer"
                time.sleep(0.1)
            checker.start()
            yield {"DOCKER_HOST": f"unix://{self.socket}"}
        finally:
            stop.set()
            if checker.is_alive():
                checker.join(60)
            service.terminate()
            service.wait(30)

    def _check_health(self, stop: threading.Event) -> None:
        while not stop.wait(1):
            with suppress(subprocess.TimeoutExpired):
                for container in self.podman("ps", "--quiet", check=False).split():
                    self.podman("healthcheck", "run", container, check=False, seconds=30)

    def remove_containers(self) -> None:
        self.podman("rm", "--all", "--force", "--time", "5", check=False)
        self.podman("volume", "rm", "--all", "--force", check=False)
        self.podman("network", "prune", "--force", check=False)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.podman("rmi", "--all", "--force", check=False)
        # For five minutes podman watches over each command that the socket was asked for, and would
        # make the folder again to say that it has ended.
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().split(b"\0")
                if command[0].endswith(b"conmon") and bytes(self.folder / "run") in b"".join(
                    command
                ):
                    os.kill(int(process.name), signal.SIGKILL)
        self._run(["umount", str(self.folder / "store" / "overlay")], seconds=30, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def engine() -> Iterator[Engine]:
    kept = os.environ.get("IMAGES_FOLDER")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="shop-images-"))
    folder.mkdir(parents=True, exist_ok=True)
    made = Engine(folder)
    try:
        yield made
    finally:
        made.remove_containers()
        if not kept:
            made.remove()
