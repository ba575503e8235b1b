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
from shop.entrypoints.files.sources import FileRefused, Format
from shop.entrypoints.files.writing import CsvWriter, JsonLinesWriter

Reject = Callable[[FileRow], None]


@contextmanager
def opened_rejects(path: str | None, file: ProductFile, *, raw: bool) -> Iterator[Reject]:
    """Takes refused rows; they are written as they were, with what is wrong in columns besides."""
    if path is None:
        yield lambda row: None
        return
    try:
        # Unbuffered: what was told is there, whatever becomes of the run.
        target = open(path, "wb", buffering=0)  # noqa: PTH123, SIM115 - a path as it was typed
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror}.") from error
    with target:
        yield (
            _to_json_lines(target)
            if file.format is Format.JSON_LINES
            else _to_csv(target, file, raw=raw)
        )


def _to_csv(target: BinaryIO, file: ProductFile, *, raw: bool) -> Reject:
    kept = [place for place, name in enumerate(file.header) if name not in REJECTED]
    columns = [*(file.header[place] for place in kept), *REJECTED]
    writer: CsvWriter | None = None

    def reject(row: FileRow) -> None:
        nonlocal writer
        writer = writer or CsvWriter(target, columns, texts=(), delimiter=file.delimiter, mark=True)
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
