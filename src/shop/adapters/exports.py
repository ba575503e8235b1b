"""A shop in a folder: a file of JSON Lines for each table, and a manifest that says it is whole.

What is in the lines is said by who writes and reads them. Whoever made a folder may be anybody:
sizes are bounded, no path is taken from what it says, and what is wrong is refused by file and
line, without repeating what stands there.
"""

import os
import stat
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta, Struct

from shop.domain.text import counted

FORMAT = 1
"""Rises when an older program could not read what is written now."""
LINE_BYTES_MAX = 8 * 1024 * 1024
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 1024 * 1024

_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Nothing that a terminal would obey.
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.+-]{1,100}$")]


class WrongExport(Exception):
    """A sentence for who gave the folder: what is wrong with it, and what to do."""


class FileEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: _Count
    bytes: _Count
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int = FORMAT
    shop: _Name
    """The version of the program."""
    revision: _Name
    """Of the database's schema: what columns there are, and what they mean."""
    engine: _Name
    exported_at: Annotated[datetime, Meta(tz=True)]
    """The moment of which everything is."""
    currency: _Name
    files: dict[str, FileEntry]
    """By the table's name, which is also the file's."""

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.files.values())


class _Format(Struct):
    format: int


def file_name(table: str) -> str:
    return f"{table}.jsonl"


# --- writing ---


class Tally:
    """What the manifest says of a file, as it comes along."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._rows = self._bytes = 0

    def add(self, lines: bytes, rows: int) -> None:
        self._digest.update(lines)
        self._rows += rows
        self._bytes += len(lines)

    @property
    def entry(self) -> FileEntry:
        return FileEntry(rows=self._rows, bytes=self._bytes, sha256=self._digest.hexdigest())


class NewFile:
    """A file that is being written; on the disk under its name once it is whole."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises `WrongExport`, as everything here does, where it cannot be written."""
        self._path, self._unfinished = folder / name, folder / f"{name}.unfinished"
        self._tally = Tally()
        with self._told():
            # Nothing that somebody else has put there meanwhile, and nobody else's to read.
            number = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(number, "wb")

    def write(self, lines: bytes, rows: int) -> None:
        with self._told():
            self._file.write(lines)
        self._tally.add(lines, rows)

    def finish(self) -> FileEntry:
        with self._told():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._unfinished.rename(self._path)
            _sync_folder(self._path.parent)
        return self._tally.entry

    def close(self) -> None:
        """It is not whole, and will not be."""
        with suppress(OSError):
            self._file.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WrongExport(
                f"{self._path} cannot be written ({error.strerror}). What is in "
                f"{self._path.parent} is not whole: delete it."
            ) from error


class NewExport:
    """A folder that becomes an export. It is whole once `finish` has returned, and not before."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder, for its owner alone, or takes an empty one. Raises `WrongExport`."""
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = {each.name for each in self.folder.iterdir()}
        except OSError as error:
            raise WrongExport(
                f"The folder {self.folder} cannot be made or read ({error.strerror})."
            ) from error
        if names:
            left = "" if MANIFEST in names else " If an export was interrupted there, delete it."
            raise WrongExport(
                f"The folder {self.folder} is not empty, and nothing is overwritten: name another "
                f"one.{left}"
            )

    @contextmanager
    def table(self, table: str) -> Iterator[NewFile]:
        """To be written, and finished, in the block."""
        file = NewFile(self.folder, file_name(table))
        try:
            yield file
        finally:
            file.close()

    def finish(self, manifest: Manifest) -> None:
        """When this returns, all of it is on the disk."""
        file = NewFile(self.folder, MANIFEST)
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n", rows=1)
        file.finish()
        _sync_folder(self.folder.parent)


def _sync_folder(folder: Path) -> None:
    """The names in it, too, are on the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# --- reading ---


def read_manifest(folder: Path, tables: Set[str]) -> Manifest:
    """Of an export of just these tables, by name. Raises `WrongExport`."""
    path = folder.absolute() / MANIFEST
    if not folder.is_dir():
        raise WrongExport(f"There is no folder {folder.absolute()}.")
    if not path.exists():
        raise WrongExport(
            f"{folder.absolute()} is no whole export: it has no {MANIFEST}, which is written last. "
            "Either the export was interrupted and has to be made again, or it is another folder."
        )
    with _opened(path) as file:
        written = file.read(MANIFEST_BYTES_MAX + 1)
    try:
        if len(written) > MANIFEST_BYTES_MAX:
            raise WrongExport(f"{path} is no manifest of an export: it is too long.")
        found = msgspec.json.decode(written, type=_Format).format
        if found != FORMAT:
            raise WrongExport(
                f"{path} is of format {found}, and this version of the shop knows format {FORMAT}: "
                "import it with the version that exported it, or a newer one."
            )
        manifest = msgspec.json.decode(written, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WrongExport(f"{path} is no manifest of an export: {reason_of(error)}.") from error
    if manifest.files.keys() != tables:
        raise WrongExport(f"{path} is not of all tables of a shop: {_other(manifest, tables)}.")
    return manifest


def _other(manifest: Manifest, tables: Set[str]) -> str:
    missing = sorted(tables - manifest.files.keys())
    unknown = sorted(manifest.files.keys() - tables)
    if missing:
        return f"{missing[0]} is missing"
    return f"{shown(unknown[0])} is none"


class ReadFile:
    """The lines of a table, each with its `\\n`; whoever has had the last one has had all."""

    def __init__(self, folder: Path, table: str, entry: FileEntry) -> None:
        self.path = folder.absolute() / file_name(table)
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        """Raises `WrongExport` by the line, and after the last one if they are not as written."""
        tally = Tally()
        number = 0
        with _opened(self.path) as file:
            found = os.fstat(file.fileno()).st_size
            if found != self._entry.bytes:
                raise self.wrong(
                    f"it has {counted(found, 'byte')}, and the manifest says {self._entry.bytes:,}"
                    ": it was cut off or changed after the export"
                )
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    raise self.wrong(f"it has more than {LINE_BYTES_MAX} bytes", number)
                if not line.endswith(b"\n"):
                    raise self.wrong("it ends without the end of the line", number)
                tally.add(line, 1)
                yield line
        if number != self._entry.rows:
            raise self.wrong(
                f"it has {counted(number, 'line')}, and the manifest says {self._entry.rows:,}"
            )
        if tally.entry != self._entry:
            raise self.wrong(
                "its checksum is not that of the manifest: it was changed after the export"
            )

    def wrong(self, reason: str, line: int | None = None) -> WrongExport:
        where = "" if line is None else f", line {line}"
        return WrongExport(f"{self.path}{where}: {reason}.")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A real file, at once: a pipe would make us wait, a link may lead anywhere."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise WrongExport(f"{path} is no file.")
            yield file
    except OSError as error:
        raise WrongExport(f"{path} cannot be read ({error.strerror}).") from error


def reason_of(error: Exception) -> str:
    """What is wrong with some JSON, in a line that a terminal can show."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return shown(str(error))


def shown(text: str) -> str:
    return "".join(each if each.isprintable() else "\ufffd" for each in text[:200])
