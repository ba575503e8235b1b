"""The rows of a file that were refused, as a file that can be put right and read again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from shop.entrypoints.files.cells import neutralised, protected
from shop.entrypoints.files.product_rows import (
    REJECTED,
    REJECTED_OBJECT,
    FileRow,
    Problem,
    ProductFile,
)
from shop.entrypoints.files.sources import Format
from shop.entrypoints.files.writing import CsvWriter, JsonLinesWriter, NamedFile

Reject = Callable[[FileRow], None]


class Rejects:
    """Takes refused rows; they are written as they were, with what is wrong in columns besides."""

    def __init__(self, target: NamedFile | None, file: ProductFile, *, raw: bool) -> None:
        self._target = target
        self._file = file
        self._raw = raw
        self.restart()

    def restart(self) -> None:
        """What was taken until now is forgotten."""
        self._write: Reject | None = None
        if self._target is not None:
            self._target.restart()

    def take(self, row: FileRow) -> None:
        if self._target is not None:
            # With the first one: without any the file stays empty.
            self._write = self._write or self._writer(self._target)
            self._write(row)

    def _writer(self, target: BinaryIO) -> Reject:
        if self._file.format is Format.JSON_LINES:
            return _to_json_lines(target)
        return _to_csv(target, self._file, raw=self._raw)


@contextmanager
def opened_rejects(path: str | None, file: ProductFile, *, raw: bool) -> Iterator[Rejects]:
    if path is None:
        yield Rejects(None, file, raw=raw)
        return
    with NamedFile(path) as target:
        yield Rejects(target, file, raw=raw)


def _to_csv(target: BinaryIO, file: ProductFile, *, raw: bool) -> Reject:
    kept = [place for place, name in enumerate(file.header) if name not in REJECTED]
    columns = [*(file.header[place] for place in kept), *REJECTED]
    writer = CsvWriter(target, columns, texts=(), delimiter=file.delimiter, mark=True)

    def reject(row: FileRow) -> None:
        cells = [""] * len(kept)
        if isinstance(row.given, list):
            # Too few are filled up, too many are cut off: their row says that they are.
            cells = [row.given[place] if place < len(row.given) else "" for place in kept]
        if not raw:
            cells = [protected(cell) for cell in cells]
        writer.write([[*cells, *_told(row.problems)]])

    return reject


def _told(problems: Sequence[Problem]) -> list[str]:
    """The cells of `REJECTED`."""
    return [
        str(problems[0].line),
        " | ".join(problem.column for problem in problems),
        neutralised(" | ".join(problem.value for problem in problems)),
        " | ".join(problem.reason for problem in problems),
    ]


def _to_json_lines(target: BinaryIO) -> Reject:
    writer = JsonLinesWriter(target)

    def reject(row: FileRow) -> None:
        given = row.given if isinstance(row.given, Mapping) else {}
        told = [
            {
                "line": problem.line,
                "column": problem.column,
                "value": problem.value,
                "reason": problem.reason,
            }
            for problem in row.problems
        ]
        writer.write([{**given, REJECTED_OBJECT: told}])

    return reject
