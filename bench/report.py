"""What the measurements say: tables and the targets, for the terminal and for the docs."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from bench.candidates import Case, Measurement
from bench.changes import WORKLOADS as CHANGED
from bench.changes import Changing
from bench.guarding import WORKLOADS, Guarding
from bench.lone import WORKLOAD as LONE
from bench.lone import Lone
from bench.reads import Beside, Reading
from bench.rows import Rows

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- bench: begin -->\n", "<!-- bench: end -->\n"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run of the benchmark, as its JSON files hold it."""

    started_at: datetime
    machine: dict[str, str]
    rounds: int
    seconds: float
    measurements: list[Measurement]
    guarding: list[Guarding] = []
    changing: list[Changing] = []
    lone: list[Lone] = []
    readings: list[Reading] = []
    beside: list[Beside] = []
    rows: list[Rows] = []
    selects: list[float] = []
    """The p50 of a bare SELECT by key, in milliseconds, of each round."""

    def of(self, case: Case) -> list[Measurement]:
        return [each for each in self.measurements if each.case == case]

    @property
    def cases(self) -> list[Case]:
        return list(dict.fromkeys(each.case for each in self.measurements))

    @property
    def problems(self) -> list[str]:
        return (
            [
                f"{each.case}, round {each.round}: {problem}"
                for each in self.measurements
                for problem in each.problems
            ]
            + [
                f"guarding, {each.workload}, round {each.round}: {problem}"
                for each in self.guarding
                for problem in each.problems
            ]
            + [
                f"{each.workload}, round {each.round}: {problem}"
                for each in self.changing
                for problem in each.problems
            ]
            + [
                f"{LONE}, round {each.round}: {problem}"
                for each in self.lone
                for problem in each.problems
            ]
            + [
                f"reading, {each.workload}, round {each.round}: {load.refused} refused, "
                f"{load.broken} without an answer"
                for each in self.readings
                for load in (each.load, each.bare)
                if load.refused or load.broken
            ]
            + [
                f"rows, round {each.round}: {problem}"
                for each in self.rows
                for problem in each.problems
            ]
        )

    def reading(self, workload: str) -> list[Reading]:
        return [each for each in self.readings if each.workload == workload]


class Grid(msgspec.Struct, frozen=True):
    """A table, however it is shown."""

    title: str
    header: list[str]
    rows: list[list[str]]


def rates(report: Report, case: Case) -> list[float]:
    return [each.load.rate for each in report.of(case)]


def _p50(report: Report, case: Case) -> list[float]:
    return [each.load.p50 for each in report.of(case)]


def _workload_grid(report: Report, workload: str) -> Grid:
    rows = []
    for case in sorted(report.cases, key=lambda each: (each.candidate, each.workers, each.clients)):
        if case.workload != workload:
            continue
        of_case = report.of(case)
        loads = [each.load for each in of_case]
        measured = rates(report, case)
        costs = [
            _number([each.server_cpu for each in of_case], "{:.2f}"),
            _number([each.postgres_cpu for each in of_case], "{:.2f}"),
        ]
        rows.append(
            [
                case.candidate,
                str(case.workers) if not case.candidate.startswith("pgbench") else "",
                str(case.clients),
                f"{median(measured):,.0f}",
                f"{min(measured):,.0f} to {max(measured):,.0f}",
                _number([load.p50 for load in loads], "{:.1f}"),
                _number([load.p99 for load in loads], "{:.1f}"),
                *costs,
                "" if all(each.is_quiet for each in of_case) else "disturbed",
            ]
        )
    header = ["", "workers", "clients", "orders/s", "range", "p50 ms", "p99 ms"]
    return Grid(
        f"{workload.capitalize()}: {_MEANING[workload]}",
        [*header, "server CPU ms", "PostgreSQL CPU ms", ""],
        rows,
    )


_MEANING = {
    "hot": "every order wants one piece of the same product",
    "spread": "1 to 5 of 10,000 products, at random",
}


def _number(values: Iterable[float], form: str) -> str:
    middle = median(values)
    return form.format(middle) if middle else ""


class Target(msgspec.Struct, frozen=True):
    """A ratio that the shop is to reach; `ratio` is of one round, or None if that is not there."""

    name: str
    goal: float
    at_least: bool
    ratios: list[float]

    @property
    def measured(self) -> float:
        return median(self.ratios)

    @property
    def is_met(self) -> bool:
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal


