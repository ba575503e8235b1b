"""Tables of the command line: nothing is cut off, and nothing is taken for markup."""

import re
import sys

import pytest

from shop.entrypoints.cli.tables import show_table

ID = "01a206d6-38f4-7c1e-9d5e-3a0c2b1f4e5d"


def test_what_is_no_terminal_gets_each_row_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table(["Id", "Note"], [[ID, "n" * 1_000]])
    [line] = [line for line in capsys.readouterr().out.splitlines() if ID in line]
    assert "n" * 1_000 in line


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


def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["Name"], [["Chair [red]sale[/red] [/]"]])
    assert "Chair [red]sale[/red] [/]" in capsys.readouterr().out
