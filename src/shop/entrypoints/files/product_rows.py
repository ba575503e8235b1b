"""Rows of products as files have them: each a row to be saved, or what is wrong with it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from shop.domain.bulk import ProductRow
from shop.domain.errors import InvalidFields
from shop.domain.money import Money
from shop.domain.products import NO_MAX
from shop.domain.stock import StockChange
from shop.domain.text import counted
from shop.entrypoints.files.cells import (
    is_shortened,
    number_of,
    truth_of,
    undone,
    whole_number_of,
)
from shop.entrypoints.files.delimited import (
    RECORD_LENGTH_MAX,
    DelimitedText,
    Lines,
    TooLong,
    Unread,
)
from shop.entrypoints.files.sources import FileRefused, Format, Source
from shop.entrypoints.log_forms import printable

FIELDS = (
    "sku",
    "name",
    "price",
    "currency",
    "description",
    "max_per_order",
    "archived",
    "stock",
    "expected",
    "delta",
)
REJECTED = ("rejected_line", "rejected_column", "rejected_value", "rejected_reason")
"""What a file of rejects has besides: it is no part of the product when that is read again."""
REJECTED_OBJECT = "rejected"
VALUE_SHOWN_MAX = 80

Given: TypeAlias = list[str] | Mapping[str, Any] | None
"""A row as it was read: its cells, or its object; None if it could not be told into these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    line: int
    column: str
    """As the file calls it; empty if it is about the row."""
    value: str
    reason: str

    def __str__(self) -> str:
        where = f", {column_shown(self.column)}" if self.column else ""
        value = f" {self.value!r}" if self.value else ""
        return f"Line {self.line}{where}:{value} {self.reason}"


@dataclass(slots=True, kw_only=True)
class FileRow:
    line: int
    given: Given
    length: int = 0
    """In characters, of what was given."""
    sku: str = ""
    """As it is in the file."""
    row: ProductRow | None = None
    """None if there are problems."""
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the rows of a file are to be understood."""

    currency: str
    reason: str
    """Of changes of the stock."""
    delimiter: str | None = None
    decimal: str | None = None
    raw: bool = False
    """Whether cells are as programs write them: no spreadsheet has anything to do with them."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The file's names for columns, and ours."""
    takes_deltas: bool = False


