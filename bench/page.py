"""The last run as docs/performance.md, docs/performance.svg and docs/performance.json show it."""

from html import escape
from statistics import median

import msgspec

from bench.report import BEGIN, DOCS, END, Grid, Report, grids, rates

_BAR, _GAP, _LEFT, _WIDTH = 16, 8, 250, 760


def write_page(report: Report) -> None:
    """Put the run's tables between the page's markers, and its plot and numbers beside it."""
    page = DOCS / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{tables_of(report)}{END}{after}")
    (DOCS / "performance.svg").write_text(plot_of(report))
    numbers = msgspec.json.format(msgspec.json.encode(report), indent=1)
    (DOCS / "performance.json").write_bytes(numbers)


def tables_of(report: Report) -> str:
    tables = "\n".join(_markdown(grid) for grid in grids(report))
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    return (
        f"{report.started_at:%Y-%m-%d}; {report.rounds} rounds of {report.seconds:g} s, "
        f"alternating; {machine}.\n\n{tables}"
    )


def _markdown(grid: Grid) -> str:
    rows = [grid.header, ["---", *("--:" for _ in grid.header[1:])], *grid.rows]
    lines = "".join(f"| {' | '.join(cell or ' ' for cell in row)} |\n" for row in rows)
    return f"### {grid.title}\n\n{lines}"


def plot_of(report: Report) -> str:
    """Orders a second by case: a bar for the median, a line for the range."""
    cases = sorted(report.cases, key=lambda case: (case.workload, case.clients, str(case)))
    scale = (_WIDTH - _LEFT - 60) / max(max(rates(report, case)) for case in cases)
    parts = []
    for row, case in enumerate(cases):
        measured = rates(report, case)
        top, middle = row * (_BAR + _GAP) + 30, median(measured)
        low, high = (_LEFT + rate * scale for rate in (min(measured), max(measured)))
        color = "#2563eb" if case.candidate.startswith("shop") else "#94a3b8"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(str(case))}</text>'
            f'<rect x="{_LEFT}" y="{top}" width="{middle * scale:.0f}" height="{_BAR}" '
            f'fill="{color}"/>'
            f'<path d="M{low:.0f} {top + _BAR / 2} H{high:.0f}" stroke="#0f172a"/>'
            f'<text x="{high + 6:.0f}" y="{top + 12}">{middle:,.0f}</text>'
        )
    height = len(cases) * (_BAR + _GAP) + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="11" fill="#0f172a">'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
        '<text x="8" y="16">Orders a second: median of the rounds, and their range</text>'
        f"{''.join(parts)}</svg>\n"
    )
