"""The page on files, played from top to bottom."""

import csv
from pathlib import Path

import pytest

from tests.documents.pages import DOCS, named
from tests.documents.shells import run

PAGE = DOCS / "how-to" / "import-and-export.md"


def stocks(folder: Path) -> dict[str, int]:
    run("shop products export stocks.csv", folder)
    with (folder / "stocks.csv").open(newline="") as file:
        return {row["sku"]: int(row["stock"]) for row in csv.DictReader(file)}


@pytest.mark.long
def test_the_page_on_files_is_right(tmp_path: Path) -> None:
    def play(name: str, *, refuses: bool = False) -> str:
        [block] = named(PAGE, name)
        return run(f"if ({block}); then exit 9; fi" if refuses else block, tmp_path)

    run("shop migrate", tmp_path)
    play("a first file")
    assert "00123\tcreated\t'Green tea' for 4.50 EUR, 120 in stock" in play(
        "a dry run", refuses=True
    )
    assert stocks(tmp_path) == {}
    play("import", refuses=True)
    assert stocks(tmp_path) == {"00123": 120, "POT-1": 15}
    play("put right")
    assert stocks(tmp_path) == {"00123": 120, "POT-1": 15, "POT-2": 1}
    play("a delivery")
    play("json lines")
    assert stocks(tmp_path) == {"00123": 144, "POT-1": 13, "POT-2": 1, "POT-3": 3}
    play("export")
    for name in ("products-now.csv", "orders.jsonl", "ledger.csv"):
        assert (tmp_path / name).exists()
    assert "'=Pot" in (tmp_path / "products-now.csv").read_text()
    again = run("shop products import products-now.csv", tmp_path)
    assert again == "4 rows: 0 created, 0 changed, 4 unchanged.\n"
