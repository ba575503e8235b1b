"""How long `shop import-django` takes: `python -m bench.moving [orders]`.

The real Django makes the old shop, in SQLite; it is moved into SQLite and into PostgreSQL, and then
once more, when nothing is new.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.postgresql import running_postgresql

_ROOT = Path(__file__).parent.parent
SHOP = str(Path(sys.executable).with_name("shop"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("orders", type=int, nargs="?", default=100_000)
    orders = parser.parse_args().orders
    with tempfile.TemporaryDirectory() as folder, running_postgresql() as server:
        old = f"sqlite:///{folder}/old.sqlite3"
        rows = {"large": {"users": orders // 10, "products": orders // 20, "orders": orders}}
        subprocess.run(
            [sys.executable, "-m", "tests.djangoshop", old],
            input=json.dumps(rows),
            text=True,
            check=True,
            cwd=_ROOT,
        )
        for name, url in (
            ("SQLite", f"sqlite+aiosqlite:///{folder}/new.sqlite3"),
            ("PostgreSQL", server.create_database("moving")),
        ):
            _run(url, "migrate")
            for what in ("first run", "second run"):
                seconds, cpu_seconds = _run(url, "import-django", old)
                print(
                    f"{orders} orders into {name}, {what}: {seconds:.1f} s, "
                    f"of them {cpu_seconds:.1f} s of a processor in the command",
                    flush=True,
                )
            _run(url, "stock", "verify")


def _run(url: str, *arguments: str) -> tuple[float, float]:
    """How long it took, and how long it kept a processor busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(
        [SHOP, *arguments],
        env={**os.environ, "SHOP_DATABASE_URL": url},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, worked


if __name__ == "__main__":
    main()
