"""`shop products import` and the exports: as an operator runs them, over a shop in SQLite."""

import asyncio
import csv
import io
import json
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.bulk import ROWS_MAX
from shop.domain.errors import WriteConflict
from shop.domain.services.save_products import SaveProducts
from shop.entrypoints.cli import importing
from shop.entrypoints.cli.main import main
from shop.entrypoints.settings import Settings, variable
from tests.concurrency.servers import words_of

PRODUCTS = Path("products.csv")


def run(command: str, *, stdin: str | bytes | None = None, **variables: str) -> Result:
    own: dict[str, str | None] = {variable(name): None for name in Settings.__struct_fields__}
    wide = {"COLUMNS": "300", "TERMINAL_WIDTH": "300"}
    return CliRunner().invoke(
        # As on a terminal: what one would obey is not taken away.
        main,
        words_of(command),
        input=stdin,
        env=own | wide | variables,
        color=True,
    )


@pytest.fixture
def shop(
    migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs commands in the folder of a shop that has nothing in it."""
    monkeypatch.chdir(tmp_path)
    Path("var").mkdir()
    shutil.copy(migrated_sqlite, "var/shop.sqlite3")
    return run


def imported(text: str, options: str = "") -> Result:
    PRODUCTS.write_bytes(text.encode())
    return run(f"products import {PRODUCTS} {options}")


def exported(options: str = "") -> list[dict[str, str]]:
    result = run(f"products export {options}")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout, newline="")))


def stocks() -> dict[str, int]:
    return {row["sku"]: int(row["stock"]) for row in exported()}


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


def test_products_are_created_changed_and_left(shop: Any) -> None:
    first = imported("sku,name,price,stock\nA,Tea,1.00,5\nB,Cup,2.00,\n")
    assert (first.exit_code, first.stdout) == (0, "2 rows: 2 created, 0 changed, 0 unchanged.\n")
    second = imported("sku,name,price,stock\na,Tea,1.00,5\nB,Mug,2.00,3\nC,Pot,3.00,1\n")
    assert second.stdout == "3 rows: 1 created, 1 changed, 1 unchanged.\n"
    assert [(row["sku"], row["name"], row["stock"]) for row in exported()] == [
        ("A", "Tea", "5"),
        ("B", "Mug", "3"),
        ("C", "Pot", "1"),
    ]


def test_importing_again_writes_nothing(shop: Any) -> None:
    imported("sku,name,price,stock\nA,Tea,1.00,5\n")
    before = Path("var/shop.sqlite3").read_bytes()
    again = run(f"products import {PRODUCTS}")
    assert again.stdout == "1 row: 0 created, 0 changed, 1 unchanged.\n"
    assert Path("var/shop.sqlite3").read_bytes() == before


def test_bad_rows_are_told_and_the_others_go_in(shop: Any) -> None:
    result = imported("sku,name,price\nA,Tea,1.00\nB,,x\nC,Pot,\n\nD,Cup,4.00\nE,Mug,1,00\n")
    assert result.exit_code == 1
    assert result.stdout == "5 rows: 2 created, 0 changed, 0 unchanged, 3 refused.\n"
    told = result.stderr.splitlines()
    assert told[0] == "Line 3, name: must have 1 to 200 characters"
    assert told[1] == "Line 3, price: 'x' must be a decimal string such as \"12.00\""
    assert told[2] == 'Line 4, price: must be a decimal string such as "12.00"'
    assert told[3].startswith("Line 7: 'E | Mug | 1 | 00' has 4 cells, and the header 3")
    assert "3 rows were refused." in said(result)
    assert stocks().keys() == {"A", "D"}


def test_what_the_shop_refuses_is_told_like_what_is_wrong_in_the_file(shop: Any) -> None:
    imported("sku,name,price,stock\nA,Tea,1.00,5\nB,Tea,1.00,5\n")
    run("products archive B")
    result = imported("Nr,name,stock,expected\nA,Tea,7,6\nB,Pot,,\nC,Cup,,\n", "--map Nr=sku")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:3] == [
        "Line 2, expected: '6' The stock is 5, not the expected 6; nothing was changed.",
        "Line 3: Product 2 is archived; restore it first, by `POST /api/products/2/restore/` or "
        "`shop products restore`.",
        "Line 4, price: is required of a new product",
    ]


def test_a_sku_that_comes_again_is_refused_with_the_line_of_the_first(shop: Any) -> None:
    many = "".join(f"M-{number},x,1.00\n" for number in range(ROWS_MAX))
    result = imported(f"sku,name,price\nTea-1,a,1.00\n{many}TEA-1 ,b,2.00\ntea-1,c,3.00\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:2] == [
        "Line 1003, sku: 'TEA-1 ' is on line 2 already",
        "Line 1004, sku: 'tea-1' is on line 2 already",
    ]
    assert exported()[0]["name"] == "a"


def test_rejects_can_be_put_right_and_imported(shop: Any) -> None:
    options = '--map "Artikelnr=sku" --decimal , --rejects rejects.csv'
    text = "Artikelnr;name;price;note\r\nA;=Tea;1,00;x\r\nB;=Cup;?;=1+1\r\nB2;c\r\n"
    assert imported(text, options).exit_code == 1
    content = Path("rejects.csv").read_bytes().decode("utf-8-sig")
    [first, second] = csv.DictReader(io.StringIO(content, newline=""), delimiter=";")
    assert (first["Artikelnr"], first["rejected_line"], first["rejected_column"]) == (
        "B",
        "3",
        "price",
    )
    assert first["rejected_value"] == "?"
    assert "must be a number" in first["rejected_reason"]
    # A person may open it in a spreadsheet, too.
    assert (first["name"], first["note"]) == ("'=Cup", "'=1+1")
    assert "has 2 cells" in second["rejected_reason"]
    Path("rejects.csv").write_text(content.replace(";?;", ";2,00;"), encoding="utf-8-sig")
    again = run(f"products import rejects.csv {options.replace('rejects.csv', 'more.csv')}")
    assert "1 created" in again.stdout
    assert "not read: note." in said(again)
    assert {row["sku"]: row["name"] for row in exported("--raw")} == {"A": "=Tea", "B": "=Cup"}
    assert b"B2" in Path("more.csv").read_bytes()


def test_rejects_of_json_lines_are_json_lines(shop: Any) -> None:
    text = '{"sku":"A","name":"Tea","price":"x"}\nno json\n'
    result = shop("products import - --rejects rejects.jsonl", stdin=text)
    assert result.exit_code == 1
    rejects = [json.loads(line) for line in Path("rejects.jsonl").read_text().splitlines()]
    assert rejects[0]["name"] == "Tea"
    assert [each["column"] for each in rejects[0]["rejected"]] == ["price"]
    assert rejects[1]["rejected"][0]["line"] == 2
    Path("rejects.jsonl").write_text(json.dumps(rejects[0] | {"price": "1"}))
    assert "1 created" in shop("products import rejects.jsonl").stdout


def test_old_rejects_are_gone_when_there_are_none(shop: Any) -> None:
    imported("sku\n?\n", "--rejects rejects.csv")
    assert Path("rejects.csv").stat().st_size > 0
    imported("sku,name,price\nA,Tea,1\n", "--rejects rejects.csv")
    assert Path("rejects.csv").stat().st_size == 0


def test_a_dry_run_says_what_would_change_and_changes_nothing(shop: Any) -> None:
    imported("sku,name,price,stock\nA,Tea,1.00,5\nB,Cup,1.00,5\n")
    before = Path("var/shop.sqlite3").read_bytes()
    result = imported(
        "sku,name,price,stock\nA,Tee,1.50,6\nB,Cup,1.00,5\nC,Pot,2,1\n?,x,1,1\n", "--dry-run"
    )
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "line\tsku\tchange\twhat",
        "2\tA\tchanged\tname 'Tea' -> 'Tee', price 1.00 -> 1.50, stock 5 -> 6",
        "4\tC\tcreated\t'Pot' for 2.00 EUR, 1 in stock",
    ]
    assert "1 created, 1 changed, 1 unchanged, 1 refused. It was a dry run" in said(result)
    assert Path("var/shop.sqlite3").read_bytes() == before
    as_json = run(f"products import {PRODUCTS} --dry-run --json")
    assert [each["sku"] for each in json.loads(as_json.stdout)] == ["A", "C"]


@pytest.mark.parametrize(
    "text",
    [
        "sku,name,price,\x1b]0;evil\x07\nA,Tea,1.00,9\n",
        "name,\x1b]0;evil\x07\nTea,9\n",
        '{"sku": "A", "name": "Tea", "price": "1.00", "\\u001b]0;evil": 9}\n',
    ],
    ids=["not read", "no sku", "json"],
)
def test_no_name_of_a_column_is_obeyed_by_a_terminal(shop: Any, text: str) -> None:
    result = imported(text, "--format jsonl" if text.startswith("{") else "")
    assert "\\x1b]0;evil" in result.output
    assert "\x1b]" not in result.output


def test_no_name_of_a_wrong_column_is_obeyed_by_a_terminal(shop: Any) -> None:
    result = imported("sku,name,\x1b]0;evil\x07\nA,Tea,x\n", '--map "\x1b]0;evil\x07=price"')
    assert "Line 2, \\x1b]0;evil\\x07: 'x' must be" in result.stderr


def test_an_atomic_import_saves_all_or_nothing(shop: Any) -> None:
    many = "".join(f"M-{number},x,1.00\n" for number in range(ROWS_MAX + 1))
    result = imported(f"sku,name,price\n{many}?,x,1.00\n", "--atomic")
    assert result.exit_code == 1
    assert "So nothing was saved" in result.stdout
    assert "Line 1003, sku: '?'" in result.stderr
    assert exported() == []
    assert imported(f"sku,name,price\n{many}", "--atomic").exit_code == 0
    assert len(exported()) == ROWS_MAX + 1


def test_what_the_shop_refuses_undoes_an_atomic_import(shop: Any) -> None:
    imported("sku,name,price,stock\nA,Tea,1.00,5\n")
    many = "".join(f"M-{number},x,1,1,0\n" for number in range(ROWS_MAX + 1))
    result = imported(f"sku,name,price,stock,expected\n{many}A,Tea,1.00,9,4\n", "--atomic")
    assert result.exit_code == 1
    assert "not the expected 4" in result.stderr
    assert stocks() == {"A": 5}


def test_an_atomic_import_that_lost_a_race_begins_anew(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first command claims the shop's currency, by a COMMIT of its own.
    run("products list")
    commit, races = SqlUnitOfWork.commit, [WriteConflict("lost"), WriteConflict("lost")]

    async def losing(self: SqlUnitOfWork, result: object = None) -> None:
        if races:
            raise races.pop()
        await commit(self, result)

    monkeypatch.setattr(SqlUnitOfWork, "commit", losing)
    # UTF-16, whose mark is to be passed over each time.
    PRODUCTS.write_bytes("sku;name;price\nA;Tea;1.00\nB;Grün;1.00\n".encode("utf-16"))
    result = run(f"products import {PRODUCTS} --atomic")
    assert result.exit_code == 0, result.output
    assert result.stdout == "2 rows: 2 created, 0 changed, 0 unchanged.\n"
    assert result.stderr.count("once more from the first row") == 2
    assert not races


def test_an_atomic_import_waits_for_its_commit_longer_than_anybody_who_is_served(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("products list")
    send_commit = SqlUnitOfWork._send_commit

    async def slowly(self: SqlUnitOfWork, lent: PooledConnection) -> None:
        await asyncio.sleep(0.5)
        await send_commit(self, lent)

    monkeypatch.setattr(SqlUnitOfWork, "_send_commit", slowly)
    PRODUCTS.write_text("sku,name,price\nA,Tea,1.00\n")
    result = run(f"products import {PRODUCTS} --atomic", SHOP_DATABASE_STATEMENT_TIMEOUT="0.3")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(exported()) == 1


DELIVERY = "sku,delta\nA,3\nB,-1\n?,2\nA-3,1\n"


@pytest.fixture
def delivered(shop: Any) -> Callable[..., Result]:
    imported("sku,name,price,stock\nA,Tea,1.00,5\nB,Cup,1.00,5\n")
    return shop  # type: ignore[no-any-return]


def test_differences_are_added_once_for_their_key(delivered: Any) -> None:
    assert imported(DELIVERY, "--key note-17").exit_code == 1
    assert stocks() == {"A": 8, "B": 4}
    again = imported(DELIVERY, "--key note-17")
    assert stocks() == {"A": 8, "B": 4}
    assert again.exit_code == 1
    assert again.stdout.endswith("2 refused. 4 of them were done before under this key.\n")
    assert "Line 4, sku: '?' must be" in again.stderr
    assert "Line 5, name: is required" in again.stderr
    imported(DELIVERY, "--key note-18")
    assert stocks() == {"A": 11, "B": 3}


@pytest.mark.parametrize(
    "command",
    [
        "products export out.xlsx",
        "products export --format csv out.ODS",
        "orders export out.xls",
        "stock export out.numbers",
        "products import products.csv --rejects out.xlsx",
    ],
)
def test_no_text_is_written_under_the_name_of_a_workbook(shop: Any, command: str) -> None:
    PRODUCTS.write_text("sku\nA\n")
    result = run(command)
    assert result.exit_code == 2
    assert "is the name of a workbook, and what is written is text: call it .csv" in said(result)
    assert not list(Path().glob("out.*"))


@pytest.mark.parametrize("name", ["cp1252", "windows-1252", "Windows_1252"])
def test_an_encoding_has_one_name_in_messages(shop: Any, name: str) -> None:
    PRODUCTS.write_bytes(b"sku,name,price\nA,T\x81a,1.00\n")
    result = run(f"products import {PRODUCTS} --encoding {name}")
    assert result.exit_code == 1
    assert "products.csv is not windows-1252: line 2 has the byte 0x81" in said(result)


def test_a_key_is_for_one_content(delivered: Any) -> None:
    imported(DELIVERY, "--key note-17")
    result = imported(DELIVERY.replace("A,3", "A,4"), "--key note-17")
    assert result.exit_code == 1
    assert "Lines 2 to 5 were imported under the key 'note-17' before" in said(result)
    assert stocks() == {"A": 8, "B": 4}


def test_an_atomic_import_is_done_once_for_its_key(delivered: Any) -> None:
    imported("sku,delta\nA,3\n", "--key note-17 --atomic")
    result = imported("sku,delta\nA,3\n", "--key note-17 --atomic")
    assert result.exit_code == 1
    assert "under the key 'note-17' before" in said(result)
    assert stocks() == {"A": 8, "B": 5}


def test_a_dry_run_of_differences_needs_no_key_and_uses_none_up(delivered: Any) -> None:
    assert "stock 5 -> 8" in imported(DELIVERY, "--dry-run --key note-17").stdout
    assert "stock 5 -> 8" in imported(DELIVERY, "--dry-run").stdout
    imported(DELIVERY, "--key note-17")
    assert stocks() == {"A": 8, "B": 4}


def test_differences_without_a_key_are_refused(delivered: Any) -> None:
    result = imported(DELIVERY)
    assert result.exit_code == 1
    assert "Give --key" in said(result)
    assert stocks() == {"A": 5, "B": 5}


ROWS = "sku,name,price\n" + "".join(f"M-{number},x,1.00\n" for number in range(2_500))


def test_how_far_it_is_comes_in_lines_where_there_is_no_terminal(shop: Any) -> None:
    told = imported(ROWS).stderr.splitlines()
    assert re.fullmatch(r"2,[05]00 rows, [0-9]+%, [0-9,]+ a second, 0:00:[0-9]{2} left", told[-1])
    assert not any(line.startswith("1,000 rows") for line in told)


def test_how_far_it_is_comes_as_a_bar_on_a_terminal(shop: Any) -> None:
    PRODUCTS.write_text(ROWS + "?,x,1\n")
    told = run(f"products import {PRODUCTS}", FORCE_COLOR="1", TERM="xterm").stderr
    assert re.search("rows .*━.*%.* a second", told)
    # Beside the bar, and whole.
    assert "Line 2502, sku: '?' must be 1 to 64 letters" in told


def test_rows_that_are_huge_come_in_smaller_batches(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_LENGTH_MAX", 10_000)
    saved: list[int] = []
    save = SaveProducts.__call__

    async def noted(self: SaveProducts, **options: Any) -> Any:
        saved.append(len(options["rows"]))
        return await save(self, **options)

    monkeypatch.setattr(SaveProducts, "__call__", noted)
    huge = "".join(f"A-{number},x,1,{'y' * 4_000}\n" for number in range(5))
    assert imported(f"sku,name,price,description\n{huge}").exit_code == 0
    assert saved == [3, 2]


def test_the_reason_goes_into_the_ledger(shop: Any) -> None:
    imported("sku,name,price,stock\nA,Tea,1,5\n")
    imported("sku,stock\nA,3\n", '--reason "spring count"')
    result = shop("stock export --format jsonl")
    ledger = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["sku"], each["quantity"], each["reason"]) for each in ledger] == [
        ("A", 5, "initial"),
        ("A", -2, "correction"),
    ]
    assert ledger[1]["note"] == "spring count"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--map Artikelnr", "is not THEIRS=OURS"),
        ("--map Artikelnr=colour", "ours are sku, name"),
        ("--encoding klingon", "is no encoding"),
        ("--encoding rot13", "is no encoding"),
        ("--encoding utf-7", "is no encoding"),
        ("--delimiter ,;", "neither comma, semicolon, tab"),
        ("--key ''", "must have 1 to 200 characters"),
        ("--reason ''", "must have 1 to 200 characters"),
        ("--json", "--dry-run"),
        ("--rejects products.csv", "is FILE itself"),
    ],
)
def test_wrong_options_are_wrong_usage(shop: Any, options: str, message: str) -> None:
    result = imported("sku,name,price\nA,Tea,1\n", options)
    assert result.exit_code == 2
    assert message in said(result)
    assert exported() == []


def test_a_file_that_is_not_there_is_wrong_usage(shop: Any) -> None:
    assert shop("products import nowhere.csv").exit_code == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sku;name\nA;Grüner Tee\n".encode("windows-1252"), "--encoding windows-1252"),
        (b"PK\x03\x04....", "workbook"),
        (b"Nr;name\nA;Tea\n", "--map"),
        (b"", "nothing in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(
    shop: Any, content: bytes, message: str
) -> None:
    PRODUCTS.write_bytes(content)
    result = shop(f"products import {PRODUCTS}")
    assert result.exit_code == 1
    assert message in said(result)
    assert "Traceback" not in result.output


def test_rejects_that_cannot_be_written_are_said_before_anything_is_saved(shop: Any) -> None:
    result = imported("sku,name,price\nA,Tea,1\n", "--rejects no/where.csv")
    assert result.exit_code == 1
    assert "no/where.csv cannot be written" in said(result)
    assert exported() == []


def test_rejects_may_go_to_what_is_no_plain_file(shop: Any) -> None:
    result = imported("sku,name,price\nA,Tea,x\nB,Tea,1\n", "--rejects /dev/null")
    assert result.exit_code == 1
    assert "1 created, 0 changed, 0 unchanged, 1 refused" in result.stdout


def test_a_full_disk_is_said_of_the_file_of_rejects(shop: Any) -> None:
    result = imported("sku,name,price\nA,Tea,x\n", "--rejects /dev/full")
    assert result.exit_code == 1
    assert "/dev/full cannot be written: No space left on device." in said(result)


# --- exports ---

HOSTILE = '"=cmd|\' /C calc\'!A0","A ""quoted"", line\nand another; tab\t"'


def test_exports_are_read_again_as_they_were(shop: Any) -> None:
    imported(
        f"sku,name,description,price,stock,max_per_order,archived\nA,{HOSTILE},1.00,5,3,true\n00123,'@x,-5,0.05,0,,false\n"
    )
    for name in ("all.csv", "all.jsonl", "semicolon.csv"):
        options = "--delimiter semicolon --decimal , --mark" if name == "semicolon.csv" else ""
        result = shop(f"products export {name} {options}")
        assert result.exit_code == 0, result.output
        decimal = "--decimal ," if options else ""
        again = shop(f"products import {name} {decimal}")
        assert again.stdout == "2 rows: 0 created, 0 changed, 2 unchanged.\n", again.output
    assert Path("semicolon.csv").read_bytes().startswith(b"\xef\xbb\xbfsku;name;")
    assert b";1,00;EUR;" in Path("semicolon.csv").read_bytes()


def test_formulas_are_neutralised_for_people_and_left_for_machines(shop: Any) -> None:
    imported("sku,name,description,price\nA,'=1+1,-5,1.00\n")
    [row] = exported()
    assert (row["name"], row["description"]) == ("'=1+1", "-5")
    [row] = exported("--raw")
    assert row["name"] == "=1+1"
    assert json.loads(shop("products export --format jsonl").stdout)["name"] == "=1+1"


def test_archived_products_are_exported_too(shop: Any) -> None:
    imported("sku,name,price,archived\nA,Tea,1.00,true\nB,Tea,1.00,false\n")
    assert [row["archived"] for row in exported()] == ["true", "false"]


def test_an_export_takes_the_place_of_a_file_when_it_is_whole(shop: Any) -> None:
    Path("all.csv").write_text("old")
    assert shop("products export all.csv").exit_code == 0
    assert Path("all.csv").read_bytes().startswith(b"sku,name")
    assert [path.name for path in Path().iterdir() if path.name.startswith("all")] == ["all.csv"]


def test_an_export_to_where_nobody_may_write_is_refused(shop: Any) -> None:
    result = shop("products export no/where.csv")
    assert result.exit_code == 1
    assert "no/where.csv could not be written" in said(result)


def test_options_of_csv_are_wrong_usage_for_json(shop: Any) -> None:
    assert shop("products export all.jsonl --mark").exit_code == 2


def test_orders_are_exported_by_line_or_by_order(shop: Any) -> None:
    assert shop("orders export").stdout.splitlines() == [
        "id,code,user,status,currency,payment_reference,created,modified,"
        "line,product,name,price,quantity,returned,total"
    ]
    assert shop("orders export --format jsonl").stdout == ""


# Whatever a name may be: no control characters, and blanks at the ends are taken off.
names = (
    st.text(
        st.one_of(
            st.sampled_from("'=+-@;,\" E1+"),
            # Printable from the start: where most are thrown away, Hypothesis gives up.
            st.characters(codec="utf-8", exclude_categories=["C", "Z"]),
        ),
        max_size=30,
    )
    .map(str.strip)
    .filter(lambda text: text.isprintable() and text)
)
descriptions = st.text(
    st.one_of(
        st.sampled_from("'=+-@;,\"\r\n\t"), st.characters(codec="utf-8", exclude_categories=["Cc"])
    )
).map(str.strip)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    products=st.lists(st.tuples(names, descriptions), min_size=1, max_size=5),
    way=st.sampled_from(["all.csv", "all.jsonl", "all.csv --raw", "all.csv --delimiter tab"]),
)
def test_any_text_survives_export_and_import(
    shop: Any, products: list[tuple[str, str]], way: str
) -> None:
    lines = [
        json.dumps({"sku": f"A-{n}", "name": name, "description": text, "price": "1"})
        for n, (name, text) in enumerate(products)
    ]
    result = shop("products import - --format jsonl", stdin="\n".join(lines))
    assert result.exit_code == 0, result.output
    assert shop(f"products export {way}").exit_code == 0
    # What is different after it came back would be changed.
    raw = "--raw" if "--raw" in way else ""
    again = shop(f"products import all{Path(way.split()[0]).suffix} {raw}")
    assert again.exit_code == 0, again.output
    assert "0 created, 0 changed" in again.stdout


def test_a_private_database_makes_no_export_public(shop: Any) -> None:
    shop("products export all.csv")
    assert stat.S_IMODE(Path("all.csv").stat().st_mode) & 0o022 == 0
