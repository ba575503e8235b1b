"""Lists of the command line: nothing is cut off, and nothing is taken for markup."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shop.domain.money import Money
from shop.entrypoints.cli.tables import show_table

ID = "01a206d6-38f4-7c1e-9d5e-3a0c2b1f4e5d"


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADER = ["Id", "In stock", "Price", "At", "Note"]
ROW = [7, True, Money(amount=350, currency="EUR"), NOON, None]


def test_what_is_no_terminal_gets_each_row_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table(HEADER, [ROW, [8, False, "", NOON, "n" * 1_000]])
    assert capsys.readouterr().out.split("\n") == [
        "id\tin_stock\tprice\tat\tnote",
        "7\tTrue\t3.50\t2026-03-01 12:00:00\t",
        f"8\tFalse\t\t2026-03-01 12:00:00\t{'n' * 1_000}",
        "",
    ]


def test_a_cell_begins_no_other_cell_and_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["Note"], [["a\tb\r\nc"]])
    assert capsys.readouterr().out == "note\na b c\n"


def test_json_has_values_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(HEADER, [ROW], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"id": 7, "in_stock": True, "price": "3.50", "at": "2026-03-01T12:00:00Z", "note": None}
    ]


def on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> Callable[[list[str], list[list[object]]], list[str]]:
    """Shows a table there, and gives its lines."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def show(header: list[str], rows: list[list[object]]) -> list[str]:
        show_table(header, rows)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_on_a_narrow_terminal_what_people_copy_is_in_one_piece(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    show = on_a_terminal(monkeypatch, capsys, columns)
    copied: list[object] = [ID, "7GK2M9QXWB4T", "TEA 1 OF THE FIRST HARVEST", "ann.of.the.hills"]
    header = ["Id", "Code", "SKU", "Name", "Created"]
    shown = show(header, [[*copied, NOON], [*copied, NOON]])
    for one in copied:
        assert sum(str(one) in line for line in shown) == 2, shown


def test_on_a_narrow_terminal_words_go_on_in_the_next_line_of_their_cell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show = on_a_terminal(monkeypatch, capsys, 60)
    shown = show(["Id", "Note"], [[ID, "word " * 20]])
    assert max(len(line) for line in shown) <= 60
    assert sum(line.count("word") for line in shown) == 20


def test_what_no_table_has_room_for_is_shown_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show = on_a_terminal(monkeypatch, capsys, 60)
    assert show(["Id", "Note"], [[ID, "n" * 500]]) == [f"Id: {ID}", f"Note: {'n' * 500}", ""]


def test_an_empty_list_is_shown_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("Note" in line for line in on_a_terminal(monkeypatch, capsys, 40)(["Note"], []))
    show_table(HEADER, [], as_json=True)
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "80")
    show_table(["Name"], [["Chair [red]sale[/red] [/]"]])
    assert "Chair [red]sale[/red] [/]" in capsys.readouterr().out
