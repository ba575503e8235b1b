"""The benchmark's command line."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.candidates import Case, Measurement, create_world, measure
from tests.postgresql import running_postgresql

WORKLOADS = ("hot", "spread")
PGBENCH = ("pgbench separate", "pgbench cte")


def quick_cases() -> list[Case]:
    """Those that the targets are about."""
    return [
        *(Case(name, load, 64) for load in WORKLOADS for name in ("shop", *PGBENCH)),
        *(Case(name, "hot", 64) for name in ("constant", "shop on SQLite")),
        *(Case(name, "hot", 1) for name in ("shop", "constant", *PGBENCH)),
        *(Case("naive", load, 64) for load in WORKLOADS),
    ]


def all_cases() -> list[Case]:
    connections = (1, 16, 64, 256)
    cases = quick_cases()
    cases += [Case("shop", w, n, workers) for w in WORKLOADS for n in connections for workers in (1, 2)]
    cases += [Case(name, w, n) for w in WORKLOADS for n in (1, 8, 64) for name in PGBENCH]
    cases += [Case(name, "hot", n) for n in connections for name in ("constant", "shop on SQLite")]
    cases += [Case("constant", "spread", 64), Case("shop on SQLite", "spread", 64)]
    return list(dict.fromkeys(cases))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    cases = quick_cases() if options.quick else all_cases()
    cases = [case for case in cases if options.only in str(case)]
    folder = Path(tempfile.mkdtemp(prefix="shop-bench-"))
    measurements: list[Measurement] = []
    try:
        with running_postgresql(durable=True) as postgres:
            world = create_world(postgres, folder)
            for number in range(1, options.rounds + 1):
                for case in cases if number % 2 else reversed(cases):
                    for _ in range(5):
                        m = measure(world, case, number=number, seconds=options.seconds)
                        if m.disturbance < 0.1:
                            break
                    measurements.append(m)
                    print(f"{number} {case!s:45} {m.load.rate:8.0f}/s p50 {m.load.p50:7.2f} p99 {m.load.p99:7.2f} ms  cpu {m.server_cpu:.3f} pg {m.postgres_cpu:.3f} others {m.disturbance:.2f} {m.problems or ''}", flush=True)
    finally:
        shutil.rmtree(folder)
    return int(any(m.problems for m in measurements))


if __name__ == "__main__":
    sys.exit(main())
