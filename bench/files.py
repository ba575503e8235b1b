"""Products into the shop and out of it by files, beside what databases' own tools do with the same.

`python -m bench.files` makes a file of products and, in turns, on PostgreSQL and on SQLite:

- imports it into an empty shop, and again, when nothing is new;
- has `psql` (`\\copy`) or the `sqlite3` shell (`.import`) read it into a bare table with one index,
  by one upsert statement from a temporary table;
- has them insert the rows into the shop's own tables, with all their indexes and triggers;
- exports all products, and has `psql` or the `sqlite3` shell write them.

Of each the best round counts: the machine is shared. `--rows 1000000 --only shop` is for memory.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.concurrency.servers import environment, shop_command
from tests.postgresql import TEMPLATE, PostgresServer, running_postgresql, unused_name
from tests.stores import migrate

COLUMNS = ("sku", "name", "description", "price", "currency", "stock", "max_per_order", "archived")
BARE = (
    "sku text primary key, name text, description text, price numeric, currency text, "
    "stock bigint, max_per_order bigint, archived boolean"
)
_EACH = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
UPSERT = f"insert into bare select * from loaded where true on conflict (sku) do update set {_EACH}"  # noqa: S608
# What the shop stores of a product, as far as SQL can say it: search texts are shorter here.
INTO_SHOP = """
insert into products (sku, sku_folded, name, description, price, currency, search_key, search_text,
    search_version, archived, version, created_at, modified_at)
select sku, lower(sku), name, description, cast(price * 100 as bigint), currency,
    lower(name) || chr(31) || lower(sku), '  ' || lower(name) || '  ' || lower(sku), 1, false, 1,
    {now}, {now}
