"""Delimited text as people's programs write it."""

import csv
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.entrypoints.files.delimited import RECORD_LENGTH_MAX, DelimitedText, Unread
from shop.entrypoints.files.sources import FileRefused

cells = st.text(
    st.one_of(st.sampled_from("\",;\t\r\n' "), st.characters(codec="utf-8")), max_size=8
)


def parsed(text: str, delimiter: str | None = None) -> DelimitedText:
    known = {"sku", "name", "price"}
    # As a file is opened: nothing is done to line ends.
    return DelimitedText(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        score=lambda header: len(known & {*header}),
    )


def records(text: str, delimiter: str | None = None) -> list[tuple[int, list[str] | Unread]]:
    return list(parsed(text, delimiter))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found(delimiter: str, end: str) -> None:
    text = end.join(["sku,name", "A-1,Tea", "A-2,Cup", ""]).replace(",", delimiter)
    found = parsed(text)
    assert (found.delimiter, found.header) == (delimiter, ["sku", "name"])
    assert list(found) == [(2, ["A-1", "Tea"]), (3, ["A-2", "Cup"])]


def test_a_delimiter_in_a_quoted_name_of_a_column_misleads_nobody() -> None:
    assert parsed('sku;"name, in full, as it is";price\n').delimiter == ";"


def test_another_delimiter_has_to_be_given() -> None:
    assert records("sku|name\nA|b,c\n", "|") == [(2, ["A", "b,c"])]


def test_excels_own_first_line_names_the_delimiter() -> None:
    assert records("sep=;\r\nsku;name\r\nA;b,c\r\n") == [(3, ["A", "b,c"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quoted_cells_keep_their_line_ends_and_lines_are_counted_on(end: str) -> None:
    text = f'sku,name{end}A,"one{end}two ""quoted"""{end}B,x{end}'
    assert records(text) == [(2, ["A", f'one{end}two "quoted"']), (4, ["B", "x"])]


def test_rows_in_which_nothing_stands_are_left_out() -> None:
    assert records("\n\nsku,name\n\n,\nA,b\n\n") == [(6, ["A", "b"])]


def test_the_last_line_needs_no_end() -> None:
    assert records("sku,name\nA,b") == [(2, ["A", "b"])]


def test_a_quote_that_is_not_doubled_costs_its_row_alone() -> None:
    (line, bad), good = records('sku,name\nA,"b"c\nB,d\n')
    assert line == 2
    assert isinstance(bad, Unread)
    assert "must be doubled" in bad.reason
    assert good == (3, ["B", "d"])


def test_a_quote_that_is_missing_is_said_with_all_the_lines_it_takes() -> None:
    (line, bad), good = records('sku,name\nA,"b\nB,"c"\nC,d\n')
    assert line == 2
    assert isinstance(bad, Unread)
    assert "to line 3" in bad.reason
    assert good == (4, ["C", "d"])


def test_a_quote_that_never_ends_is_said() -> None:
    [(line, bad)] = records('sku,name\nA,"b\nB,c\n')
    assert line == 2
    assert isinstance(bad, Unread)
    assert "does not end (to line 3)" in bad.reason


@pytest.mark.parametrize(
    "huge",
    [
        "x" * (3 * RECORD_LENGTH_MAX),
        f'"{"x" * (2 * RECORD_LENGTH_MAX)}"',
        '"' + "x,\n" * RECORD_LENGTH_MAX + '"',
        '"' + 'y""\r\n' * RECORD_LENGTH_MAX + '"',
    ],
    ids=["plain", "quoted", "lines", "quotes"],
)
def test_a_huge_row_is_passed_over_without_being_kept(huge: str) -> None:
    text = io.StringIO(f"sku,name\nA,{huge}\nB,c\n", newline="")
    opened = DelimitedText(text, delimiter=",", score=len)
    tracemalloc.start()
    try:
        (line, bad), (after, good) = opened
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert line == 2
    assert isinstance(bad, Unread)
    assert "more than 1,048,576 characters" in bad.reason
    assert good == ["B", "c"]
    assert after == 3 + huge.count("\n")
    assert peak < 20 * RECORD_LENGTH_MAX


@pytest.mark.parametrize("text", ["", "\n\n", " \r\n"])
def test_a_file_with_nothing_in_it_is_refused(text: str) -> None:
    with pytest.raises(FileRefused, match="nothing in it"):
        parsed(text)


def test_a_header_without_an_end_is_refused() -> None:
    with pytest.raises(FileRefused, match="no CSV file with a header"):
        parsed("x" * (2 * RECORD_LENGTH_MAX))
    with pytest.raises(FileRefused, match="quote that does not end"):
        parsed('sku,"name\nA,b\n')


@given(
    st.lists(st.lists(cells, min_size=2, max_size=2).filter(any), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([",", ";", "\t"]),
)
def test_what_a_program_writes_is_read_as_it_was(
    rows: list[list[str]], end: str, delimiter: str
) -> None:
    text = io.StringIO(newline="")
    # Python before 3.13 leaves a line's end of another kind without quotes.
    has_ends = any({*"\r\n"} & {*cell} for row in rows for cell in row)
    writer = csv.writer(
        text,
        lineterminator=end,
        delimiter=delimiter,
        quoting=csv.QUOTE_ALL if has_ends else csv.QUOTE_MINIMAL,
    )
    writer.writerows([["sku", "name"], *rows])
    assert [each for _, each in records(text.getvalue())] == rows
