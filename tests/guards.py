"""`make guards`: takes out one guard after the other, and reports those that no test misses.

Each guard is a piece of source that keeps a promise. In a copy of the tree it is replaced by what
somebody could have written in good faith, and the tests that should notice are run. Before that
they are run once with nothing replaced: a test that fails for another reason notices nothing. A
name, or a part of it, chooses some guards: `python -m tests.guards "lock"`.
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
from functools import cache
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
PASSED, FAILED, HUNG = "passed", "failed", "hung"
NOTICED = "noticed"


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
STATEMENTS = "adapters/sql/postgresql_statements.py"
DECIDE, ENGINE = "domain/services/decide_orders.py", "adapters/sql/engine.py"
UNIT, CONNECTIONS = "adapters/sql/unit_of_work.py", "adapters/sql/connections.py"
RACES = "tests/contracts/test_placing.py tests/contracts/test_order_races.py"

GUARDS = [
    Guard(
        name="a walk begins at its key or at the bound of its filter, whichever is further",
        file="adapters/sql/pages.py",
        take="is_keyed = is_within or (start.is_included and key[0] == limit)",
        put="is_keyed = True",
        tests="tests/contracts/test_lists.py -k key",
    ),
    Guard(
        name="the walk that ends before its list does is not the whole page",
        file="adapters/sql/pages.py",
        take="return None if is_at_limit and len(shown) < window.limit else shown",
        put="return shown",
        tests="tests/contracts/test_list_costs.py",
    ),
    Guard(
        name="an export is of one moment",
        file="adapters/sql/transfer.py",
        take="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        put="BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        tests="tests/adapters/test_transfer.py -k 'one_moment and postgresql'",
    ),
    Guard(
        name="nobody writes into a shop that is being filled",
        file="adapters/sql/transfer.py",
        take="IN SHARE ROW EXCLUSIVE MODE",
        put="IN ROW SHARE MODE",
        tests="tests/adapters/test_transfer.py -k others_cannot_write",
    ),
    Guard(
        name="rows are numbered after those that were imported",
        file="adapters/sql/transfer.py",
        take="    await shop.number_on()\n",
        put="",
        tests="tests/adapters/test_transfer.py -k numbered",
    ),
    Guard(
        name="row locks of a batch",
        file=STATEMENTS,
        take="    FOR NO KEY UPDATE {skip}\n",
        put="    {skip}\n",
        tests=f"{RACES} tests/contracts/test_locked_products.py -k 'postgresql or locked'",
    ),
    Guard(
        name="the order of a batch's locks",
        file=STATEMENTS,
        take="    ORDER BY product_id\n    FOR NO KEY UPDATE {skip}",
        put="    FOR NO KEY UPDATE {skip}",
        tests="tests/contracts/test_lock_order.py",
    ),
    Guard(
        name="who changes an order in a batch locks it",
        file=STATEMENTS,
        take="    ORDER BY id\n    FOR NO KEY UPDATE SKIP LOCKED\n",
        put="    ORDER BY id\n",
        tests="tests/contracts/test_order_races.py -k postgresql",
    ),
    Guard(
        name="an order that somebody has just changed is not decided on as it was",
        file=STATEMENTS,
        take="held.version IS NOT DISTINCT FROM orders.version",
        put="held.id IS NOT NULL",
        tests="tests/contracts/test_locked_orders.py -k just",
    ),
    Guard(
        name="a key that is in use elsewhere holds up nobody else",
        file=STATEMENTS,
        take="WHERE pg_try_advisory_xact_lock(hashtextextended(key, user_id))\n",
        put="",
        tests="tests/contracts/test_locked_orders.py -k key",
    ),
    Guard(
        name="a refused change leaves its key free",
        file="domain/services/books.py",
        take="unused=set(self.batch.claimed) - {answer.place for answer in self._answers},",
        put="unused=(),",
        tests="tests/contracts/test_changes_in_batches.py -k 'key and sqlite'",
    ),
    Guard(
        name="a refused change leaves no trace in its batch",
        file="domain/services/books.py",
        take="                self.orders[each.before.id] = each.before\n",
        put="                pass\n",
        tests="tests/services/test_books.py",
    ),
    Guard(
        name="who gives up before the locks are held is not served",
        file=DECIDE,
        take="if is_wanted else _GIVEN_UP",
        put="if True else _GIVEN_UP",
        tests="tests/entrypoints/http/api/test_idempotency.py -k too_long",
    ),
    Guard(
        name="the order of other locks",
        file="adapters/sql/marks.py",
        take=".where(which).order_by(column).with_for_update(",
        put=".where(which).with_for_update(",
        tests="tests/contracts/test_lock_order.py",
    ),
    Guard(
        name="orders are looked for when the locks are held",
        file="adapters/sql/migrations/versions/0012_known_orders_keep_their_plan.py",
        take="LANGUAGE plpgsql VOLATILE",
        put="LANGUAGE plpgsql STABLE",
        tests="tests/contracts/test_placing.py -k 'postgresql'",
    ),
    Guard(
        name="an order that waited is written only if its products are as it read them",
        file=STATEMENTS,
        take=" AND products.version = new.version",
        put="",
        tests="tests/contracts/test_price_changes.py -k 'postgresql or written or overtaken'",
    ),
    Guard(
        name="a batch whose products changed is decided again",
        file=DECIDE,
        take="        except StaleProducts as stale:\n",
        put="        except ZeroDivisionError as stale:\n",
        tests="tests/contracts/test_price_changes.py -k postgresql",
    ),
    Guard(
        name="what was overtaken is locked before it is read again",
        file=DECIDE,
        take="            if hold:\n",
        put="            if False:\n",
        tests="tests/contracts/test_price_changes.py -k postgresql",
    ),
    Guard(
        name="who changes a product locks its stock first",
        file="adapters/sql/products.py",
        take="lock_row(self._connection, _stock.c.product_id, product_id)",
        put="lock_row(self._connection, _products.c.id, product_id)",
        tests="tests/contracts/test_price_changes.py -k postgresql",
    ),
    Guard(
        name="products are read when their stock is locked",
        file="adapters/sql/stock.py",
        take="""        await lock_rows(self._connection, _stock.c.product_id, are_these)
        rows = await read_rows(
            self._connection, select_products().where(are_these).order_by(_stock.c.product_id)
        )
