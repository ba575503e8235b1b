"""`make guards`: takes out one guard after the other, and reports those that no test misses.

Each guard is a piece of source that keeps a promise. In a copy of the tree it is replaced by what
somebody could have written in good faith, and the tests that should notice are run. A name, or a
part of it, chooses some: `python -m tests.guards "lock"`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = (
    "src",
    "tests",
    "docs",
    "bench",
    "README.md",
    "pyproject.toml",
    "Makefile",
    ".env.example",
)
TESTS_FAILED = (1, 2)
"""Pytest's exit codes, of which 2 says that it stopped at the first failure; or else, as with any
other but 0, that no test was run: it then says that it happened during collection."""
SECONDS_MAX = 900


@dataclass(frozen=True, kw_only=True)
class Guard:
    name: str
    file: str
    """Below `src/shop`."""
    take: str
    """What stands there, once."""
    put: str
    """What stands there without the guard."""
    tests: str
    """Arguments of pytest: those that should notice."""

    def text(self, root: Path = ROOT) -> str:
        return (root / "src/shop" / self.file).read_text()


POSTGRES, INTAKE = "adapters/sql/postgresql.py", "adapters/intake.py"
DECIDE, ENGINE = "domain/services/decide_orders.py", "adapters/sql/engine.py"
UNIT = "adapters/sql/unit_of_work.py"
RACES = "tests/contracts/test_placing.py tests/contracts/test_order_races.py"

GUARDS = [
    Guard(
        name="row locks of a batch",
        file=POSTGRES,
        take="    FOR NO KEY UPDATE {{skip}}\n",
        put="    {{skip}}\n",
        tests=f"{RACES} tests/contracts/test_locked_products.py -k 'postgresql or locked'",
    ),
    Guard(
        name="the order of a batch's locks",
        file=POSTGRES,
        take="    ORDER BY product_id\n    FOR NO KEY UPDATE {{skip}}",
        put="    FOR NO KEY UPDATE {{skip}}",
        tests="tests/contracts/test_lock_order.py",
    ),
    Guard(
        name="the order of other locks",
        file="adapters/sql/stock.py",
        take="            .order_by(_stock.c.product_id)\n            .with_for_update(",
        put="            .with_for_update(",
        tests="tests/contracts/test_lock_order.py",
    ),
    Guard(
        name="orders are looked for when the locks are held",
        file="adapters/sql/migrations/versions/0003_orders_known_under_locks.py",
        take="LANGUAGE sql VOLATILE",
        put="LANGUAGE sql STABLE",
        tests="tests/contracts/test_placing.py -k 'postgresql'",
    ),
    Guard(
        name="what is locked is gone around",
        file=POSTGRES,
        take='_LOCK.format(skip="SKIP LOCKED")',
        put='_LOCK.format(skip="")',
        tests="tests/contracts/test_locked_products.py",
    ),
    Guard(
        name="what is searched for is no pattern",
        file="adapters/sql/search.py",
        take='like(f"%{_escaped(term)}%")',
        put='like(f"%{term}%")',
        tests="tests/contracts/test_search.py -k 'finds and postgresql'",
    ),
    Guard(
        name="a part of a search's page is read to its end before the next",
        file="adapters/sql/search.py",
        take=".where(*(~each for each in unread))",
        put="",
        tests="tests/contracts/test_search.py -k 'given_up'",
    ),
    Guard(
        name="a lone product's lock is waited for holding nothing",
        file=INTAKE,
        take="wait_for = [held[self._turn % len(held)]] if held else []",
        put="wait_for = None",
        tests="tests/adapters/test_intake.py tests/contracts/test_locked_products.py",
    ),
    Guard(
        name="the intake's bound on attempts",
        file=INTAKE,
        take="range(1, self._limits.attempts_max + 1)",
        put="range(1, 10_000)",
        tests="tests/adapters/test_intake.py -k bounded",
    ),
    Guard(
        name="a batch that fails is tried in halves",
        file=INTAKE,
        take="        if alone or will_pass:\n",
        put="        if True:\n",
        tests="tests/adapters/test_intake.py",
    ),
    Guard(
        name="the intake's deadline",
        file=INTAKE,
        take="self._deadlines.watch(call, call.since + self._limits.deadline)",
        put="pass",
        tests="tests/adapters/test_intake.py -k deadline",
    ),
    Guard(
        name="the worker's task is not its caller's",
        file=INTAKE,
        take="            self._worker = asyncio.create_task(self._serve_queue())\n",
        put="            self._worker = asyncio.create_task(self._serve_queue())\n"
        "            caller = asyncio.current_task()\n"
        "            assert caller is not None\n"
        "            worker = self._worker\n"
        "            caller.add_done_callback(lambda task: task.cancelled() and worker.cancel())\n",
        tests="tests/adapters/test_intake.py",
    ),
    Guard(
        name="the intake serves who waits before the process ends",
        file="entrypoints/http/app.py",
        take="        await container.intake().close()\n",
        put="",
        tests="tests/entrypoints/http/test_app.py -k stopping",
    ),
    Guard(
        name="a unique violation is a race lost",
        file="adapters/sql/errors.py",
        take='frozenset({"40001", "40P01", "23505"})',
        put='frozenset({"40001", "40P01"})',
        tests="tests/adapters/test_sql_errors.py tests/contracts/test_constraints.py",
    ),
    Guard(
        name="a known id is answered with its order",
        file=DECIDE,
        take="        if request.order_id in orders:\n",
        put="        if False:\n",
        tests="tests/services/test_place_orders.py tests/contracts/test_placing.py",
    ),
    Guard(
        name="the digest of a repeat",
        file="domain/orders.py",
        take="self.user_id == request.user_id and self.digest == request.digest",
        put="self.user_id == request.user_id",
        tests="tests/services/test_place_orders.py tests/contracts/test_placing.py",
    ),
    Guard(
        name="the user of a repeat",
        file="domain/orders.py",
        take="self.user_id == request.user_id and self.digest == request.digest",
        put="self.digest == request.digest",
        tests="tests/services/test_place_orders.py tests/contracts/test_placing.py",
    ),
    Guard(
        name="the key of a repeat",
        file="domain/orders.py",
        take=r"\x00{user_id}\x00{key}",
        put=r"\x00{user_id}\x00",
        tests="tests/domain/test_orders.py tests/services/test_place_orders.py -k 'not sql'",
    ),
    Guard(
        name="the user of a key",
        file="domain/orders.py",
        take=r"\x00{user_id}\x00{key}",
        put=r"\x00{key}",
        tests="tests/domain/test_orders.py tests/services/test_place_orders.py -k 'not sql'",
    ),
    Guard(
        name="BEGIN IMMEDIATE",
        file=ENGINE,
        take='_BEGIN_IMMEDIATE = "BEGIN IMMEDIATE"',
        put='_BEGIN_IMMEDIATE = "BEGIN"',
        tests="tests/contracts/test_durability.py tests/concurrency/test_cancelling.py -k sqlite",
    ),
    Guard(
        name="SQLite's busy timeout",
        file=ENGINE,
        take='connect_args = {"timeout": options.lock_timeout}',
        put='connect_args = {"timeout": 0.0}',
        tests="tests/contracts/test_durability.py",
    ),
    Guard(
        name="synchronous=FULL",
        file=ENGINE,
        take='"synchronous=FULL"',
        put='"synchronous=NORMAL"',
        tests="tests/contracts/test_durability.py",
    ),
    Guard(
        name="synchronous_commit",
        file=ENGINE,
        take='_PLANS = {"jit": "off"',
        put='_PLANS = {"synchronous_commit": "off", "jit": "off"',
        tests="tests/contracts/test_durability.py",
    ),
    Guard(
        name="each transaction states its isolation",
        file=ENGINE,
        take='_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"',
        put='_BEGIN = "BEGIN"',
        tests="tests/contracts/test_durability.py",
    ),
    Guard(
        name="orders and stock are one transaction",
        file="adapters/sql/sqlite.py",
        take="        balances = last_balances(movements)\n",
        put="        balances = last_balances(movements)\n"
        '        await self._driver.execute("COMMIT")\n'
        '        await self._driver.execute("BEGIN IMMEDIATE")\n',
        tests="tests/contracts/test_unit_of_work.py -k sqlite",
    ),
    Guard(
        name="the answer comes after the COMMIT",
        file=UNIT,
        take="            done, _ = await asyncio.wait([commit], "
        "timeout=self._engines.commit_seconds_max)\n",
        put="            await asyncio.sleep(0)\n            return\n",
        tests="tests/contracts/test_commit.py",
    ),
    Guard(
        name="a COMMIT is not cancelled by the driver",
        file=POSTGRES,
        take="timeout=_FOREVER",
        put="timeout=0.2",
        tests="tests/contracts/test_commit.py",
    ),
    Guard(
        name="a COMMIT is not cancelled by the server",
        file=ENGINE,
        take='_COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"',
        put='_COMMIT = "COMMIT"',
        tests="tests/contracts/test_commit.py",
    ),
    Guard(
        name="a COMMIT whose answer is lost is not told as not done",
        file=UNIT,
        take="            raise OutcomeUnknown from error\n",
        put="            raise\n",
        tests="tests/contracts/test_commit.py tests/adapters/test_sql_errors.py -k 'not sqlite'",
    ),
    Guard(
        name="cancel locks its order",
        file="domain/services/change_order.py",
        take="order = await uow.orders.lock(order_id)",
        put="order = await uow.orders.get(order_id)",
        tests="tests/contracts/test_order_races.py -k postgresql",
    ),
    Guard(
        name="cancelling again gives nothing back",
        file="domain/services/cancel_order.py",
        take="            if order.status is OrderStatus.CANCELLED:\n",
        put="            if False:\n",
        tests="tests/services/test_cancel_order.py -k memory",
    ),
    Guard(
        name="a key is claimed before the change",
        file=UNIT,
        take="        if self._key is not None:\n            await self._claim(self._key)\n",
        put="",
        tests="tests/contracts/test_keys.py -k sqlite",
    ),
    Guard(
        name="a race lost is tried again",
        file="domain/services/retrying.py",
        take="        for number in range(1, ATTEMPTS_MAX):\n",
        put="        for number in ():\n",
        tests="tests/contracts/test_faults.py -k memory",
    ),
    Guard(
        name="command_timeout",
        file=ENGINE,
        take='"command_timeout": timeout and timeout + 1',
        put='"command_timeout": None',
        tests="tests/concurrency/test_outages.py -k frozen",
    ),
    Guard(
        name="closed connections are replaced",
        file="adapters/sql/servers.py",
        take="        if driver.is_closed():\n            raise DisconnectionError\n",
        put="        return\n",
        tests="tests/concurrency/test_outages.py tests/adapters/test_failover.py",
    ),
    Guard(
        name="the limit of bodies",
        file="entrypoints/http/app.py",
        take="        request_max_body_size=settings.body_max,\n",
        put="        request_max_body_size=None,\n",
        tests="tests/entrypoints/http/test_errors.py tests/entrypoints/test_bad_input.py",
    ),
    Guard(
        name="the limit of headers",
        file="entrypoints/cli/serve.py",
        take="max_buffer_size=HEADERS_BYTES_MAX, ",
        put="",
        tests="tests/security/test_server.py tests/concurrency/test_peers.py",
    ),
    Guard(
        name="workers are started again",
        file="entrypoints/workers.py",
        take="                due[worker] = now + pauses.after(",
        put="                pauses.after(",
        tests="tests/concurrency/test_workers.py tests/concurrency/test_stops.py",
    ),
    Guard(
        name="a stop lets requests under way end",
        file="entrypoints/cli/serve.py",
        take="        workers_kill_timeout=STOP_SECONDS_MAX,\n",
        put="        workers_kill_timeout=1,\n",
        tests="tests/e2e/test_stopping.py tests/concurrency/test_stops.py",
    ),
]


def main(*words: str) -> int:
    chosen = [guard for guard in GUARDS if all(word in guard.name for word in words)]
    if not chosen:
        print(
            "No guard has these words in its name; they are:", *(g.name for g in GUARDS), sep="\n"
        )
        return 2
    missed: list[str] = []
    for number, guard in enumerate(chosen, 1):
        started = time.monotonic()
        outcome = _try_without(guard)
        seconds = time.monotonic() - started
        print(f"{number}/{len(chosen)} {outcome}: {guard.name} ({seconds:.0f} s)", flush=True)
        if outcome != "noticed":
            missed.append(guard.name)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} guards are missed when they are gone.")
    for name in missed:
        print(f"Nobody noticed: {name}")
    return 1 if missed else 0


def _try_without(guard: Guard) -> str:
    with _copy() as root:
        path = root / "src/shop" / guard.file
        text = guard.text(root)
        if text.count(guard.take) != 1:
            return f"NOT FOUND once, but {text.count(guard.take)} times"
        path.write_text(text.replace(guard.take, guard.put))
        environ = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
        command = f"{sys.executable} -m pytest -q -x -n 2 -p no:cacheprovider {guard.tests}"
        try:
            done = subprocess.run(  # noqa: S602 - our own table
                command,
                shell=True,
                cwd=root,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "noticed"  # it hangs
        if done.returncode == 0:
            return "MISSED"
        ran = b"during collection" not in done.stdout
        if ran and done.returncode in TESTS_FAILED:
            return "noticed"
        return f"NO TEST RAN ({done.returncode})"


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="shop-guards-") as folder:
        root = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, root / name)
        (root / ".venv").symlink_to(Path(sys.prefix))
        yield root


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
