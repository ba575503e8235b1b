"""Commands that somebody interrupts by Ctrl-C: they say what is done, and how to go on."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shop.adapters.exports import NewFile
from shop.adapters.sql import schema
from shop.adapters.sql.sessions import SqlSessionRepository
from shop.domain.services.cancel_order import CancelOrder
from shop.domain.services.export import ExportProducts
from shop.domain.services.keep_catalogue import AddProducts
from shop.domain.services.verify_stock import RepairStock
from shop.entrypoints.cli import transfer
from tests.entrypoints.test_cli import (
    EMBEDDED,
    PASSWORD,
    Shop,
    change,
    elsewhere,
    insert_order,
    rows,
    shop,
)

__all__ = ["elsewhere", "shop"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def interrupted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command and interrupts it at a call of this method. What it said on stderr."""

    def run(command: str, owner: Any, method: str, *, call: int = 1, **variables: str) -> str:
        do, calls = getattr(owner, method), 0

        def interrupt(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                signal.raise_signal(signal.SIGINT)
            return do(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, method, interrupt)
            result = shop(command, **variables)
        assert calls >= call
        assert result.exit_code == 1
        said = " ".join(result.stderr.split())
        assert said.endswith("Aborted.")
        return said

    return run


def test_of_unpaid_orders_those_that_are_cancelled_are_counted(
    shop: Shop, interrupted: Callable[..., str]
) -> None:
    shop("create-user ann --password-stdin", stdin=PASSWORD)
    shop("add-products --count 1")
    for number in range(3):
        insert_order(f"{number:032x}", code=f"ABCDEFGH123{number}")
    command = "orders cancel-unpaid --older-than 1d"
    said = interrupted(command, CancelOrder, "__call__", call=2)
    assert "Interrupted: 1 unpaid order was cancelled, and perhaps one more." in said
    assert "Run the same command again for the rest." in said
    assert shop(command).exit_code == 0
    assert rows(EMBEDDED, "SELECT DISTINCT status FROM orders") == [("cancelled",)]


def test_of_corrections_those_that_are_written_are_counted(
    shop: Shop, interrupted: Callable[..., str]
) -> None:
    shop("add-products --count 3")
    change(EMBEDDED, "UPDATE stock SET on_hand = on_hand + 1")
    command = "stock verify --repair --yes"
    said = interrupted(command, RepairStock, "__call__", call=2)
    assert (
        "Interrupted: corrections for 1 of 3 differences are written, and perhaps one more." in said
    )
    assert shop(command).exit_code == 0
    assert shop("stock verify").exit_code == 0


def test_of_samples_those_that_are_there_are_counted(
    shop: Shop, interrupted: Callable[..., str]
) -> None:
    said = interrupted("add-products --count 4500", AddProducts, "__call__", call=2)
    assert "products are there, and perhaps some more. Run the same command again" in said
    assert shop("add-products --count 4500").exit_code == 0
    assert rows(EMBEDDED, "SELECT count(*) FROM products") == [(4_500,)]


def test_a_file_of_an_export_is_as_it_was_before(
    shop: Shop, interrupted: Callable[..., str]
) -> None:
    shop("add-products --count 3")
    file = Path("products.csv")
    file.write_text("of before")
    said = interrupted(f"products export {file}", ExportProducts, "__call__")
    assert f"Interrupted: {file} is as it was before. Run the same command again." in said
    assert file.read_text() == "of before"
    assert list(Path.cwd().glob("*.partial")) == []
    said = interrupted("products export", ExportProducts, "__call__")
    assert "Interrupted: what was written is not all, 0 products or some more." in said


def test_an_export_of_a_shop_is_to_be_deleted(shop: Shop, interrupted: Callable[..., str]) -> None:
    shop("demo")
    said = interrupted("export out", NewFile, "finish")
    assert f"Interrupted: {Path('out').absolute()} is no whole export. Delete it, and run" in said
    assert shop("export out").exit_code == 1


@pytest.mark.parametrize(("step", "is_in"), [("import_files", False), ("find_differences", True)])
def test_an_import_of_a_shop_leaves_nothing_or_all(
    shop: Shop, interrupted: Callable[..., str], step: str, is_in: bool
) -> None:
    other = {"SHOP_DATABASE_URL": "sqlite+aiosqlite:///other.sqlite3"}
    shop("demo")
    shop("export out")
    shop("migrate", **other)
    said = interrupted("import out", transfer, step, **other)
    assert "Interrupted: nothing is written, or all if it was at the very end. Run the same" in said
    again = shop("import out", **other)
    assert again.exit_code == 0
    assert ("The shop has all of this export already" in again.stdout) is is_in


def test_a_migration_is_run_again(shop: Shop, interrupted: Callable[..., str]) -> None:
    said = interrupted("migrate", schema, "_upgrade")
    assert (
        "Interrupted: the schema is that of before, of a migration in between, or the new" in said
    )
    assert shop("migrate").exit_code == 0


def test_a_purge_is_run_again(shop: Shop, interrupted: Callable[..., str]) -> None:
    said = interrupted("purge-sessions", SqlSessionRepository, "purge")
    assert "Interrupted: a part is forgotten. Run the same command again for the rest." in said