""",
        put="""        rows = await read_rows(
            self._connection,
            select_products()
            .where(are_these)
            .order_by(_stock.c.product_id)
            .with_for_update(key_share=True, of=_stock),
        )
""",
        tests="tests/contracts/test_price_changes.py -k postgresql",
    ),
    Guard(
        name="a replica has what is over in the snapshot of its own",
        file="adapters/sql/marks.py",
        take="txid_snapshot_xmin(txid_current_snapshot()) > {{}})",
        put="txid_visible_in_snapshot({{}}, txid_current_snapshot()))",
        tests="tests/adapters/test_replicas.py -k began_before_others",
    ),
    Guard(
        name="a replica has nothing of another history",
        file="adapters/sql/marks.py",
        take=" AND {TIMELINE_OF_ANY} = {{}}",
        put=" AND {{}} > 0",
        tests="tests/adapters/test_replicas.py -k another_history",
    ),
    Guard(
        name="who has seen nothing reads with others who have not",
        file="adapters/shared_reads.py",
        take="            line = (line, call.work.seen.history)\n",
        put="            pass\n",
        tests="tests/adapters/test_replicas.py -k sends_nobody_else",
    ),
    Guard(
        name="what is locked is gone around",
        file=STATEMENTS,
        take='skip="SKIP LOCKED" if skips else ""',
        put='skip=""',
        tests="tests/contracts/test_locked_products.py",
    ),
    Guard(
        name="what is searched for is no pattern",
        file="adapters/sql/search.py",
        take='f"%{_escaped(text)}%"',
        put='f"%{text}%"',
        tests="tests/contracts/test_search.py -k 'finds and postgresql'",
    ),
    Guard(
        name="a part of a search's page is read to its end before the next",
        file="adapters/sql/search.py",
        take='if row["place"] == last:',
        put="if False:",
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
        file="adapters/lines.py",
        take="            self._worker = asyncio.create_task("
        "self._serve_queue(), context=contextvars.Context())\n",
        put="            self._worker = asyncio.create_task("
        "self._serve_queue(), context=contextvars.Context())\n"
        "            caller = asyncio.current_task()\n"
        "            assert caller is not None\n"
        "            worker = self._worker\n"
        "            caller.add_done_callback(lambda task: task.cancelled() and worker.cancel())\n",
        tests="tests/adapters/test_intake.py",
    ),
    Guard(
        name="a read begins after all whom it answers have asked",
        file="adapters/shared_reads.py",
        take="                call.succeed(answer)\n",
        put="                call.succeed(answer)\n"
        "            for late in self._lines[name, owner]._queue:\n"
        "                late.succeed(answers[0])\n",
        tests="tests/adapters/test_shared_reads.py",
    ),
    Guard(
        name="who leads a read leads no other",
        file="adapters/shared_reads.py",
        take="return asker == NOBODY or self._leading[asker] < self.limits.led_max",
        put="return True",
        tests="tests/adapters/test_shared_reads.py",
    ),
    Guard(
        name="links of a shared list are for the host that was asked",
        file="entrypoints/http/api/shared_answers.py",
        take="                tuple(hosts),\n",
        put="",
        tests="tests/entrypoints/http/api/test_shared_answers.py -k depends",
    ),
    Guard(
        name="a shared list is shared by those who may see the same",
        file="entrypoints/http/api/shared_answers.py",
        take="                audience(caller),\n",
        put="",
        tests="tests/entrypoints/http/api/test_shared_answers.py -k depends",
    ),
    Guard(
        name="who reads an order may see it",
        file="domain/services/read_orders.py",
        take="            raise OrderNotFound(order_id)\n        order.require_visible(caller)\n",
        put="            raise OrderNotFound(order_id)\n",
        tests="tests/contracts/test_details.py tests/services/test_read_orders.py",
    ),
    Guard(
        name="what is around a shared answer changes it for one asker only",
        file="entrypoints/http/api/shared_answers.py",
        take="list(answer.headers)",
        put="answer.headers",
        tests="tests/entrypoints/http/api/test_shared_answers.py -k origins",
    ),
    Guard(
        name="a flood of requests for traces is bounded",
        file="adapters/rates.py",
        take="        if not self.has_one():\n            return False\n",
        put="",
        tests="tests/entrypoints/test_trace_context.py -k flood",
    ),
    Guard(
        name="a batch and its requests are linked in both directions",
        file="entrypoints/traces.py",
        take="        for each in traced:\n            _link(each, span)\n",
        put="",
        tests="tests/entrypoints/test_traces.py -k linked",
    ),
    Guard(
        name="what an exception says is masked in a report",
        file="entrypoints/error_reports.py",
        take="return without_secrets(first)",
        put="return first",
        tests="tests/entrypoints/test_error_reports.py -k secret",
    ),
    Guard(
        name="the intake serves who waits before the process ends",
        file="entrypoints/http/app.py",
        take="        stopping.push_async_callback(container.intake().close)\n",
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
        take='connect_args = {"timeout": options.lock_timeout, ',
        put='connect_args = {"timeout": 0.0, ',
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
        take="    balances = last_balances(movements)\n",
        put="    balances = last_balances(movements)\n"
        '    yield lambda trip: trip.fetch("COMMIT")\n'
        '    yield lambda trip: trip.fetch("BEGIN IMMEDIATE")\n',
        tests="tests/contracts/test_unit_of_work.py -k sqlite",
    ),
    Guard(
        name="nothing is written before a batch has begun",
        file="adapters/sql/sqlite.py",
        take="        if self._to_begin is not None:\n",
        put="        if False:\n",
        tests="tests/adapters/test_sqlite.py",
    ),
    Guard(
        name="a closed connection keeps no lock",
        file=ENGINE,
        take='        event.listen(engine.sync_engine, "close", _roll_back)\n',
        put="        pass\n",
        tests="tests/adapters/test_sqlite.py",
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
        name="a COMMIT whose answer is lost is not told as not done",
        file=UNIT,
        take="            raise OutcomeUnknown from error\n",
        put="            raise\n",
        tests="tests/contracts/test_commit.py tests/adapters/test_sql_errors.py -k 'not sqlite'",
    ),
    Guard(
        name="a transaction that has been begun is ended if no batch comes",
        file=CONNECTIONS,
        take="        if lent.is_begun:\n",
        put="        if False:\n",
        tests="tests/adapters/test_begun_transactions.py",
    ),
    Guard(
        name="a pool's connections are in no transaction",
        file=ENGINE,
        take="        elif not lent.is_begun or await lent.end_begun(self.servers):\n",
        put="        else:\n",
        tests="tests/adapters/test_begun_transactions.py -k pool",
    ),
    Guard(
        name="a database made read-only is heeded by batches that follow each other",
        file=CONNECTIONS,
        take='"default_transaction_read_only", None) == "off"',
        put='"default_transaction_read_only", "off") != ""',
        tests="tests/adapters/test_begun_transactions.py -k operator",
    ),
    Guard(
        name="through PgBouncer no transaction is begun before it is needed",
        file=ENGINE,
        take="chaining=not options.pgbouncer",
        put="chaining=True",
        tests="tests/adapters/test_begun_transactions.py -k pgbouncer",
    ),
    Guard(
        name="a warning with a COMMIT makes its outcome unknown",
        file=POSTGRES,
        take="        if lent.warnings:\n",
        put="        if False:\n",
        tests="tests/contracts/test_commit.py",
    ),
    Guard(
        name="paying and shipping lock their order",
        file="domain/services/change_order.py",
        take="order = await uow.orders.lock(order_id)",
        put="order = await uow.orders.get(order_id)",
        tests="tests/contracts/test_order_races.py -k postgresql",
    ),
    Guard(
        name="cancelling again gives nothing back",
        file="domain/services/cancel_order.py",
        take="        if order.status is OrderStatus.CANCELLED:\n",
        put="        if False:\n",
        tests="tests/services/test_cancel_order.py",
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
        tests="tests/adapters/test_failover.py -k silent",
    ),
    Guard(
        name="closed connections are replaced",
        file="adapters/sql/servers.py",
        take="        if driver.is_closed():\n            raise DisconnectionError\n",
        put="        return\n",
        tests="tests/concurrency/test_outages.py tests/adapters/test_failover.py",
    ),
    Guard(
        name="who is staff no more changes nothing as staff",
        file="domain/services/check_user.py",
        take="return not (disabled or (caller.is_staff and role is not caller.role))",
        put="return not disabled",
        tests="tests/contracts/test_disabled_users.py -k memory",
    ),
    Guard(
        name="another role ends all sessions",
        file="domain/services/keep_users.py",
        take="            await uow.sessions.end_all(user.id, self.clock())\n"
        '            uow.record(_event("user.role_changed"',
        put='            uow.record(_event("user.role_changed"',
        tests="tests/services/test_users_and_sessions.py",
    ),
    Guard(
        name="only some commands make a database",
        file="entrypoints/cli/running.py",
        take='settings.store == "sqlite" and not creates and not is_there(',
        put='settings.store == "sqlite" and False and not is_there(',
        tests="tests/entrypoints/test_cli.py -k folder",
    ),
    Guard(
        name="what is somebody else's keeps its permissions",
        file="adapters/sql/files.py",
        take="        _require_file(file)\n",
        put="        pass\n",
        tests="tests/entrypoints/test_mistakes.py -k folder",
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
        take="            max_buffer_size=HEADERS_BYTES_MAX,\n",
        put="",
        tests="tests/security/test_server.py",
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
        tests="tests/concurrency/test_stops.py -k 'under_way and sqlite'",
    ),
    Guard(
        name="what is paid meanwhile is not cancelled as unpaid",
        file="domain/services/cancel_order.py",
        take="caller.is_staff and not self.unpaid_only",
        put="caller.is_staff",
        tests="tests/contracts/test_cancel_unpaid.py -k memory",
    ),
    Guard(
        name="one counter of failures for all spellings of a name",
        file="domain/services/sign_in.py",
        take="AttemptKeys.of(folded(name), address)",
        put="AttemptKeys.of(name, address)",
        tests="tests/contracts/test_throttling.py -k 'spelling and memory'",
    ),
    Guard(
        name="no key stands for an order that was moved in",
        file="domain/orders.py",
        take="return number ^ 1 << 127 if number >> 80 == _MOVED_BEGINNING else number",
        put="return number",
        tests="tests/domain/test_orders.py -k moved",
    ),
    Guard(
        name="stock that was changed here is not overwritten by a move",
        file="domain/services/move_in.py",
        take="if not is_a_copy and there != mark.stock_there:",
        put="if not is_a_copy and there != mark.stock_there and False:",
        tests="tests/contracts/test_move_in.py -k 'sold_here and memory'",
    ),
    Guard(
        name="what an order gives back has room on a full shelf",
        file="domain/stock.py",
        take="quantity > 0 and balance > STOCK_MAX and reason not in ORDER_REASONS",
        put="quantity > 0 and balance > STOCK_MAX",
        tests="tests/domain/test_stock.py",
    ),
    Guard(
        name="a new SKU clashes with no other",
        file="adapters/sql/products.py",
        take="else_=0)",
        put="else_=product.id)",
        tests="tests/contracts/test_products.py -k 'sku and sqlite'",
    ),
    Guard(
        name="rows take their locks by id",
        file=STATEMENTS,
        take="    ORDER BY stock.product_id\n    FOR NO KEY UPDATE OF stock",
        put="    FOR NO KEY UPDATE OF stock",
        tests="tests/contracts/test_lock_order.py",
    ),
    Guard(
        name="one change of many rows is under way at a time",
        file="domain/services/save_products.py",
        take="unit_of_work(key=key, many=True)",
        put="unit_of_work(key=key)",
        tests="tests/contracts/test_turns_of_many.py",
    ),
    Guard(
        name="orders go around what a change of many rows has locked",
        file="adapters/intake.py",
        take=" and not much_is_locked",
        put="",
        tests="tests/contracts/test_turns_of_many.py",
    ),
    Guard(
        name="one refused row of all writes nothing",
        file="domain/services/save_products.py",
        take="    if policy is Policy.ALL:\n        decisions.require_all()\n",
        put="",
        tests="tests/contracts/test_bulk.py -k memory",
    ),
    Guard(
        name="rows that expect a quantity overwrite no sale",
        file="domain/stock.py",
        take="if self.expected is not None and on_hand != self.expected:",
        put="if self.expected is not None and on_hand < 0:",
        tests="tests/contracts/test_bulk.py -k memory",
    ),
]


def main(*words: str) -> int:
    chosen = [guard for guard in GUARDS if all(word in guard.name for word in words)]
    if not chosen:
        print(
            "No guard has these words in its name; they are:", *(g.name for g in GUARDS), sep="\n"
        )
        return 2
    unnoticed: list[str] = []
    for number, guard in enumerate(chosen, 1):
        started = time.monotonic()
        outcome = _try_without(guard)
        seconds = time.monotonic() - started
        print(f"{number}/{len(chosen)} {outcome}: {guard.name} ({seconds:.0f} s)", flush=True)
        if outcome != NOTICED:
            unnoticed.append(f"{outcome}: {guard.name}")
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} guards are missed when they are gone.")
    for line in unnoticed:
        print(line)
    return 1 if unnoticed else 0


def _try_without(guard: Guard) -> str:
    """Whether its tests notice that it is gone, in a word or two."""
    if (unchanged := run_unchanged(guard.tests)) != PASSED:
        return f"NOTHING LEARNT, since with the guard in place its tests {unchanged}"
    with _copy() as root:
        path = root / "src/shop" / guard.file
        text = guard.text(root)
        if text.count(guard.take) != 1:
            return f"NOT FOUND once, but {text.count(guard.take)} times"
        path.write_text(text.replace(guard.take, guard.put))
        ended = run_tests(root, guard.tests)
    if ended == PASSED:
        return "NOBODY NOTICED"
    return NOTICED if ended in (FAILED, HUNG) else f"NOTHING LEARNT, since its tests {ended}"


@cache
def run_unchanged(tests: str) -> str:
    """How they end with nothing taken out; many guards have the same tests."""
    with _copy() as root:
        return run_tests(root, tests)


def run_tests(root: Path, tests: str) -> str:
    environ = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    command = f"{sys.executable} -m pytest -q -x -n 2 -p no:cacheprovider {tests}"
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
        return HUNG
    if done.returncode == 0:
        return PASSED
    ran = b"during collection" not in done.stdout
    return FAILED if ran and done.returncode in TESTS_FAILED else f"did not run ({done.returncode})"


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
