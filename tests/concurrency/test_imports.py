"""Imports and exports that somebody breaks off: whole batches stay, and the next run goes on."""

import asyncio
import csv
import io
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shop.domain.bulk import ROWS_MAX
from shop.domain.users import OPERATOR
from tests.concurrency.servers import environment, shop_command
from tests.postgresql import TEMPLATE, PostgresServer, unused_name
from tests.stores import sql_store
from tests.use_cases import UseCases

BATCHES = 12
ROWS = BATCHES * ROWS_MAX
SECONDS_MAX = 120.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Products that are not there yet."""
    path = tmp_path / "products.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "name", "price", "stock"])
        writer.writerows([f"A-{number}", "Teapot", "1.00", 5] for number in range(ROWS))
    return path


def shop(url: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shop_command(*map(str, arguments)),
        env=environment(url),
        text=True,
        capture_output=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@contextmanager
def running(url: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        shop_command(*map(str, arguments)),
        env=environment(url),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stocks(url: str) -> dict[str, int]:
    exported = shop(url, "products", "export")
    assert exported.returncode == 0, exported.stderr
    rows = csv.DictReader(io.StringIO(exported.stdout, newline=""))
    return {row["sku"]: int(row["stock"]) for row in rows}


def counted(url: str) -> int:
    async def count() -> int:
        async with sql_store(url) as store:
            shop = UseCases(store.unit_of_work)
            total = 0
            async for step in shop.export_ledger(caller=OPERATOR):
                total += len(step.movements)
            await shop.close()
            return total

    return asyncio.run(count())


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_in_read(pid: int) -> bool:
    """Whether it waits for its standard input."""
    call, *arguments = Path(f"/proc/{pid}/syscall").read_text().split()
    # The number of `read` on x86-64 and on ARM64.
    return call in ("0", "63") and arguments[0] == "0x0"


def check_whole_batches(url: str) -> int:
    saved = stocks(url)
    assert len(saved) % ROWS_MAX == 0
    assert 0 < len(saved) < ROWS
    assert set(saved.values()) == {5}
    return len(saved)


def check_goes_on(url: str, path: Path, saved: int) -> None:
    again = shop(url, "products", "import", path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == (
        f"{ROWS:,} rows: {ROWS - saved:,} created, 0 changed, {saved:,} unchanged.\n"
    )
    assert len(stocks(url)) == ROWS
    assert shop(url, "stock", "verify").returncode == 0


@pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)
def test_who_is_killed_leaves_whole_batches_and_the_next_run_goes_on(url: str, path: Path) -> None:
    with running(url, "products", "import", path) as process:
        wait_until(lambda: counted(url) > 0)
        process.kill()
        process.wait()
    check_goes_on(url, path, check_whole_batches(url))


@pytest.mark.long
def test_differences_are_added_once_though_who_adds_them_is_killed(
    url: str, path: Path, tmp_path: Path
) -> None:
    assert shop(url, "products", "import", path).returncode == 0
    delivery = tmp_path / "delivery.csv"
    delivery.write_text("sku,delta\n" + "".join(f"A-{number},2\n" for number in range(ROWS)))
    command = ("products", "import", delivery, "--key", "note-17", "--reason", "restock")
    with running(url, *command) as process:
        wait_until(lambda: counted(url) > ROWS)
        process.kill()
        process.wait()
    added = [stock for stock in stocks(url).values() if stock == 7]
    assert len(added) % ROWS_MAX == 0
    assert 0 < len(added) < ROWS
    again = shop(url, *command)
    assert again.returncode == 0, again.stderr
    assert f"{len(added):,} of them were done before under this key." in again.stdout
    assert set(stocks(url).values()) == {7}
    assert shop(url, "stock", "verify").returncode == 0


@pytest.mark.parametrize(
    "url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.long)], indirect=True
)
def test_who_is_interrupted_is_told_how_to_go_on(url: str, path: Path) -> None:
    with running(url, "products", "import", path) as process:
        wait_until(lambda: counted(url) > 0)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 1
    assert "Traceback" not in stderr
    told = re.search(r"Interrupted: ([0-9,]+) rows are saved.*Run the same command again", stderr)
    assert told is not None, stderr
    saved = check_whole_batches(url)
    assert int(told[1].replace(",", "")) <= saved
    check_goes_on(url, path, saved)


@pytest.mark.long
def test_an_atomic_import_that_is_killed_leaves_nothing(url: str, path: Path) -> None:
    with running(url, "products", "import", path, "--atomic") as process:
        assert process.stderr is not None
        # What it tells of is written, and not committed.
        assert "rows" in process.stderr.readline()
        process.kill()
        process.wait()
    assert stocks(url) == {}
    assert shop(url, "products", "import", path, "--atomic").returncode == 0
    assert len(stocks(url)) == ROWS


@pytest.mark.long
def test_who_loses_the_database_is_told_how_to_go_on(
    durable_postgresql: PostgresServer, path: Path
) -> None:
    url = durable_postgresql.create_database(unused_name("import"), template=TEMPLATE)
    with running(url, "products", "import", path) as process:
        wait_until(lambda: counted(url) > 0)
        durable_postgresql.stop()
        try:
            _, stderr = process.communicate(timeout=SECONDS_MAX)
        finally:
            durable_postgresql.start()
    assert process.returncode == 1
    assert "Traceback" not in stderr
    assert "Run the same command again" in stderr
    check_goes_on(url, path, check_whole_batches(url))


def test_who_waits_for_a_pipe_can_be_interrupted(sqlite_url: str) -> None:
    process = subprocess.Popen(
        shop_command("products", "import", "-"),
        env=environment(sqlite_url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        # Nothing comes, so there is one read, and it does not return.
        wait_until(lambda: is_in_read(process.pid))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_who_reads_an_export_may_hang_up(url: str, path: Path) -> None:
    assert shop(url, "products", "import", path).returncode == 0
    with running(url, "products", "export") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("sku,")
        process.stdout.close()
        assert process.wait(timeout=SECONDS_MAX) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.long
def test_a_full_disk_is_said_and_leaves_the_old_file(url: str, path: Path) -> None:
    assert shop(url, "products", "import", path).returncode == 0
    exported = shop(url, "products", "export", "/dev/full")
    assert exported.returncode == 1
    assert "could not be written (No space left on device)" in " ".join(exported.stderr.split())
    assert "Traceback" not in exported.stderr
