"""The same work as a transaction for each order, from pgbench: PostgreSQL's own load generator."""

import re
import subprocess
from pathlib import Path
from statistics import quantiles

from bench.data import BUYERS, PRODUCTS
from bench.load import Load
from tests.postgresql import PostgresServer

TRANSACTIONS = Path(__file__).with_name("transactions")


def run_transactions(
    server: PostgresServer,
    database: str,
    *,
    transaction: str,
    clients: int,
    seconds: int,
    seed: int,
    folder: Path,
) -> Load:
    """Run a script of `transactions/` over and over."""
    command: list[str | Path] = [_pgbench(server), f"--host={server.root}", "--username=shop"]
    command += ["--no-vacuum", "--protocol=prepared", "--jobs=1", f"--client={clients}"]
    command += [f"--time={seconds}", f"--random-seed={seed}"]
    command += [f"--define=buyers={BUYERS}", f"--define=products={PRODUCTS}"]
    command += ["--log", f"--log-prefix={folder / 'pgbench'}"]
    command += [f"--file={TRANSACTIONS / transaction}.sql", database]
    for log in folder.glob("pgbench.*"):
        log.unlink()
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"pgbench failed:\n{run.stdout}{run.stderr}")
    [log] = folder.glob("pgbench.*")
    latencies = [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
    percentiles = quantiles(latencies, n=100)
    requests = int(_found(r"actually processed: (\d+)", run.stdout))
    return Load(
        requests=requests,
        seconds=requests / float(_found(r"tps = ([\d.]+)", run.stdout)),
        refused=int(_found(r"failed transactions: (\d+)", run.stdout)),
        broken=0,
        p50=percentiles[49],
        p99=percentiles[98],
    )


def postmaster(server: PostgresServer) -> int:
    """The process id of the server."""
    return int((server.root / "data" / "postmaster.pid").read_text().split()[0])


def _pgbench(server: PostgresServer) -> Path:
    """The one that came with the server."""
    return Path(f"/proc/{postmaster(server)}/exe").resolve().with_name("pgbench")


def _found(pattern: str, output: str) -> str:
    found = re.search(pattern, output)
    if found is None:
        raise RuntimeError(f"pgbench did not say {pattern!r}:\n{output}")
    return found[1]
