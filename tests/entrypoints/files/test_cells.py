"""Cells: what spreadsheets make of them, and back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.entrypoints.files.cells import (
    COMMA,
    POINT,
    is_shortened,
    neutralised,
    number_of,
    protected,
    truth_of,
    undone,
    whole_number_of,
)

# What stands at the beginning of formulas and numbers, often enough to be met.
texts = st.text(st.one_of(st.sampled_from("'=+-@E0123.,\"\t\uff1d"), st.characters()), max_size=12)
FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r"]
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(sign: str) -> None:
    assert neutralised(f"{sign}cmd|' /C calc'!A0") == f"'{sign}cmd|' /C calc'!A0"


@pytest.mark.parametrize("number", ["-5", "+49", "-1.234,56", "-0.5", "5"])
def test_a_number_with_its_sign_is_left_as_it_is(number: str) -> None:
    assert neutralised(number) == number


@pytest.mark.parametrize("text", ["-5-3", "+1+1", "-5x", "--5", "-"])
def test_what_only_begins_as_a_number_is_none(text: str) -> None:
    assert neutralised(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "Tea", "a=b", "00123", "12E5", "it's", "'quoted'", "x-1"])
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert neutralised(text) == text
    assert undone(text) == text


@given(texts)
def test_what_is_written_is_read_again_as_it_was(text: str) -> None:
    assert undone(neutralised(text)) == text


@given(texts)
def test_nothing_that_is_written_begins_like_a_formula_but_numbers(text: str) -> None:
    written = neutralised(text)
    assert not FORMULA.match(written) or re.fullmatch(r"[+-][0-9][0-9.,]*", written)


@given(texts)
def test_a_protected_cell_stands_for_the_same_text(cell: str) -> None:
    assert undone(protected(cell)) == undone(cell)


@pytest.mark.parametrize(
    ("cell", "text"),
    [('="00123"', "00123"), ('="a ""b"""', 'a "b"'), ('=""', ""), ("'=1", "=1"), ("''=1", "'=1")],
)
def test_what_keeps_a_text_from_being_a_number_or_a_formula_is_taken_off(
    cell: str, text: str
) -> None:
    assert undone(cell) == text


@pytest.mark.parametrize("cell", ["1,23E+05", "1.23E+05", "4E+12", "9,87654e+100"])
def test_a_number_that_excel_has_shortened_is_known(cell: str) -> None:
    assert is_shortened(cell)


@pytest.mark.parametrize("cell", ["123", "12E5", "E+05", "A1E+05", "1.23E+", "'1,23E+05"])
def test_other_skus_are_none(cell: str) -> None:
    assert not is_shortened(cell)


@pytest.mark.parametrize(
    ("cell", "decimal", "number"),
    [
        ("12.5", None, "12.5"),
        ("1.234,50", COMMA, "1234.50"),
        ("1234,5", COMMA, "1234.5"),
        ("1.234.567", COMMA, "1234567"),
        ("1 234,50", COMMA, "1234.50"),
        ("1\u00a0234,50", COMMA, "1234.50"),
        ("1\u202f234,50", COMMA, "1234.50"),
        ("1'234.50", POINT, "1234.50"),
        ("1,234.50", POINT, "1234.50"),
        ("-5", COMMA, "-5"),
    ],
)
def test_numbers_are_read_as_people_write_them(cell: str, decimal: str, number: str) -> None:
    assert number_of(cell, decimal) == number


@pytest.mark.parametrize(
    ("cell", "decimal"),
    [
        ("12,50", None),
        ("1,50", POINT),  # two digits are no thousand
        ("1.50", COMMA),
        ("1.2345,0", COMMA),
        ("1.234'567,0", COMMA),  # two signs between thousands
        ("12.34.567", COMMA),
        ("٣", COMMA),
        ("", COMMA),
        ("12 €", COMMA),
    ],
)
def test_what_may_mean_something_else_is_refused(cell: str, decimal: str | None) -> None:
    with pytest.raises(ValueError, match=r"must be|has a comma"):
        number_of(cell, decimal)


def test_whole_numbers_may_have_no_more_than_zeros_after_the_point() -> None:
    assert whole_number_of("5", None) == 5
    assert whole_number_of("1.500", COMMA) == 1500
    assert whole_number_of("5,00", COMMA) == 5
    for cell, decimal in [("5,5", COMMA), ("1.000", None), ("5.0", None), ("٣", None), ("", None)]:
        with pytest.raises(ValueError, match=r"must be|has a comma"):
            whole_number_of(cell, decimal)


@pytest.mark.parametrize("decimal", [None, COMMA, POINT])
@pytest.mark.parametrize("cell", ["zehn", "", "5.5.5"])
def test_what_is_no_whole_number_is_shown_one(cell: str, decimal: str | None) -> None:
    with pytest.raises(ValueError, match=r"^must be a whole number such as 1234$"):
        whole_number_of(cell, decimal)


@pytest.mark.parametrize("cell", ["true", "TRUE", "WAHR", "ja", "1", "Vrai"])
def test_yes_is_known_as_spreadsheets_say_it(cell: str) -> None:
    assert truth_of(cell) is True


@pytest.mark.parametrize("cell", ["false", "FALSCH", "nein", "0", "FAUX"])
def test_no_is_known_as_spreadsheets_say_it(cell: str) -> None:
    assert truth_of(cell) is False


def test_other_words_are_neither() -> None:
    with pytest.raises(ValueError, match="true or false"):
        truth_of("maybe")
