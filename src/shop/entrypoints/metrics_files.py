"""Metrics that several workers add up, in files that each of them maps into its memory.

A page of a file for which the disk has no room kills the process that touches it. So room is taken
before anybody serves, a file is used again by the worker that follows a dead one, and no file ever
grows: `Metrics` bounds its series by `Claim.room`. The library would read the files as well, but it
parses every key anew each time, and counts what a dead worker had under way.
"""

import fcntl
import json
import math
import os
import shutil
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import NamedTuple

from prometheus_client import Metric, values
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

FILE_BYTES = {
    "histogram": 6_291_456,
    "counter": 524_288,
    # Of those who are gone as well: who did it last.
    "gauge_max": 65_536,
    # Of those who live: all together, and what was told last.
    "gauge_livesum": 65_536,
    "gauge_livemostrecent": 65_536,
}
_PREFIX = "shop-metrics-"
_CLAIMED, _LIVE = "histogram", "gauge_livesum"

_claimed: list[int] = []
"""Open for as long as the process lives: a file is locked by whoever writes to it."""


@contextmanager
def shared_folder(number: int) -> Iterator[Path]:
    """A folder with room for the metrics of this many workers, which is gone in the end.

    Who is killed leaves his behind: it is removed by whoever starts next. Raises `OSError` where
    there is no room.
    """
    _remove_abandoned(Path(gettempdir()))
    with TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        # The workers that are forked hold it as well: as long as one of them lives.
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            reserve_files(folder, number)
            yield folder
        finally:
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # Of somebody else's it may be gone by now, or not for this user.
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid() and _is_abandoned(folder, lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_abandoned(folder: Path, lock: int) -> bool:
    """An empty one is about to be locked, or takes no room."""
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    files = list(folder.glob("*.db"))
    # Workers that are spawned, and those of older programs, hold only their own files.
    return bool(files) and not any(map(_is_locked, files))


def reserve_files(folder: Path, number: int) -> None:
    """Take room for the metrics of this many workers. Raises `OSError` where there is none."""
    for index in range(number):
        for kind, size in FILE_BYTES.items():
            with (folder / f"{kind}_{index}.db").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)


class Room(NamedTuple):
    size: int
    """Bytes for new series."""
    written: frozenset[tuple[str, ...]]
    """The labels of those that are there already."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Where this process writes its metrics: files that nobody else uses, or its own memory."""

    folder: Path | None = None
    worker: str = "0"
    """A number, which whoever follows a dead worker takes over."""

    def room(self, kind: str, family: str, labels: Sequence[str], *, kept: int) -> Room:
        """For the series of one metric, beside the bytes that are `kept` for all others there."""
        own = others = 0
        written = set()
        if self.folder is not None:
            # What a dead worker has made there need not be made again.
            for text, size in _File(_file(self.folder, kind, self.worker)).sizes():
                key = _parsed(text)
                if key.family != family:
                    others += size
                    continue
                own += size
                # The sum is made first, the highest bucket last: in between it may have died.
                if not key.sample.endswith("_sum") and key.bound in (None, math.inf):
                    written.add(tuple(key.labels[label] for label in labels))
        return Room(max(0, FILE_BYTES[kind] - own - max(kept, others)), frozenset(written))


def claim_files() -> Claim:
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    for path in sorted(Path(folder).glob(f"{_CLAIMED}_*.db")) if folder else ():
        descriptor = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        worker = path.stem.partition("_")[2]
        # Another one says that its worker lives; who reads holds it for a moment, to find out.
        living = os.open(_file(path.parent, _LIVE, worker), os.O_RDWR)
        fcntl.flock(living, fcntl.LOCK_EX)
        _claimed.extend((descriptor, living))
        # By the file's number instead of the process's.
        values.ValueClass = values.MultiProcessValue(partial(str, worker))  # type: ignore[no-untyped-call]
        return Claim(path.parent, worker)
    values.ValueClass = values.MutexValue
    return Claim()


def _file(folder: Path, kind: str, worker: str) -> Path:
    return folder / f"{kind}_{worker}.db"


