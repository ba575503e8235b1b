"""Files as they come: which encoding their bytes are in, and what is no text at all."""

import codecs
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, BinaryIO

STDIN = "-"
WINDOWS = "windows-1252"
_WINDOWS_PAGE = re.compile(r"^cp(125[0-8])$")

_CHUNK = 1 << 20
_BEGINNING = 4_096

# Longer marks first: that of UTF-32 begins with one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = (
    (b"PK\x03\x04", "a workbook of Excel or LibreOffice, or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old workbook of Excel"),
    (b"\x1f\x8b", "compressed by gzip"),
)


class FileRefused(Exception):
    """A file that cannot be read as it is: a sentence for a person, which says what to do."""


_WORKBOOKS = frozenset([".xlsx", ".xls", ".xlsm", ".xlsb", ".xltx", ".ods", ".fods", ".numbers"])


def is_named_as_workbook(path: str) -> bool:
    """Whether a spreadsheet program would take it for one of its own files, by its name."""
    return _suffix(path) in _WORKBOOKS


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


class Format(StrEnum):
    CSV = "csv"
    JSON_LINES = "jsonl"

    @classmethod
    def named_by(cls, path: str) -> "Format | None":
        """What the end of a file's name says; None if it says nothing."""
        match _suffix(path):
            case ".jsonl" | ".ndjson":
                return cls.JSON_LINES
            case ".csv" | ".tsv" | ".tab" | ".txt":
                return cls.CSV
        return None


@dataclass(slots=True)
class Source:
    """A file of text that is known to be one, from its first byte to its last."""

    name: str
    format: Format
    size: int
    """In bytes."""
    digest: bytes
    """SHA-256 of its bytes."""
    text: io.TextIOWrapper
    """Its line ends are as they are in the file."""
    binary: io.BufferedReader
    """What the text is read from."""

    @property
    def position(self) -> int:
        """About how many bytes were read."""
        return min(self.binary.tell(), self.size)


@contextmanager
def opened_source(
    path: str, stdin: BinaryIO, *, encoding: str | None = None, as_format: Format | None = None
) -> Iterator[Source]:
    """The file, or what comes through `stdin` for `-`. Raises `FileRefused`.

    What is no plain file is copied into one first, so that all of it has come, and can be read,
    before the first row is stored.
    """
    name = "What came" if path == STDIN else path
    with _plain_file(path, stdin) as file:
        size = file.seek(0, os.SEEK_END)
        encoding = _encoding_of(file, name, encoding)
        digest = _check_text(file, name, encoding)
        file.seek(0)
        text = io.TextIOWrapper(file, encoding=encoding, newline="")
        yield Source(
            name=name,
            format=as_format or _format_of(path, text),
            size=size,
            digest=digest,
            text=text,
            binary=file,
        )


@contextmanager
def _plain_file(path: str, stdin: BinaryIO) -> Iterator[io.BufferedReader]:
    try:
        if path == STDIN:
            with _spooled(stdin) as file:
                yield file
            return
        # Unbuffered pipes and the like are read as what comes through standard input is.
        with open(path, "rb") as file:  # noqa: PTH123 - a path as it was typed
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                yield file
            else:
                with _spooled(file) as copy:
                    yield copy
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename != path:
            raise
        raise FileRefused(f"{path} cannot be read: {error.strerror}.") from error


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[io.BufferedReader]:
    with tempfile.TemporaryFile(buffering=0) as raw:
        with io.FileIO(os.dup(raw.fileno()), "w") as copy:
            try:
                shutil.copyfileobj(stream, copy, _CHUNK)
            except OSError as error:
                raise FileRefused(
                    f"What came could not be kept in a temporary file ({error.strerror})."
                ) from error
        with io.FileIO(os.dup(raw.fileno()), "r") as plain:
            yield io.BufferedReader(plain)


def _format_of(path: str, text: io.TextIOWrapper) -> Format:
    """By the name of the file, or else by how it begins."""
    if (named := Format.named_by(path)) is not None:
        return named
    beginning = text.read(_BEGINNING)
    text.seek(0)
    return Format.JSON_LINES if beginning.lstrip().startswith("{") else Format.CSV


def _encoding_of(file: IO[bytes], name: str, given: str | None) -> str:
    """The encoding that was given, or the one that the file's beginning tells."""
    file.seek(0)
    beginning = file.read(_BEGINNING)
    for sign, what in _NO_TEXT:
        if beginning.startswith(sign):
            raise FileRefused(
                f"{name} is {what}, and no text. Save the sheet as CSV (in Excel: "
                '"CSV UTF-8"), or unpack it, and import that.'
            )
    marked = next((of for mark, of in _MARKS if beginning.startswith(mark)), None)
    if given is None:
        return marked or _unmarked(beginning)
    if marked is None:
        return given
    if codecs.lookup(given).name not in (marked, marked.removesuffix("-sig")):
        raise FileRefused(
            f"{name} begins with the mark of {_named(marked)}, so it is not {_named(given)}. Leave "
            "--encoding out."
        )
    return marked


def _unmarked(beginning: bytes) -> str:
    """UTF-8, or UTF-16 if every other byte is zero, as it is of Latin letters."""
    pairs = len(beginning) // 2
    first, second = beginning[::2].count(0), beginning[1::2].count(0)
    if second > pairs // 2 and not first:
        return "utf-16-le"
    if first > pairs // 2 and not second:
        return "utf-16-be"
    return "utf-8"


def _check_text(file: IO[bytes], name: str, encoding: str) -> bytes:
    """Read it once before anything is done: a wrong encoding may show at the very end.

    The digest of what was read.
    """
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    digest = hashlib.sha256()
    line = 1
    try:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            line += _line_ends(decoder.decode(chunk))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line += _line_ends(before.decode(encoding, errors="replace"))
        byte = error.object[error.start]
        hint = (
            "Excel's plain CSV is mostly Windows-1252 on Windows: then give "
            f'--encoding {WINDOWS}, or save it as "CSV UTF-8".'
            if encoding.startswith("utf-8")
            else "Give the one it has by --encoding."
        )
        raise FileRefused(
            f"{name} is not {_named(encoding)}: line {line} has the byte "
            f"0x{byte:02X}, which does not belong there. {hint}"
        ) from error
    return digest.digest()


def _named(encoding: str) -> str:
    """As people write it, of Python's names."""
    name = codecs.lookup(encoding).name.removesuffix("-sig")
    return name.upper() if name.startswith("utf") else _WINDOWS_PAGE.sub(r"windows-\1", name)


def _line_ends(text: str) -> int:
    return text.count("\n") or text.count("\r")
