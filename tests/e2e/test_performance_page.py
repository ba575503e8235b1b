"""The performance page shows what was measured: its tables and plot are those of its numbers."""

import msgspec

from bench.page import plot_of, tables_of
from bench.report import BEGIN, DOCS, END, Report


def test_the_page_shows_the_numbers_beside_it() -> None:
    report = msgspec.json.decode((DOCS / "performance.json").read_bytes(), type=Report)
    shown = (DOCS / "performance.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == tables_of(report)
    assert (DOCS / "performance.svg").read_text() == plot_of(report)