from loaded;
insert into stock select id, stock from products join loaded using (sku);
insert into stock_movements (product_id, quantity, balance, reason, note, at)
select id, stock, stock, 'initial', '', {now} from products join loaded using (sku) where stock > 0;
"""


def make_file(path: Path, rows: int) -> None:
    dice = random.Random(1)  # noqa: S311 - products, not secrets
    words = ["oak", "linen", "ceramic", "steel", "wool", "glass", "leather", "bamboo", "copper"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(rows):
            first, second, third = dice.sample(words, 3)
            name = f"{first.title()} {second} {number % 97}"
            text = f"A {first} thing of {second} and {third}."
            price, stock = f"{dice.randrange(1, 200)}.90", dice.randrange(500)
            writer.writerow(
                [f"{third[:3]}-{number:07}", name, text, price, "EUR", stock, "", "false"]
            )


class Timed:
    """The best time of each kind of work, and what it took of memory."""

    def __init__(self) -> None:
        self.best: dict[str, float] = {}
        self.peak: dict[str, int] = {}

    def run(self, name: str, command: list[str], **options: object) -> None:
        began = time.perf_counter()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)  # type: ignore[call-overload]
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - began
            if process.returncode:
                output.seek(0)
                raise SystemExit(f"{name} failed: {output.read().decode()}")
        self.best[name] = min(seconds, self.best.get(name, seconds))
        self.peak[name] = max(usage.ru_maxrss // 1024, self.peak.get(name, 0))
        print(f"  {name:44} {seconds:8.2f} s  {usage.ru_maxrss // 1024:5} MB", flush=True)

    def ratio(self, name: str, to: str, goal: float) -> None:
        if name in self.best and to in self.best:
            found = self.best[to] / self.best[name]
            verdict = "met" if found >= goal else "MISSED"
            print(f"{name}, to {to}: {found:.2f} (goal {goal}: {verdict})")


def postgresql(server: PostgresServer, file: Path, timed: Timed, *, only_shop: bool) -> None:
    name = unused_name("files")
    url = server.create_database(name, template=TEMPLATE)
    shop(url, "PostgreSQL", file, timed)
    psql = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(server.root), "-U", "shop", name]
    if only_shop:
        server.drop_database(name)
        return
    of_products = (
        "select sku, name, description, price, currency, on_hand, max_per_order, archived "
        "from products join stock on product_id = id order by id"
    )
    target = file.with_name("psql.csv")
    timed.run(r"psql \copy to", [*psql, "-c", rf"\copy ({of_products}) to '{target}' csv header"])
    load = [
        "-c",
        f"create temp table loaded ({BARE})",
        "-c",
        rf"\copy loaded from '{file}' csv header",
    ]
    bare = ["-c", f"create table bare ({BARE})"]
    timed.run(r"psql \copy and upsert", [*psql, *bare, *load, "-c", UPSERT])
    server.drop_database(name)
    server.create_database(name, template=TEMPLATE)
    into_shop = INTO_SHOP.format(now="now()")
    timed.run(r"psql \copy and insert into the shop's tables", [*psql, *load, "-c", into_shop])
    server.drop_database(name)


def sqlite(template: Path, file: Path, timed: Timed, *, only_shop: bool) -> None:
    path = file.with_name("shop.sqlite3")
    shutil.copy(template, path)
    shop(f"sqlite+aiosqlite:///{path}", "SQLite", file, timed)
    if not only_shop:
        of_products = "select sku, name, description, price, currency, on_hand, max_per_order, "
        of_products += "archived from products join stock on product_id = id order by id"
        target = file.with_name("sqlite3.csv")
        write = [".headers on", ".mode csv", f".output {target}", of_products]
        timed.run("sqlite3 .output", ["sqlite3", str(path), *write])
        load = [
            f"create temp table loaded ({BARE})",
            ".mode csv",
            f".import --skip 1 {file} loaded",
        ]
        into_bare = [f"create table bare ({BARE})", *load, UPSERT]
        timed.run(
            "sqlite3 .import and upsert", ["sqlite3", str(file.with_name("bare.db")), *into_bare]
        )
        file.with_name("bare.db").unlink()
        remove(path)
        shutil.copy(template, path)
        into_shop = INTO_SHOP.format(now="'2026-11-27 12:00:00.000000'").replace("chr(", "char(")
        command = ["sqlite3", str(path), *load, into_shop]
        timed.run("sqlite3 .import and insert into the shop's tables", command)
    remove(path)


def remove(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def shop(url: str, store: str, file: Path, timed: Timed) -> None:
    for name, command in {
        f"shop import, {store}": ["products", "import", str(file)],
        f"shop import again, {store}": ["products", "import", str(file)],
        f"shop export, {store}": ["products", "export", str(file.with_name("shop.csv"))],
    }.items():
        timed.run(name, shop_command(*command), env=environment(url))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.files", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["shop"], help="the shop alone")
    chosen = parser.parse_args()
    timed, only_shop = Timed(), chosen.only == "shop"
    folder = Path(tempfile.mkdtemp(prefix="shop-files-"))
    try:
        file, template = folder / "products.csv", folder / "template.sqlite3"
        make_file(file, chosen.rows)
        migrate(f"sqlite+aiosqlite:///{template}")
        with running_postgresql(durable=True) as server:
            migrate(server.create_database(TEMPLATE))
            for number in range(1, chosen.rounds + 1):
                print(f"Round {number} of {chosen.rounds}, {chosen.rows:,} rows", flush=True)
                postgresql(server, file, timed, only_shop=only_shop)
                sqlite(template, file, timed, only_shop=only_shop)
    finally:
        shutil.rmtree(folder)
    for store, copy, to in (("PostgreSQL", r"psql \copy", 0.5), ("SQLite", "sqlite3 .import", 0.3)):
        for kind in ("import", "import again"):
            timed.ratio(f"shop {kind}, {store}", f"{copy} and upsert", to)
            timed.ratio(f"shop {kind}, {store}", f"{copy} and insert into the shop's tables", to)
    timed.ratio("shop export, PostgreSQL", r"psql \copy to", 0.3)
    timed.ratio("shop export, SQLite", "sqlite3 .output", 0.3)
    print(f"Memory at most: {max(timed.peak.values())} MB")


if __name__ == "__main__":
    main()