class SharedFiles(Collector):
    """What all workers have counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            merged: dict[str, dict[str, _Value]] = {kind: {} for kind in FILE_BYTES}
            for path in sorted(self._folder.glob("*.db")):
                kind, _, worker = path.stem.rpartition("_")
                if "live" not in kind or _lives(self._folder, worker):
                    file = self._files.setdefault(path, _File(path))
                    _merge(merged[kind], file.read(), kind)
        return _metrics(merged)


_Value = tuple[float, float]
"""With the time at which it was told, for those of which the last one counts."""


def _lives(folder: Path, worker: str) -> bool:
    return _is_locked(_file(folder, _LIVE, worker))


def _is_locked(file: Path) -> bool:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


class _File:
    """A file of the library's: the bytes that are used, and entries, which stay where they are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[tuple[str, int]] = []
        self._read = _FIRST

    def read(self) -> Iterator[tuple[str, _Value]]:
        data = self._parse()
        return ((key, _VALUE(data, position)) for key, position in self._entries)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Of entries, in bytes."""
        self._parse()
        start = _FIRST
        for key, position in self._entries:
            end = position + _VALUE_BYTES
            yield key, end - start
            start = end

    def _parse(self) -> bytes:
        with self._path.open("rb") as file:
            [used] = _INTEGER(file.read(_INTEGER_BYTES))
            file.seek(0)
            data = file.read(used)
        while self._read < used:
            [length] = _INTEGER(data, self._read)
            start = self._read + _INTEGER_BYTES
            # The library adds blanks up to a multiple of eight, and at least one.
            end = start + length + 8 - (length + _INTEGER_BYTES) % 8
            key = sys.intern(data[start : start + length].decode())
            self._entries.append((key, end))
            self._read = end + _VALUE_BYTES
        return data


_FIRST, _INTEGER_BYTES, _VALUE_BYTES = 8, 4, 16
_INTEGER, _VALUE = struct.Struct("i").unpack_from, struct.Struct("dd").unpack_from


def _merge(merged: dict[str, _Value], entries: Iterable[tuple[str, _Value]], kind: str) -> None:
    if kind == "gauge_max":
        for key, value in entries:
            merged[key] = max(merged.get(key, value), value)
    elif kind == "gauge_livemostrecent":
        for key, value in entries:
            merged[key] = max(merged.get(key, value), value, key=lambda one: one[1])
    else:
        for key, (number, _) in entries:
            merged[key] = (merged[key][0] + number, 0.0) if key in merged else (number, 0.0)


@dataclass(frozen=True, slots=True)
class _Key:
    family: str
    sample: str
    help: str
    labels: dict[str, str]
    """Without the upper bound of a bucket."""
    bound: float | None
    series: tuple[str, ...]


@cache
def _parsed(key: str) -> _Key:
    # As many as there is room for in the files.
    family, sample, labels, text = json.loads(key)
    bound = labels.pop("le", None)
    return _Key(
        family=family,
        sample=sample,
        help=text,
        labels=labels,
        bound=None if bound is None else float(bound),
        series=(family, *labels.values()),
    )


def _metrics(merged: dict[str, dict[str, _Value]]) -> Iterable[Metric]:
    metrics: dict[str, Metric] = {}
    buckets: dict[tuple[str, ...], dict[float, tuple[_Key, float]]] = {}
    for kind, entries in merged.items():
        for text, (number, _) in entries.items():
            key = _parsed(text)
            metric = metrics.get(key.family)
            if metric is None:
                metric = Metric(key.family, key.help, kind.partition("_")[0])
                metrics[key.family] = metric
            if key.bound is None:
                metric.add_sample(key.sample, key.labels, number)
            else:
                buckets.setdefault(key.series, {})[key.bound] = key, number
    for of_series in buckets.values():
        _add_up(metrics, of_series)
    return metrics.values()


def _add_up(metrics: dict[str, Metric], of_series: dict[float, tuple[_Key, float]]) -> None:
    """A bucket of the format holds what is in those below it as well."""
    total = 0.0
    for bound in sorted(of_series):
        key, number = of_series[bound]
        total += number
        labels = {**key.labels, "le": floatToGoString(bound)}  # type: ignore[no-untyped-call]
        metrics[key.family].add_sample(key.sample, labels, total)
    metrics[key.family].add_sample(f"{key.family}_count", key.labels, total)
