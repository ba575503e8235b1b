"""Delimited text, whatever its delimiter and line ends: RFC 4180 as people's programs write it."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from shop.entrypoints.files.sources import FileRefused

RECORD_LENGTH_MAX = 1 << 20
"""In characters: more is no row of a shop's, but a quote that is missing, or no CSV at all."""
DELIMITERS = (",", ";", "\t")
"""Those that are found; any other has to be given."""

_DELIMITER_SAID = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that cannot be told into cells."""

    reason: str


Record: TypeAlias = tuple[int, list[str] | Unread]
"""The line where it begins, and its cells."""


class TooLong(Exception):
    pass


class Lines:
    """The lines of a text with their ends, be these `\\r\\n`, `\\n` or `\\r`; none is endless."""

    def __init__(self, text: TextIO) -> None:
        self._read = text.readline
        self.number = 0
        """Of the last line read, from 1."""
        self.record_length = 0
        """What was read since somebody set it to 0; more than the limit raises `TooLong`."""
        self._last = ""

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._read(RECORD_LENGTH_MAX)
        if not line:
            raise StopIteration
        self.number += 1
        self.record_length += len(line)
        if self.record_length >= RECORD_LENGTH_MAX:
            self._last = line
            raise TooLong
        return line

    def skip_record(self) -> None:
        """Go to the end of what was too long, without keeping it.

        In a record of several lines these are in quotes. Its end is a line's end after an even
        number of quotes.
        """
        is_quoted = self.record_length > len(self._last)
        while True:
            is_quoted ^= self._last.count('"') % 2 == 1
            if not self._last or (_ends(self._last) and not is_quoted):
                return
            if _ends(self._last):
                self.number += 1
            self._last = self._read(RECORD_LENGTH_MAX)

    def skip_line(self) -> None:
        """Go to the end of a line that was too long."""
        while self._last and not _ends(self._last):
            self._last = self._read(RECORD_LENGTH_MAX)


class DelimitedText:
    """A header and records. Raises `FileRefused` for a text without a header."""

    def __init__(
        self, text: TextIO, *, delimiter: str | None, score: Callable[[list[str]], int]
    ) -> None:
        """Of the delimiters that there may be the one is taken whose header has the best score."""
        self._lines = Lines(text)
        beginning = self._first_record()
        if said := _DELIMITER_SAID.fullmatch(beginning):
            # Excel's own first line.
            delimiter = delimiter or said[1]
            beginning = self._first_record()
        headers = {
            sign: _parse(beginning, sign) for sign in ((delimiter,) if delimiter else DELIMITERS)
        }
        self.delimiter, self.header = max(
            headers.items(), key=lambda each: (score(each[1]), len(each[1]))
        )

    def _first_record(self) -> str:
        """The next one that has something in it, as it is."""
        self._lines.record_length = 0
        record = ""
        try:
            for line in self._lines:
                record += line
                if record.strip() and record.count('"') % 2 == 0:
                    return record
        except TooLong:
            raise FileRefused(
                f"The first line has more than {RECORD_LENGTH_MAX:,} characters: this is no CSV "
                "file with a header."
            ) from None
        if record.strip():
            raise FileRefused("The header has a quote that does not end.")
        raise FileRefused("There is nothing in it: the first line must name the columns.")

    @property
    def record_length(self) -> int:
        """Of the last record, in characters."""
        return self._lines.record_length

    def __iter__(self) -> Iterator[Record]:
        """The records after the header; those of which all cells are empty are left out."""
        lines = self._lines
        # For the whole process; a record has its own limit before.
        csv.field_size_limit(RECORD_LENGTH_MAX)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            first = lines.number + 1
            lines.record_length = 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except TooLong:
                lines.skip_record()
                yield (
                    first,
                    Unread(
                        f"has more than {RECORD_LENGTH_MAX:,} characters: is a quote missing?",
                    ),
                )
            except csv.Error as error:
                yield first, Unread(_reason(str(error), first, lines.number))
            else:
                if any(cells):
                    yield first, cells


def _ends(line: str) -> bool:
    return line[-1:] in ("\r", "\n")


def _reason(error: str, first: int, last: int) -> str:
    until = f" (to line {last})" if last > first else ""
    if "expected after" in error:
        return f"a quoted cell goes on after its quote{until}: quotes inside of it must be doubled"
    if "unexpected end" in error:
        return f"a quoted cell begins and does not end{until}: a quote is missing"
    return f"is no CSV{until}: {error}"


def _parse(record: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])
