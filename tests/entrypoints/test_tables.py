"""Lists of the command line: nothing is cut off, and nothing is taken for markup."""

import json
import re
import sys
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


def test_a_narrow_terminal_gets_all_of_it_in_several_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_table(["Id", "Note"], [[ID, "n" * 50]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(len(line) for line in shown.splitlines()) <= 40
    ids = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(ids) == ID
    assert shown.count("n") == 50


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_looks_like_markup_is_shown_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "80")
    show_table(["Name"], [["Chair [red]sale[/red] [/]"]])
    assert "Chair [red]sale[/red] [/]" in capsys.readouterr().out
