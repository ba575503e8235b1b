"""Rows of products: what files say, and every way in which they do not."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shop.domain.bulk import ProductRow
from shop.domain.stock import StockChange
from shop.entrypoints.files.product_rows import FileRow, ProductFile, Reading
from shop.entrypoints.files.sources import FileRefused, Format, opened_source
from tests.builders import money

FILES = Path(__file__).parents[2] / "files"


def read(text: str, *, form: Format = Format.CSV, **reading: Any) -> list[FileRow]:
    return list(opened(text, form=form, **reading))


def opened(text: str, *, form: Format = Format.CSV, **reading: Any) -> ProductFile:
    with opened_source("-", io.BytesIO(text.encode()), as_format=form) as source:
        # All of it, while it is open.
        content = io.StringIO(source.text.read(), newline="")
        source.text = content  # type: ignore[assignment]
        return ProductFile(source, Reading(**{"currency": "EUR", "reason": "import"} | reading))


def only(rows: Sequence[FileRow]) -> ProductRow:
    [row] = rows
    assert row.problems == []
    assert row.row is not None
    return row.row


def problems(rows: Sequence[FileRow]) -> list[str]:
    return [str(problem) for row in rows for problem in row.problems]


def test_a_row_says_all_of_a_product() -> None:
    row = only(
        read(
            "sku,name,price,currency,description,max_per_order,archived,stock\n"
            "A-1, Tea ,12.50,EUR,Green.,3,false,7\n"
        )
    )
    assert row == ProductRow(
        sku="A-1",
        name="Tea",
        price=money(1250),
        description="Green.",
        max_per_order=3,
        archived=False,
        stock=StockChange(reason="import", quantity=7, absolute=True),
    )


def test_columns_that_are_not_there_keep_what_is() -> None:
    assert only(read("sku\nA-1\n")) == ProductRow(sku="A-1")


def test_empty_cells_are_no_description_no_limit_and_no_change_of_stock() -> None:
    row = only(read("sku,description,max_per_order,archived,stock\nA-1,,,,\n"))
    assert row == ProductRow(sku="A-1", description="", max_per_order=0)


@pytest.mark.parametrize("column", ["name", "price"])
def test_a_name_and_a_price_are_never_empty(column: str) -> None:
    [problem] = problems(read(f"sku,{column}\nA-1,\n"))
    assert problem.startswith(f"Line 2, {column}: must")


def test_stock_is_set_expected_or_changed_by_a_difference() -> None:
    assert only(read("sku,stock,expected\nA,5,7\n")).stock == StockChange(
        reason="import", quantity=5, expected=7
    )
    assert only(read("sku,delta\nA,-2\n", takes_deltas=True)).stock == StockChange(
        reason="import", delta=-2
    )
    assert only(read("sku,delta\nA,0\n", takes_deltas=True)).stock is None
    # Where the stock is only to be set if it is as expected, it is not set otherwise.
    assert problems(read("sku,stock,expected\nA,5,\n")) != []
    assert problems(read("sku,stock,delta\nA,5,1\n", takes_deltas=True)) != []


def test_a_difference_needs_a_key() -> None:
    with pytest.raises(FileRefused, match="--key"):
        read("sku,delta\nA,1\n")


def test_a_row_is_refused_with_all_that_is_wrong_in_the_words_of_the_file() -> None:
    rows = read(
        "Artikelnr;Preis;stock;archived;currency\n?;12,5o;1,5;maybe;USD\n",
        columns={"Artikelnr": "sku", "Preis": "price"},
        decimal=",",
    )
    assert [row.row for row in rows] == [None]
    assert sorted(problems(rows)) == [
        "Line 2, Artikelnr: '?' must be 1 to 64 letters, digits, spaces or any of "
        ". - _ / + # & ( )",
        "Line 2, Preis: '12,5o' must be a number such as 1.234,50 or 1234,50",
        "Line 2, archived: 'maybe' must be true or false, yes or no, 1 or 0",
        "Line 2, currency: 'USD' must be EUR, the shop's currency",
        "Line 2, stock: '1,5' must be a whole number such as 1234",
    ]


def test_leading_zeros_stay_and_blanks_at_the_ends_go() -> None:
    assert only(read("sku\n 00123\u00a0\n")).sku == "00123"
    assert only(read('sku\n="00123"\n')).sku == "00123"


def test_a_sku_that_excel_has_shortened_is_refused_with_what_to_do() -> None:
    [problem] = problems(read("sku;price\n1,23E+05;1\n"))
    assert problem.startswith("Line 2, sku: '1,23E+05' is a long number as Excel shortens it")
    assert "make the column Text" in problem
    assert only(read("sku\n1.23E+05\n", raw=True)).sku == "1.23E+05"
    assert only(read("sku\n'1.23E+05\n")).sku == "1.23E+05"


def test_a_neutralised_text_is_read_as_it_was_unless_it_is_for_machines() -> None:
    assert only(read("sku,name\nA,'=1+1\n")).name == "=1+1"
    assert only(read("sku,name\nA,'=1+1\n", raw=True)).name == "'=1+1"
    assert only(read("sku,name\nA,-5\n")).name == "-5"


@pytest.mark.parametrize(
    "header", ["SKU;Max per order", "sku;max-per-order", '" Sku ";MAX_PER_ORDER']
)
def test_names_of_columns_are_known_however_they_are_written(header: str) -> None:
    assert only(read(f"{header}\nA;3\n")) == ProductRow(sku="A", max_per_order=3)


def test_columns_under_other_names_are_mapped_and_go_before_ours() -> None:
    file = opened("Artikel Nr,sku,name\nA-1,ignored,Tea\n", columns={"artikel nr": "sku"})
    assert only(list(file)) == ProductRow(sku="A-1", name="Tea")
    assert file.unused == ["sku"]


def test_columns_that_nobody_knows_are_told() -> None:
    assert opened("sku,colour,name,,rejected_line\nA,red,Tea,,3\n").unused == ["colour"]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (
            "Artikelnr;Preis",
            {},
            "No column is called sku. The columns are: Artikelnr, Preis..*--map",
        ),
        ("sku;name;Name", {}, "Columns 2 and 3 are both 'name'"),
        ("sku", {"Preis": "price"}, "There is no column 'Preis'. The columns are: sku"),
        ("a;b", {"a": "sku", "b": "sku"}, "Columns 1 and 2 are both 'sku'"),
    ],
)
def test_a_header_that_does_not_do_refuses_the_file(
    header: str, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(FileRefused, match=message):
        opened(f"{header}\n", columns=columns)


def test_rows_with_too_many_or_too_few_cells_are_refused() -> None:
    rows = read("sku,name\nA\nB,b,c\nC,c,,\nD,d\n")
    assert [row.row and row.row.sku for row in rows] == [None, None, "C", "D"]
    assert [problem[:50] for problem in problems(rows)] == [
        "Line 2: 'A' has 1 cell, and the header 2: perhaps ",
        "Line 3: 'B | b | c' has 3 cells, and the header 2:",
    ]


def test_a_huge_cell_is_refused_and_shown_in_part() -> None:
    [problem] = problems(read(f"sku,description\nA,{'x' * 100_000}\n"))
    assert "must have 0 to 5000 characters" in problem
    assert len(problem) < 200


def test_a_zero_byte_is_refused() -> None:
    assert "control characters" in problems(read("sku,name\nA,a\0b\n"))[0]


# --- JSON Lines ---


def lines(*objects: object) -> str:
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in objects)


def test_json_lines_say_the_same() -> None:
    text = lines(
        {
            "sku": "A-1",
            "name": "=1",
            "price": "12.50",
            "max_per_order": None,
            "archived": True,
            "stock": 7,
        },
        '{"sku": "A-2", "price": 12.10}',
    )
    first, second = read(text, form=Format.JSON_LINES)
    assert first.row == ProductRow(
        sku="A-1",
        name="=1",
        price=money(1250),
        max_per_order=0,
        archived=True,
        stock=StockChange(reason="import", quantity=7, absolute=True),
    )
    assert second.row == ProductRow(sku="A-2", price=money(1210))


def test_json_texts_are_as_they_are() -> None:
    row = only(read(lines({"sku": "1.2E+05", "name": "'=1"}), form=Format.JSON_LINES))
    assert (row.sku, row.name) == ("1.2E+05", "'=1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sku": 123}', "Line 1, sku: '123' must be a text in quotes"),
        ('{"sku": "A", "price": ["1"]}', "Line 1, price: '[\"1\"]' must be a plain value"),
        ('{"name": "A"}', "Line 1, sku: must be there"),
        ("[]", "Line 1: '[]' is no JSON object"),
        ('{"sku": "A"', 'Line 1: \'{"sku": "A"\' is no JSON object'),
        ('{"sku": "A", "stock": 1.5}', "Line 1, stock: '1.5' must be a whole number such as 1234"),
        ('{"sku": "A", "price": true}', "Line 1, price: 'true' must be a decimal string"),
    ],
)
def test_json_that_does_not_do_costs_its_line_alone(line: str, message: str) -> None:
    rows = read(lines(line, {"sku": "B"}), form=Format.JSON_LINES)
    assert [row.row and row.row.sku for row in rows] == [None, "B"]
    [problem] = problems(rows)
    assert problem.startswith(message)


def test_a_huge_line_of_json_costs_itself_alone() -> None:
    text = lines({"sku": "A", "name": "x" * 3_000_000}, {"sku": "B"})
    first, second = read(text, form=Format.JSON_LINES)
    assert "more than 1,048,576 characters" in problems([first])[0]
    assert (second.line, second.sku) == (2, "B")


def test_members_that_nobody_knows_are_told() -> None:
    file = opened(lines({"sku": "A", "colour": 1, "rejected": []}), form=Format.JSON_LINES)
    only(list(file))
    assert file.unused == ["colour"]


# --- files of spreadsheets ---


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("libreoffice.csv", {"decimal": "."}),
        ("libreoffice-german.csv", {"decimal": ","}),
        ("excel-utf-8.csv", {"decimal": ","}),
        ("excel-unicode-text.txt", {"decimal": ","}),
        ("excel-windows-1252.csv", {"decimal": ",", "encoding": "windows-1252"}),
    ],
)
def test_what_spreadsheets_save_is_read_as_it_was_typed(name: str, options: dict[str, str]) -> None:
    """See tests/files/README.md."""
    with opened_source(str(FILES / name), io.BytesIO(), encoding=options.get("encoding")) as source:
        reading = Reading(currency="EUR", reason="import", decimal=options["decimal"])
        rows = list(ProductFile(source, reading))
    assert problems(rows) == []
    assert [row.row for row in rows] == [
        ProductRow(
            sku=sku,
            name=title,
            description=description,
            price=money(price),
            archived=archived,
            stock=StockChange(reason="import", quantity=stock, absolute=True),
        )
        for sku, title, description, price, stock, archived in [
            ("00123", "Grüner Tee, lose", "Erste Ernte.\nKühl lagern.", 123450, 12, False),
            ("A-1", 'Kanne "Bauhaus"', "", 1990, 0, True),
            ("4006381333931", "Stift; blau", "=1+1 is no formula here", 200, 1500, False),
            ("B 7", "Schale", "", 5, 3, False),
        ]
    ]
