"""Rows written as CSV or JSON Lines."""

import csv
import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, BinaryIO

import msgspec

from shop.entrypoints.files.cells import neutralised
from shop.entrypoints.files.sources import FileRefused

_MARK = "\ufeff"


class NamedFile(io.FileIO):
    """Unbuffered: what was written is there, whatever becomes of the run.

    Raises `FileRefused` with its name, as the command writes to other files, too.
    """

    def __init__(self, path: str, *, mode: int = 0o666) -> None:
        try:
            super().__init__(path, "wb", opener=partial(os.open, mode=mode))
        except OSError as error:
            raise self._refused(path, error) from error

    @property
    def is_plain(self) -> bool:
        """A device or a pipe is not: it has no beginning, and its permissions are others'."""
        return stat.S_ISREG(os.fstat(self.fileno()).st_mode)

    def write(self, data: Any) -> int:
        """All of it: a disk that is nearly full takes a part first, and refuses the next."""
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += super().write(view[written:])
        except OSError as error:
            raise self._refused(self.name, error) from error
        return written

    def restart(self) -> None:
        """What was written until now is forgotten, where that can be."""
        if self.is_plain:
            self.seek(0)
            self.truncate()

    @staticmethod
    def _refused(path: object, error: OSError) -> FileRefused:
        return FileRefused(f"{path} cannot be written: {error.strerror}.")


class CsvWriter:
    """CSV in UTF-8, in which nothing is a formula for a spreadsheet."""

    def __init__(
        self,
        file: BinaryIO,
        columns: Sequence[str],
        *,
        texts: Iterable[str],
        delimiter: str = ",",
        mark: bool = False,
        raw: bool = False,
    ) -> None:
        """`texts` are the columns in which anything may stand; `raw` leaves them as they are.

        The mark tells Excel that it is UTF-8.
        """
        self._file = file
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, delimiter=delimiter)
        self._texts = () if raw else tuple(columns.index(name) for name in texts)
        if mark:
            self._text.write(_MARK)
        self.write([list(columns)])

    def write(self, rows: Iterable[list[Any]]) -> None:
        """Cells in the order of the columns; None is an empty one. The rows are changed."""
        if self._texts:
            rows = map(self._neutralised, rows)
        self._writer.writerows(rows)
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()

    def _neutralised(self, row: list[Any]) -> list[Any]:
        for place in self._texts:
            if text := row[place]:
                row[place] = neutralised(text)
        return row


class JsonLinesWriter:
    """A JSON object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def write(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._file.write(self._encoder.encode_lines(objects))