class ProductFile:
    """The rows of a file, one by one. Raises `FileRefused` for what concerns all of them."""

    def __init__(self, source: Source, reading: Reading) -> None:
        self.format = source.format
        self.delimiter = ","
        self.header: list[str] = []
        self.unused: list[str] = []
        """Columns of the file that are not read."""
        self._source = source
        self._reading = reading
        if source.format is Format.CSV:
            self._open_delimited()
        else:
            self._named = {ours: theirs for theirs, ours in reading.columns.items()}

    def restart(self) -> None:
        """Read it again from its first row."""
        self._source.text.seek(0)
        if self.format is Format.CSV:
            self._open_delimited()

    def __iter__(self) -> Iterator[FileRow]:
        return self._delimited() if self.format is Format.CSV else self._json_lines()

    def field_called(self, name: str) -> str:
        """What the file calls one of our fields."""
        return self._named.get(_FIELD_OF.get(name, name), name)

    def value_of(self, row: FileRow, name: str) -> str:
        """What the file has for one of our fields, not too much to be shown."""
        name = _FIELD_OF.get(name, name)
        value: object = ""
        if isinstance(row.given, Mapping):
            value = row.given.get(self.field_called(name), "")
        elif row.given is not None and name in self._places:
            place = self._places[name]
            value = row.given[place] if place < len(row.given) else ""
        return shown(value if isinstance(value, str) else msgspec.json.encode(value).decode())

    def problems_of(self, row: FileRow, wrong: Iterable[tuple[str, str]]) -> list[Problem]:
        """What our fields must be, in the words of the file."""
        return [
            Problem(
                line=row.line,
                column=self.field_called(name) if name in _KNOWN else "",
                value=self.value_of(row, name),
                reason=must,
            )
            for name, must in wrong
        ]

    def _read(self, row: FileRow, texts: Mapping[str, str]) -> FileRow:
        row.sku = texts.get("sku", "")
        wrong, made = _product_row(texts, self._reading)
        row.row = made
        if wrong:
            row.problems = self.problems_of(row, wrong)
        return row

    # --- CSV ---

    def _open_delimited(self) -> None:
        named = {_plain(theirs): ours for theirs, ours in self._reading.columns.items()}
        text = DelimitedText(
            self._source.text,
            delimiter=self._reading.delimiter,
            score=lambda header: len({*map(_plain, header)} & {*FIELDS, *named}),
        )
        self._text, self.delimiter, self.header = text, text.delimiter, text.header
        self._places = self._placed(text.header, named)
        self._named = {name: text.header[place].strip() for name, place in self._places.items()}
        used = {*self._places.values()}
        self.unused = [
            name.strip()
            for place, name in enumerate(text.header)
            if place not in used and name.strip() and _plain(name) not in REJECTED
        ]

    def _placed(self, header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
        """Where our columns are; what was said of a column goes before its name."""
        plain = [_plain(name) for name in header]
        for theirs in self._reading.columns:
            if _plain(theirs) not in plain:
                raise FileRefused(f"There is no column {theirs!r}. {_listed(header)}")
        said = {*named.values()}
        places: dict[str, int] = {}
        for place, name in enumerate(plain):
            ours = named.get(name) or (name if name in FIELDS and name not in said else None)
            if ours is None:
                continue
            if ours in places:
                raise FileRefused(
                    f"Columns {places[ours] + 1} and {place + 1} are both {ours!r}; remove or "
                    "rename one of them."
                )
            places[ours] = place
        if "sku" not in places:
            first = next(filter(None, map(column_shown, header)), "Artikelnr")
            raise FileRefused(
                f"No column is called sku. {_listed(header)} If one of them has the SKUs, say so: "
                f'--map "{first}=sku". If these are no columns, give --delimiter.'
            )
        return places

    def _delimited(self) -> Iterator[FileRow]:
        places = list(self._places.items())
        width, is_raw = len(self.header), self._reading.raw
        for line, cells in self._text:
            if isinstance(cells, Unread):
                yield _unread(line, "", cells.reason)
                continue
            row = FileRow(line=line, given=cells, length=self._text.record_length)
            if len(cells) != width and not _is_padded(cells, width):
                row.problems = [_wrong_width(line, cells, width)]
                yield row
                continue
            texts = {name: cells[place].strip() for name, place in places}
            if not is_raw:
                if is_shortened(texts["sku"]):
                    row.sku = texts["sku"]
                    row.problems = self.problems_of(row, [("sku", _SHORTENED)])
                    yield row
                    continue
                texts = {name: undone(text) for name, text in texts.items()}
            yield self._read(row, texts)

    # --- JSON Lines ---

    def _json_lines(self) -> Iterator[FileRow]:
        decoder = msgspec.json.Decoder(dict[str, Any], float_hook=str)
        lines = Lines(self._source.text)
        unused: dict[str, None] = {}
        while True:
            lines.record_length = 0
            try:
                line = next(lines, None)
            except TooLong:
                lines.skip_line()
                yield _unread(lines.number, "", f"has more than {RECORD_LENGTH_MAX:,} characters")
                continue
            if line is None:
                return
            if not line.strip():
                continue
            try:
                given = decoder.decode(line)
            except msgspec.DecodeError as error:
                yield _unread(lines.number, line, f"is no JSON object: {error}")
                continue
            row = FileRow(line=lines.number, given=given, length=lines.record_length)
            texts, wrong = self._texts_of(given)
            if wrong:
                row.sku = texts.get("sku", "")
                row.problems = self.problems_of(row, wrong)
                yield row
                continue
            if len(given) > len(texts):
                unused |= dict.fromkeys(
                    key
                    for key in given
                    if key != REJECTED_OBJECT and self._reading.columns.get(key, key) not in texts
                )
                if len(unused) < _UNUSED_MAX:
                    self.unused = list(unused)
            yield self._read(row, texts)

    def _texts_of(self, given: Mapping[str, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
        """The values of our fields as cells would have them; null is an empty one."""
        texts, wrong = {}, []
        for name in FIELDS:
            key = self._named.get(name, name)
            if key not in given:
                continue
            text = _text_of(given[key], is_text=name in _TEXTS)
            if text is None:
                must = "must be a text in quotes" if name in _TEXTS else "must be a plain value"
                wrong.append((name, must))
            else:
                texts[name] = text
        if "sku" not in texts and not wrong:
            wrong.append(("sku", "must be there"))
        return texts, wrong


_UNUSED_MAX = 100
_TEXTS = frozenset({"sku", "name", "description", "currency"})
_KNOWN = frozenset({*FIELDS, "quantity"})
# What the domain calls a field, and files do otherwise.
_FIELD_OF = {"quantity": "stock", "absolute": "stock"}
_PLACES = {name: place for place, name in enumerate(FIELDS)}
_SHORTENED = (
    "is a long number as Excel shortens it, and its digits are lost: make the column Text in "
    "Excel and fill it anew from where the numbers came from (--raw takes it as it is)"
)


def shown(value: str) -> str:
    return value if len(value) <= VALUE_SHOWN_MAX else f"{value[:VALUE_SHOWN_MAX]}…"


def column_shown(name: str) -> str:
    """What a file calls a column, on a terminal, which would obey some characters."""
    return printable(shown(name.strip()))


def _text_of(value: object, *, is_text: bool) -> str | None:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if is_text:
        # As a number a SKU would have lost its leading zeros.
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else None


def _unread(line: int, beginning: str, reason: str) -> FileRow:
    problem = Problem(line=line, column="", value=shown(beginning.strip()), reason=reason)
    return FileRow(line=line, given=None, problems=[problem])


def _is_padded(cells: list[str], width: int) -> bool:
    """Whether all that is too much is empty: some programs end each line with a delimiter."""
    return len(cells) > width and not any(cells[width:])


def _wrong_width(line: int, cells: list[str], width: int) -> Problem:
    return Problem(
        line=line,
        column="",
        value=shown(" | ".join(cells)),
        reason=(
            f"has {counted(len(cells), 'cell')}, and the header {width}: perhaps there is a "
            "delimiter or the end of a line in a cell without quotes"
        ),
    )


def _listed(header: Sequence[str]) -> str:
    return f"The columns are: {', '.join(map(column_shown, header))}."


_BETWEEN_WORDS = re.compile(r"[\s_-]+")


def _plain(name: str) -> str:
    """A column's name whatever its case, and the signs between its words."""
    return _BETWEEN_WORDS.sub("_", undone(name.strip()).casefold())


# --- values ---


def _product_row(
    texts: Mapping[str, str], reading: Reading
) -> tuple[list[tuple[str, str]], ProductRow | None]:
    """All that is wrong, or the row."""
    wrong: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for name, text in texts.items():
        read = _READERS[name]
        try:
            if read is None:
                values[name] = text
            elif (value := read(text, reading)) is not None:
                values[name] = value
        except ValueError as error:
            wrong.append((name, str(error)))
        except InvalidFields as error:
            wrong += _wrong_of(error)
    try:
        if "stock" in values or "expected" in values or "delta" in values:
            values["stock"] = _stock_change(values, "expected" in texts, reading)
        row = ProductRow(**values)
    except InvalidFields as error:
        wrong += _wrong_of(error)
    if wrong:
        # As they come in tables.
        wrong.sort(key=lambda each: _PLACES.get(each[0], len(_PLACES)))
        return wrong, None
    return wrong, row


def _wrong_of(error: InvalidFields) -> list[tuple[str, str]]:
    return [(each["field"], each["message"]) for each in error.context["errors"]]


def _stock_change(values: dict[str, Any], has_expected: bool, reading: Reading) -> StockChange:
    quantity, delta = values.pop("stock", None), values.pop("delta", None)
    expected = values.pop("expected", None)
    if delta is not None and not reading.takes_deltas:
        raise FileRefused(
            "There is a column delta, and each run would add it again. Give --key with a name for "
            "what comes in, such as the number of the delivery note: what was done under it is "
            "not done again."
        )
    return StockChange(
        reason=reading.reason,
        delta=delta,
        quantity=quantity,
        expected=expected,
        absolute=quantity is not None and not has_expected,
    )


@lru_cache(maxsize=10_000)
def _price(text: str, decimal: str | None, currency: str) -> Money:
    return Money.parse(number_of(text, decimal), currency)


def _read_price(text: str, reading: Reading) -> Money:
    return _price(text, reading.decimal, reading.currency)


def _read_currency(text: str, reading: Reading) -> None:
    if text != reading.currency:
        raise ValueError(f"must be {reading.currency}, the shop's currency")


def _read_limit(text: str, reading: Reading) -> int:
    if not text:
        return NO_MAX
    limit = whole_number_of(text, reading.decimal)
    if limit == NO_MAX:
        raise ValueError("must be 1 at least, or empty for no limit")
    return limit


def _read_number(text: str, reading: Reading) -> int | None:
    return whole_number_of(text, reading.decimal) if text else None


def _read_delta(text: str, reading: Reading) -> int | None:
    return _read_number(text, reading) or None


def _read_truth(text: str, _: Reading) -> bool | None:
    return truth_of(text) if text else None


_READERS: Mapping[str, Callable[[str, Reading], Any] | None] = {
    "sku": None,
    "name": None,
    "description": None,
    "price": _read_price,
    "currency": _read_currency,
    "max_per_order": _read_limit,
    "archived": _read_truth,
    "stock": _read_number,
    "expected": _read_number,
    "delta": _read_delta,
}