def targets(report: Report) -> list[Target]:
    """Those whose cases were measured."""
    hot, spread = Case("shop", "hot", 64), Case("shop", "spread", 64)
    sqlite = Case("shop on SQLite", "hot", 64)
    ceiling, short_way = Case("constant", "hot", 64), Case("constant, directly", "hot", 64)
    found = [
        _rate_target(
            report, "hot, to pgbench separate statements", 10, hot, _pgbench("separate", "hot", 64)
        ),
        _rate_target(report, "hot, to pgbench one CTE", 6, hot, _pgbench("cte", "hot", 64)),
        _rate_target(
            report,
            "spread, to pgbench separate statements",
            3,
            spread,
            _pgbench("separate", "spread", 64),
        ),
        _rate_target(
            report, "spread, to pgbench one CTE", 1, spread, _pgbench("cte", "spread", 64)
        ),
        _rate_target(report, "hot, share of the framework's ceiling", 0.6, hot, ceiling),
        _rate_target(report, "SQLite hot, share of the framework's ceiling", 0.6, sqlite, ceiling),
        _rate_target(report, "hot, share of the short way's ceiling", 0.6, hot, short_way),
        *(_bare_target(report, *of, goal) for of, goal in _BARE_GOALS.items()),
        *(_guard_target(report, workload) for workload in WORKLOADS),
        Target("p99 to p50, hot", 2.5, False, [m.load.p99 / m.load.p50 for m in report.of(hot)]),
        Target(
            "p99 to p50, spread", 2, False, [m.load.p99 / m.load.p50 for m in report.of(spread)]
        ),
        *(_latency_target(report, kind) for kind in ("separate", "cte")),
        *(
            Target(
                f"orders beside {workload}, to orders alone",
                goal,
                True,
                [each.kept for each in report.changing if each.workload == workload],
            )
            for workload, goal in _CHANGING_GOALS.items()
        ),
        Target(
            f"{LONE}: round trips an order", 3, False, [each.round_trips for each in report.lone]
        ),
    ]
    return [target for target in [*found, *_reading_targets(report)] if target.ratios]


# To a bare handler that answers the same bytes.
_BARE_GOALS = {
    ("shop", "hot"): 0.55,
    ("shop", "spread"): 0.35,
    ("shop on SQLite", "hot"): 0.5,
    ("shop on SQLite", "spread"): 0.3,
}
_CHANGING_GOALS = dict(zip(CHANGED, (0.8, 0.7, 0.8), strict=True))
# Of the rate of a bare handler that answers the same bytes as a constant.
_READING_GOALS = {
    "product detail of 1,000": 0.3,
    "product detail of 1,000,000": 0.3,
    "first page of 1,000": 0.3,
    "pages that all differ": 0.05,
    "order detail": 0.2,
    "orders page of an owner of 75,000": 0.03,
    "product detail on SQLite": 0.25,
    "first page on SQLite": 0.25,
}
# Milliseconds.
_READING_P99 = {
    "pages that all differ": 150,
    "search, rare words": 60,
    "search, common words": 250,
}


def _reading_targets(report: Report) -> list[Target]:
    def of(name: str, value: Callable[[Reading], float]) -> list[float]:
        return [value(each) for each in report.reading(name)]

    def to(name: str, other: str, value: Callable[[Reading], float]) -> list[float]:
        return [a / b for a, b in zip(of(name, value), of(other, value), strict=False)]

    def rate(reading: Reading) -> float:
        return reading.load.rate

    def p50(reading: Reading) -> float:
        return reading.load.p50

    alone = [
        each.load.p50 / (select + each.bare.p50)
        for each, select in zip(
            report.reading("product detail, one reader"), report.selects, strict=False
        )
    ]
    whose = "orders page of an owner of 75,000"
    return [
        *(
            Target(f"{name}, to a constant", goal, True, of(name, lambda each: each.ratio))
            for name, goal in _READING_GOALS.items()
        ),
        *(
            Target(f"{name}, p99 in ms", goal, False, of(name, lambda each: each.load.p99))
            for name, goal in _READING_P99.items()
        ),
        Target(
            "first page at 1,000,000 products, to the same at 1,000",
            0.9,
            True,
            to("first page of 1,000,000", "first page of 1,000", rate),
        ),
        Target(
            "one reader: deep pages by link, to the first page",
            0.8,
            True,
            to("deep pages, one reader", "first page, one reader", rate),
        ),
        *(
            Target(f"{name}: time, to the owner's", 2, False, to(name, whose, p50))
            for name in ("staff's page of 300,000 orders", "staff's page of paid orders")
        ),
        Target("one reader, detail: p50 to that of a SELECT + a constant", 1.6, False, alone),
        Target(
            "orders beside half as many reads, to orders alone",
            0.7,
            True,
            [each.kept for each in report.beside],
        ),
        Target(
            "rows of stock a second, beside orders",
            10_000,
            True,
            [each.rows for each in report.rows],
        ),
        Target(
            "orders beside them, to orders alone", 0.7, True, [each.kept for each in report.rows]
        ),
    ]


