"""Compare placing orders through this shop with other ways of doing the same work."""

import argparse
import asyncio
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
import msgspec
from msgspec.structs import replace

from bench.candidates import SIGNING_IN_CANDIDATE, Case, Measurement, create_world, measure
from bench.changes import WORKLOADS as CHANGED
from bench.changes import measure_changing
from bench.guarding import WORKLOADS as GUARDED
from bench.guarding import measure_guarding
from bench.lone import WORKLOAD as LONE
from bench.lone import measure_lone
from bench.page import write_page
from bench.reads import BESIDE, Library, measure_beside, measure_reading, select_p50
from bench.reads import WORKLOADS as READ
from bench.report import Report, show
from bench.rows import BESIDE as ROWS_BESIDE
from bench.rows import measure_rows
from tests.postgresql import PostgresServer, running_postgresql

RESULTS = Path(__file__).with_name("results")
WORKLOADS = ("hot", "spread")
CONSTANT = ("constant", "constant, directly")
PGBENCH = ("pgbench separate", "pgbench cte")
BESIDE_BARE = ("shop on SQLite", "bare")


def target_cases() -> list[Case]:
    """Those that the targets are about, and the naive way."""
    return [
        *(Case(name, "hot", 64) for name in ("shop", *PGBENCH, "naive")),
        *(Case(name, "spread", 64) for name in ("shop", *PGBENCH, "naive")),
        *(Case(name, "hot", 64) for name in (*CONSTANT, SIGNING_IN_CANDIDATE)),
        *(Case(name, "hot", 1) for name in ("shop", *CONSTANT, *PGBENCH)),
        *(Case(name, load, 64) for load in WORKLOADS for name in BESIDE_BARE),
        *(Case(name, "hot", 1) for name in BESIDE_BARE),
    ]


def all_cases() -> list[Case]:
    connections = (1, 16, 64, 256)
    cases = target_cases()
    for load in WORKLOADS:
        cases += [Case("shop", load, number, x) for number in connections for x in (1, 2)]
        cases += [Case(name, load, number) for number in (1, 8, 64) for name in PGBENCH]
        cases += [Case("naive", load, number) for number in (1, 16, 64)]
    cases += [Case(name, "hot", n) for n in connections for name in (*CONSTANT, "shop on SQLite")]
    cases += [Case(name, "spread", 64) for name in (*CONSTANT, "shop on SQLite")]
    return list(dict.fromkeys(cases))


