"""Rows written as CSV or JSON Lines."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from shop.entrypoints.files.cells import neutralised

_MARK = "\ufeff"


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