def _pgbench(kind: str, workload: str, clients: int) -> Case:
    return Case(f"pgbench {kind}", workload, clients)


def _rate_target(report: Report, name: str, goal: float, case: Case, other: Case) -> Target:
    pairs = zip(rates(report, case), rates(report, other), strict=False)
    return Target(name, goal, True, [ours / theirs for ours, theirs in pairs])


def _bare_target(report: Report, candidate: str, workload: str, goal: float) -> Target:
    name = f"{candidate}, {workload}, share of a bare handler"
    case, bare = (Case(each, workload, 64) for each in (candidate, "bare"))
    return _rate_target(report, name, goal, case, bare)


def _guard_target(report: Report, workload: str) -> Target:
    ratios = [each.ratio for each in report.guarding if each.workload == workload]
    return Target(f"{WORKLOADS[workload]}, server CPU: to the same unguarded", 1.05, False, ratios)


def _latency_target(report: Report, kind: str) -> Target:
    parts = zip(
        _p50(report, Case("shop", "hot", 1)),
        _p50(report, _pgbench(kind, "hot", 1)),
        _p50(report, Case("constant, directly", "hot", 1)),
        strict=False,
    )
    name = f"one connection, hot: p50 to that of pgbench {kind} + a constant answer"
    return Target(name, 1.7, False, [ours / (theirs + empty) for ours, theirs, empty in parts])


def _target_grid(report: Report) -> Grid:
    rows = []
    for target in targets(report):
        low, high = min(target.ratios), max(target.ratios)
        rows.append(
            [
                target.name,
                f"{'at least' if target.at_least else 'at most'} {target.goal:,g}",
                f"{target.measured:,.2f} ({low:,.2f} to {high:,.2f})",
                "met" if target.is_met else "not met",
            ]
        )
    failed = len(report.problems)
    rows.append(["failed or lost orders", "0", str(failed), "not met" if failed else "met"])
    return Grid("Ratios, 64 clients and one worker", ["", "goal", "measured", ""], rows)


def grids(report: Report) -> list[Grid]:
    workloads = dict.fromkeys(case.workload for case in report.cases)
    read = [_reading_grid(report)] if report.readings else []
    return [
        *(_workload_grid(report, workload) for workload in workloads),
        *read,
        _target_grid(report),
    ]


def _reading_grid(report: Report) -> Grid:
    header = ["", "answers/s", "range", "of a constant", "p50 ms", "p99 ms"]
    rows = []
    for workload in dict.fromkeys(each.workload for each in report.readings):
        of_workload = report.reading(workload)
        loads = [each.load for each in of_workload]
        measured = [load.rate for load in loads]
        rows.append(
            [
                workload,
                f"{median(measured):,.0f}",
                f"{min(measured):,.0f} to {max(measured):,.0f}",
                f"{median(each.ratio for each in of_workload):.3f}",
                _number([load.p50 for load in loads], "{:.1f}"),
                _number([load.p99 for load in loads], "{:.1f}"),
                _number([each.server_cpu for each in of_workload], "{:.0f}"),
                _number([each.postgres_cpu for each in of_workload], "{:.0f}"),
            ]
        )
    return Grid("Reading", [*header, "server CPU us", "PostgreSQL CPU us"], rows)


def show(report: Report) -> None:
    console = Console(width=max(Console().width, 110))
    for grid in grids(report):
        table = Table(title=grid.title, title_justify="left")
        for i, name in enumerate(grid.header):
            table.add_column(name, justify="left" if i == 0 else "right")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for problem in report.problems:
        console.print(f"FAILED: {problem}", style="bold red", markup=False)
