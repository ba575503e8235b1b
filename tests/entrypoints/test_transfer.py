"""`shop export` and `shop import`, as an operator calls them."""

import json
import os
import stat
from pathlib import Path

import pytest

from shop.adapters.sql.schema import head
from tests.entrypoints.test_cli import (
    EMBEDDED,
    Shop,
    change,
    elsewhere,
    insert,
    refusal,
    rows,
    shop,
)

__all__ = ["elsewhere", "shop"]

OTHER = Path("other.sqlite3")
OTHER_URL = f"sqlite+aiosqlite:///{OTHER}"
IN_OTHER = {"SHOP_DATABASE_URL": OTHER_URL}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def exported(shop: Shop) -> Shop:
    """A shop with a few things in it, exported to `out`; and another one that is empty."""
    assert shop("demo").exit_code == 0
    assert shop("export out").exit_code == 0
    assert shop("migrate", **IN_OTHER).exit_code == 0
    return shop


def test_a_shop_moves_and_is_verified(exported: Shop) -> None:
    result = exported("import out", **IN_OTHER)
    assert result.exit_code == 0, result.output
    assert f"Imported 152 rows of 13 tables into {OTHER.absolute()}" in result.stdout
    assert "each table has the checksum of the export" in result.stdout
    assert "The ledger agrees with the stock and with all orders." in result.stdout
    for table in ("users", "products", "stock", "listings", "stock_movements"):
        everything = f"SELECT * FROM {table}"  # noqa: S608
        assert rows(OTHER, everything) == rows(EMBEDDED, everything)
    found = exported("products list --search blanket", **IN_OTHER)
    assert found.stdout == exported("products list --search blanket").stdout
    assert len(found.stdout.splitlines()) > 2


def test_what_was_imported_before_is_told_apart_from_another_shop(exported: Shop) -> None:
    assert exported("import out", **IN_OTHER).exit_code == 0
    again = exported("import out", **IN_OTHER)
    assert again.exit_code == 0
    assert "The shop has all of this export already: nothing was done." in again.stdout
    # As many rows, and not the same.
    change(OTHER, "UPDATE products SET name = 'Another' WHERE id = 1")
    message = refusal(exported("import out", **IN_OTHER))
    assert "has something in it already (2 rows in users)" in message
    assert "`shop migrate`" in message
    assert rows(OTHER, "SELECT name FROM products WHERE id = 1") == [("Another",)]


def test_a_shop_that_has_anything_is_not_filled(exported: Shop) -> None:
    assert exported("add-products --count 1", **IN_OTHER).exit_code == 0
    assert "(1 row in products)" in refusal(exported("import out", **IN_OTHER))
    assert rows(OTHER, "SELECT count(*) FROM users") == [(0,)]


def test_it_is_its_owners_alone(exported: Shop) -> None:
    """Password hashes are in it."""
    folder = Path("theirs/out")
    before = os.umask(0)
    try:
        assert exported(f"export {folder}").exit_code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {f"{name}.jsonl" for name in manifest["files"]} | {"manifest.json"} == {
        file.name for file in folder.iterdir()
    }
    assert (manifest["format"], manifest["revision"], manifest["engine"]) == (1, head(), "sqlite")


def test_an_export_overwrites_nothing(exported: Shop) -> None:
    before = {file: file.read_bytes() for file in Path("out").iterdir()}
    assert "is not empty, and nothing is overwritten" in refusal(exported("export out"))
    assert {file: file.read_bytes() for file in Path("out").iterdir()} == before
    Path("empty").mkdir()
    assert exported("export empty").exit_code == 0


def test_an_interrupted_export_is_none(exported: Shop) -> None:
    (Path("out") / "manifest.json").unlink()
    message = refusal(exported("import out", **IN_OTHER))
    assert "is no whole export: it has no manifest.json, which is written last" in message
    assert "delete it" in refusal(exported("export out"))


def test_a_fault_is_told_by_file_and_line_before_anything_is_written(exported: Shop) -> None:
    lines = Path("out/stock_movements.jsonl").read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"id":7', b'"id":"')
    Path("out/stock_movements.jsonl").write_bytes(b"".join(lines))
    message = refusal(exported("import out", **IN_OTHER))
    assert "out/stock_movements.jsonl, line 7: " in message
    assert rows(OTHER, "SELECT count(*) FROM users") == [(0,)]


def test_prices_in_another_currency(exported: Shop) -> None:
    other = {"SHOP_DATABASE_URL": "sqlite+aiosqlite:///third.sqlite3", "SHOP_CURRENCY": "USD"}
    assert exported("migrate", **other).exit_code == 0
    message = refusal(exported("import out", **other))
    assert "has prices in EUR, and this shop is one with USD" in message


def test_an_export_of_another_schema(exported: Shop) -> None:
    path = Path("out/manifest.json")
    path.write_text(path.read_text().replace(f'"{head()}"', '"0007"'))
    message = refusal(exported("import out", **IN_OTHER))
    assert "The export has the schema 0007 of shop 0.1.0" in message
    assert "import it with that version, and upgrade then" in message


def test_a_ledger_that_differs_moves_as_it_is_and_is_told(shop: Shop) -> None:
    """The one who finds out is the one who moves: nothing is set right on the way."""
    assert shop("demo").exit_code == 0
    change(EMBEDDED, "UPDATE stock SET on_hand = on_hand + 1 WHERE product_id = 3")
    assert shop("export out").exit_code == 0
    assert shop("migrate", **IN_OTHER).exit_code == 0
    result = shop("import out", **IN_OTHER)
    assert "Imported 152 rows" in result.stdout
    assert "The ledger has 1 difference, as it had where it was exported" in refusal(result)
    everything = "SELECT * FROM stock"
    assert rows(OTHER, everything) == rows(EMBEDDED, everything)


def test_an_export_with_nothing_in_it_is_one(shop: Shop) -> None:
    assert shop("export out").exit_code == 0
    assert shop("migrate", **IN_OTHER).exit_code == 0
    assert shop("import out", **IN_OTHER).exit_code == 0


def test_what_a_database_should_not_hold_is_told_when_it_is_imported(shop: Shop) -> None:
    insert(
        "users",
        username="a\0b",
        password_hash="x",
        role="customer",
        disabled=0,
        created_at="2026-03-01 12:00:00.000000",
    )
    assert shop("export out").exit_code == 0
    assert shop("migrate", **IN_OTHER).exit_code == 0
    message = refusal(shop("import out", **IN_OTHER))
    assert "users.jsonl, line 1: a text has the character NUL" in message


def test_how_far_it_is_is_said(shop: Shop) -> None:
    assert shop("add-products --count 2500").exit_code == 0
    exported = shop("export out")
    assert "rows exported" in exported.stderr
    assert shop("migrate", **IN_OTHER).exit_code == 0
    imported = shop("import out", **IN_OTHER)
    for done in ("checked", "written", "compared"):
        assert f"7500 of 7500 rows {done}" in imported.stderr
    assert "rows" not in exported.stdout.replace("7,500 rows of 13 tables", "")