def main() -> int:
    options = _options()
    if options.show is not None:
        report = msgspec.json.decode(options.show.read_bytes(), type=Report)
    else:
        report = _run(options)
    show(report)
    if options.docs:
        write_page(report)
    return 1 if report.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of one (4)")
    parser.add_argument("--quick", action="store_true", help="only what the targets are about")
    parser.add_argument(
        "--only", action="append", help='only cases with this text, such as "shop, hot" (repeat it)'
    )
    parser.add_argument(
        "--docs", action="store_true", help="put the results into docs/performance.md"
    )
    parser.add_argument("--show", type=Path, help="show the results of this file, measure nothing")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> Report:
    wanted = options.only or [""]
    cases = [
        case
        for case in (target_cases() if options.quick else all_cases())
        if any(text in str(case) for text in wanted)
    ]
    guarded = [each for each in GUARDED if any(text in f"guarding, {each}" for text in wanted)]
    changed = [each for each in CHANGED if any(text in each for text in wanted)]
    lone = any(text in LONE for text in wanted)
    read = [each for each in READ if any(text in f"reading, {each}" for text in wanted)]
    beside = any(text in BESIDE for text in wanted)
    rows = any(text in ROWS_BESIDE for text in wanted)
    folder = Path(tempfile.mkdtemp(prefix="shop-bench-"))
    try:
        with running_postgresql(durable=True) as postgres:
            report = Report(
                started_at=datetime.now(UTC),
                machine=_machine(postgres),
                rounds=0,
                seconds=options.seconds,
                measurements=[],
            )
            print("Filling the stores", flush=True)
            world = create_world(
                postgres, folder, filled=bool(cases or guarded or changed or lone or beside or rows)
            )
            library = Library(world)
            for number in range(1, options.rounds + 1):
                # To and fro, so that a machine that gets slower favours nobody.
                for case in cases if number % 2 else reversed(cases):
                    measured = measure(world, case, number=number, seconds=options.seconds)
                    report.measurements.append(measured)
                    _show_progress(options.rounds, measured)
                for workload in guarded:
                    guarding = measure_guarding(world, workload, number=number)
                    report.guarding.append(guarding)
                    print(f"{number}/{options.rounds} {guarding}", flush=True)
                for workload in changed:
                    changing = measure_changing(
                        world, workload, number=number, seconds=options.seconds
                    )
                    report.changing.append(changing)
                    print(f"{number}/{options.rounds} {changing}", flush=True)
                if lone:
                    report.lone.append(measure_lone(world, number=number, seconds=options.seconds))
                    print(f"{number}/{options.rounds} {report.lone[-1]}", flush=True)
                for name in read if number % 2 else reversed(read):
                    reading = measure_reading(
                        world, library, name, number=number, seconds=options.seconds
                    )
                    report.readings.append(reading)
                    print(f"{number}/{options.rounds} {reading}", flush=True)
                if "product detail, one reader" in read:
                    report.selects.append(select_p50(library.url("1,000")))
                if beside:
                    report.beside.append(
                        measure_beside(world, library, number=number, seconds=options.seconds)
                    )
                    print(f"{number}/{options.rounds} {report.beside[-1]}", flush=True)
                if rows:
                    report.rows.append(measure_rows(world, number=number, seconds=options.seconds))
                    print(f"{number}/{options.rounds} {report.rows[-1]}", flush=True)
                report = replace(report, rounds=number)
                _save(report)
    finally:
        shutil.rmtree(folder)
    return report


def _save(report: Report) -> None:
    """After every round, so that a run that is cut short leaves what it had."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{report.started_at:%Y%m%d-%H%M%S}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(f"Written to {path}", flush=True)


def _show_progress(rounds: int, measured: Measurement) -> None:
    load = measured.load
    print(
        f"{measured.round}/{rounds} {measured.case!s:40} {load.rate:7.0f} orders/s,"
        f" p50 {load.p50:7.2f}, p99 {load.p99:7.2f} ms,"
        f" CPU {measured.server_cpu:.3f} + {measured.postgres_cpu:.3f} ms,"
        f" others {max(measured.disturbance, 0):.2f}, slowdown {measured.slowdown:.2f}",
        *(f"\n    FAILED: {problem}" for problem in measured.problems),
        flush=True,
    )


def _machine(postgres: PostgresServer) -> dict[str, str]:
    """Where this was measured. Raises RuntimeError if PostgreSQL would not be durable."""
    facts = asyncio.run(_postgres_facts(postgres))
    if (facts["fsync"], facts["synchronous_commit"]) != ("on", "on"):
        raise RuntimeError(f"PostgreSQL is not durable: {facts}")
    filesystem = subprocess.run(
        ["stat", "--file-system", "--format=%T", postgres.root], capture_output=True, text=True
    )
    processors = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": f"{len(processors)} x {processors[0]}" if processors else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem.stdout.strip(),
        "Python": platform.python_version(),
        "PostgreSQL": facts["server_version"],
        **{
            name: version(name) for name in ("shop", "litestar", "granian", "sqlalchemy", "asyncpg")
        },
    }


async def _postgres_facts(postgres: PostgresServer) -> dict[str, str]:
    connection = await asyncpg.connect(host=str(postgres.root), user="shop", database="postgres")
    try:
        names = ("server_version", "fsync", "synchronous_commit")
        return {name: await connection.fetchval(f"SHOW {name}") for name in names}
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(main())
