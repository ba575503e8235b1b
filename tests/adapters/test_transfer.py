"""The whole shop from one database into another: all of it, unchanged, as of one moment."""

import asyncio
import json
import os
import resource
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table, insert, text
from sqlalchemy.exc import DBAPIError

from shop.adapters.exports import (
    LINE_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    Manifest,
    NewExport,
    WrongExport,
)
from shop.adapters.sql import tables
from shop.adapters.sql.products import product_row
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.transfer import (
    MADE_ANEW,
    MOVED,
    NOT_MOVED,
    check_files,
    different_table,
    export_shop,
    import_files,
    lines_of,
    read_export,
    reading,
    writing,
)
from shop.domain.orders import OrderItem, OrderStatus
from shop.domain.stock import Reason
from shop.domain.users import Role
from tests.builders import NOON, customer, money, product, request
from tests.stores import Store, migrate, sql_store
from tests.use_cases import UseCases

INT32, INT64 = 2**31 - 1, 2**63 - 1
FIRST = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC)
ODD = datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=timezone(timedelta(hours=2)))
"""A microsecond, in an hour that some zones have twice or not at all."""
ORDER, OTHER = UUID(int=0), UUID(int=2**128 - 1)
FAMILY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
BYTES = bytes(range(32))

# All characters that a text can have: no surrogates, which are half a character, and no NUL.
EVERY_CHARACTER = "".join(
    chr(code) for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF
)
NOTES = [EVERY_CHARACTER[at : at + 200] for at in range(0, len(EVERY_CHARACTER), 200)]


def nothing(_: int) -> None: ...


def movement(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "product_id": 1,
        "quantity": 1,
        "balance": number,
        "reason": Reason.RESTOCK,
        "order_id": None,
        "actor_id": None,
        "note": "",
        "at": NOON,
        **values,
    }


_ODD_NAME = "İI\u0307ß\u1e9e\u212a\ufeff e\u0301\U0001f9d1\u200d\U0001f680\u2028\"\\\\u0000'"

# Of each column at least one value that nobody could take for a default.
SAMPLE: dict[Table, list[dict[str, Any]]] = {
    tables.users: [
        {
            "id": 7,
            "username": "Zoë",
            "password_hash": "$argon2id$v=19$" + "x" * 200,
            "role": Role.STAFF,
            "disabled": True,
            "created_at": ODD,
            "username_folded": "zoë",
            "username_clash": 3,
        },
        {
            "id": INT64 - 1,
            "username": "older",
            "password_hash": "",
            "role": Role.CUSTOMER,
            "disabled": False,
            "created_at": FIRST,
            "username_folded": None,
            "username_clash": 0,
        },
    ],
    tables.session_families: [
        {
            "id": family,
            "user_id": 7,
            "started_at": NOON,
            "ends_at": LAST,
            "last_used_at": ODD,
            "expires_at": LAST,
            "client": "curl\u2028/8",
            "ended_at": ended_at,
        }
        for family, ended_at in [(FAMILY, ODD), (OTHER, None)]
    ],
    tables.refresh_tokens: [
        {
            "token_hash": token_hash,
            "family_id": FAMILY,
            "predecessor": predecessor,
            "issued_at": ODD,
            "expires_at": LAST,
            "retired": True,
        }
        for token_hash, predecessor in [(BYTES, b"\x00" * 32), (b"\x00" * 32, None)]
    ],
    tables.sign_in_attempts: [
        {
            "key": BYTES[::-1],
            "failures": INT32,
            "pending": (NOON, ODD.astimezone(UTC)),
            "blocked_until": datetime(1970, 1, 1, tzinfo=UTC),
            "seen_at": ODD,
            "is_known": True,
        }
    ],
    tables.products: [
        {
            **product_row(
                product(
                    1,
                    sku="007 ÄÖ",
                    name=_ODD_NAME,
                    description="Line\r\nand\ttab",
                    price=money(99_999_999_999),
                    archived=True,
                    created_at=ODD,
                    max_per_order=10**12,
                )
            ),
            "id": 1,
            "sku_clash": 2,
        },
        {
            **product_row(product(INT64 - 1, sku="old")),
            "id": INT64 - 1,
            "sku_folded": None,
            "sku_clash": 0,
        },
    ],
    tables.stock: [
        {"product_id": 1, "on_hand": 10**12},
        {"product_id": INT64 - 1, "on_hand": 0},
    ],
    tables.moved_users: [{"user_id": 7, "digest": BYTES}],
    tables.moved_products: [
        {"product_id": 1, "digest": BYTES[::-1], "stock_there": -(10**9), "stock": 10**12}
    ],
    tables.orders: [
        {
            "id": order_id,
            "code": code,
            "user_id": 7,
            "status": status,
            "currency": "EUR",
            "digest": BYTES,
            "version": INT32,
            "created_at": ODD,
            "modified_at": LAST,
            "payment_reference": reference,
        }
        for order_id, code, status, reference in [
            (ORDER, "0" * 12, OrderStatus.RETURNED, "pay'\"\u0001"),
            (OTHER, "Z" * 12, OrderStatus.PLACED, None),
        ]
    ],
    tables.order_lines: [
        {
            "order_id": ORDER,
            "position": INT32,
            "product_id": 1,
            "name": _ODD_NAME,
            "price": INT64,
            "quantity": INT64,
            "returned": INT64,
        }
    ],
    tables.order_events: [
        {
            "id": INT64 - 10_000 + number,
            "order_id": OTHER,
            "from_status": OrderStatus.PLACED,
            "to_status": OrderStatus.PAID,
            "actor_id": 7 if number else None,
            "note": note,
            "at": ODD,
            "returned": (
                OrderItem(product_id=INT64, quantity=2),
                OrderItem(product_id=1, quantity=1),
            )
            if number == 0
            else (),
        }
        for number, note in enumerate(NOTES)
    ],
    tables.stock_movements: [
        movement(1, quantity=-(2**63), balance=INT64, reason=Reason.WRITE_OFF, note="\x01"),
        movement(2, order_id=OTHER, actor_id=-1, at=ODD),
    ],
    tables.idempotency_keys: [
        {
            "user_id": 7,
            "key": key,
            "route": "/api/products/{id}/",
            "digest": BYTES,
            "answer": answer,
            "at": ODD,
        }
        # In the order of their code points, which is no language's.
        for key, answer in [("Z", b""), ("a", bytes(range(256)) * 4_000), ("ä", b"\x00")]
    ],
}


async def fill(store: Store, sample: dict[Table, list[dict[str, Any]]] = SAMPLE) -> None:
    async with store.sql.patient.begin() as connection:
        for table, rows in sample.items():
            await connection.execute(insert(table), rows)


async def export(store: Store, folder: Path) -> Manifest:
    await SqlSchema(engines=store.sql).claim_currency("EUR")
    async with reading(store.sql) as shop:
        return await export_shop(shop, NewExport(folder), program="0.1.0", at=NOON, advance=nothing)


async def import_into(store: Store, folder: Path) -> None:
    await SqlSchema(engines=store.sql).claim_currency("EUR")
    manifest = read_export(folder)
    check_files(folder, manifest, advance=nothing)
    async with writing(store.sql) as shop:
        await import_files(shop, folder, manifest, advance=nothing)
        assert await different_table(shop, manifest, advance=nothing) is None
        await shop.execute("COMMIT")


async def contents_of(store: Store) -> dict[str, list[Any]]:
    """Every row, with what triggers and the program make of it."""
    contents = await store.contents()
    return {table.name: contents[table.name] for table in [*MOVED, tables.listings]}


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Store]:
    async with sql_store(sqlite_url) as store:
        yield store


@pytest.fixture
async def postgresql_store(postgresql_url: str) -> AsyncIterator[Store]:
    async with sql_store(postgresql_url) as store:
        yield store


# --- nothing is forgotten ---


def test_of_every_table_it_is_decided_whether_it_moves() -> None:
    decided = [*MOVED, *NOT_MOVED]
    assert len(decided) == len(set(decided))
    assert set(decided) == set(tables.metadata.tables.values())


def test_what_does_not_move_has_nothing_new_in_it() -> None:
    """A column that comes to one of these may be something that a shop is made of."""
    assert {table.name: {column.name for column in table.columns} for table in NOT_MOVED} == {
        "schema_compatibility": {"oldest_program"},
        "shop": {"id", "currency"},
        "leases": {"name", "holder", "expires_at"},
        "listings": {
            *("product_id", "archived", "in_stock", "search_key", "price"),
            *("created_at", "modified_at"),
        },
        "list_lengths": {"list", "user_id", "length", "counted_at"},
    }


def test_tables_come_after_those_that_they_refer_to() -> None:
    before: set[Table] = set()
    for table in MOVED:
        assert {key.column.table for key in table.foreign_keys} <= before
        before.add(table)


def test_the_sample_has_a_value_of_each_column() -> None:
    """Whoever adds a column says here what a value of it looks like, and sees it come back."""
    for table in MOVED:
        for column in table.columns:
            values = [row.get(column.name) for row in SAMPLE[table]]
            if column.name not in MADE_ANEW.get(table, ()):
                assert any(value not in (None, 0, "", ()) for value in values), column
            if column.nullable:
                assert None in values, column


def test_each_line_has_all_columns_but_those_that_are_made_anew() -> None:
    for table in MOVED:
        made_anew = set(MADE_ANEW.get(table, ()))
        named = {column.name for column in lines_of(table).columns}
        assert named == {column.name for column in table.columns} - made_anew


@pytest.mark.parametrize("way", ["there", "and back"])
async def test_everything_comes_back_as_it_was(
    way: str, sqlite: Store, postgresql_store: Store, tmp_path: Path
) -> None:
    first, second = (sqlite, postgresql_store) if way == "there" else (postgresql_store, sqlite)
    await fill(first)
    manifest = await export(first, tmp_path / "one")
    await import_into(second, tmp_path / "one")
    assert await contents_of(second) == await contents_of(first)
    again = await export(second, tmp_path / "two")
    assert again.files == manifest.files
    for table in MOVED:
        name = f"{table.name}.jsonl"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


async def test_rows_to_come_are_numbered_after_those_that_came(
    sqlite: Store, postgresql_store: Store, tmp_path: Path
) -> None:
    shop = UseCases(sqlite.unit_of_work)
    user = await shop.given_customer()
    last = [await shop.given_product() for _ in range(3)][-1]
    await shop.close()
    await export(sqlite, tmp_path / "out")
    await import_into(postgresql_store, tmp_path / "out")
    for store in (sqlite, postgresql_store):
        # As `UseCases` of another process, whose order codes and names are others.
        shop = UseCases(store.unit_of_work, process=2)
        assert (await shop.given_product()).id == last.id + 1
        assert (await shop.given_customer()).user_id == user.user_id + 1
        assert len({one.id for one in await store.movements()}) == 4
        assert await shop.audits() == []
        await shop.close()


async def test_memory_does_not_grow_with_the_shop(
    sqlite: Store, postgresql_store: Store, tmp_path: Path
) -> None:
    """As objects all of the rows would take several times what may be taken."""
    rows = 10_000
    await fill(
        sqlite,
        {
            tables.products: SAMPLE[tables.products][:1],
            tables.stock_movements: [movement(n, note="x" * 200) for n in range(1, rows)],
        },
    )
    tracemalloc.start()
    try:
        manifest = await export(sqlite, tmp_path / "out")
        await import_into(postgresql_store, tmp_path / "out")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert manifest.files["stock_movements"].bytes > 3_000_000
    assert most < 3_000_000


# --- of one moment ---


async def test_an_export_beside_sales_is_of_one_moment(sql: Store, tmp_path: Path) -> None:
    """Nobody waits for it, and in the copy stock, orders and ledger agree."""
    await SqlSchema(engines=sql.sql).claim_currency("EUR")
    shop = UseCases(sql.unit_of_work)
    buyer = await shop.given_customer()
    products = [await shop.given_product(stock=10**6) for _ in range(20)]
    placed = 0

    async def buy() -> None:
        nonlocal placed
        while True:
            for one in products:
                items = ((one.id, 1), (products[placed % 20].id, 2))
                wanted = request(*items, number=10_000 + placed, user_id=buyer.user_id)
                await shop.place_order(
                    caller=customer(buyer.user_id), order_id=wanted.order_id, items=wanted.items
                )
                placed += 1

    async def until(number: int) -> None:
        while placed < number:
            assert not buying.done() or buying.result()
            await asyncio.sleep(0.001)

    buying = asyncio.create_task(buy())
    try:
        await until(20)
        async with reading(sql.sql) as snapshot:
            before = await snapshot.counts()
            # After the first table was read more is sold: none of it may be in the others.
            for number, table in enumerate(MOVED):
                async for lines, _ in snapshot.lines(table):
                    assert lines
                await until(20 + 10 * number)
            assert await snapshot.counts() == before
            manifest = await export_shop(
                snapshot, NewExport(tmp_path / "out"), program="x", at=NOON, advance=nothing
            )
    finally:
        buying.cancel()
        await asyncio.wait([buying])
    await shop.close()
    assert before["orders"] < placed
    assert {name: entry.rows for name, entry in manifest.files.items()} == before
    written = (tmp_path / "out" / "orders.jsonl").read_text().splitlines()
    orders = {json.loads(line)["id"] for line in written}
    for name in ("order_lines", "stock_movements"):
        written = (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
        assert {json.loads(line)["order_id"] for line in written} - {None} == orders
    moved: dict[int, int] = {}
    for line in (tmp_path / "out" / "stock_movements.jsonl").read_text().splitlines():
        one = json.loads(line)
        moved[one["product_id"]] = moved.get(one["product_id"], 0) + one["quantity"]
    stock = map(json.loads, (tmp_path / "out" / "stock.jsonl").read_text().splitlines())
    assert {one["product_id"]: one["on_hand"] for one in stock} == moved


# --- nobody sees a part of it ---


async def test_an_import_that_ends_early_leaves_nothing(
    sql: Store, sqlite: Store, tmp_path: Path
) -> None:
    source = sqlite if sql.name == "postgresql" else None
    async with AsyncExitStack() as stack:
        if source is None:
            source = await stack.enter_async_context(_other_sqlite(tmp_path))
        await fill(source)
        manifest = await export(source, tmp_path / "out")
    done = 0

    def interrupt(rows: int) -> None:
        nonlocal done
        done += rows
        if done > manifest.rows - 3:
            raise KeyboardInterrupt

    empty = await sql.contents()
    with pytest.raises(KeyboardInterrupt):
        async with writing(sql.sql) as shop:
            await import_files(shop, tmp_path / "out", manifest, advance=interrupt)
    assert await sql.contents() == empty
    await import_into(sql, tmp_path / "out")


async def test_others_cannot_write_while_it_is_filled(
    postgresql_store: Store,
) -> None:
    async with writing(postgresql_store.sql):
        async with postgresql_store.sql.patient.begin() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                await connection.execute(insert(tables.users), SAMPLE[tables.users][:1])
        # Who reads sees the shop as it was: empty.
        async with reading(postgresql_store.sql) as shop:
            assert not any((await shop.counts()).values())


# --- what anybody may have made ---

_USER = {
    "id": 1,
    "username": "ann",
    "password_hash": "x",
    "role": "customer",
    "disabled": False,
    "created_at": "2026-03-01T12:00:00Z",
    "username_folded": "ann",
    "username_clash": 0,
}


@pytest.fixture
async def folder(sqlite: Store, tmp_path: Path) -> Path:
    """A whole export, of two users and little else."""
    few = {table: rows[:2] for table, rows in SAMPLE.items()}
    await fill(sqlite, few)
    await export(sqlite, tmp_path / "out")
    return tmp_path / "out"


def rewrite(folder: Path, table: str, lines: Sequence[bytes], **entry: Any) -> None:
    """As if somebody had exported just this, but for what is given of the manifest."""
    written = b"".join(lines)
    (folder / f"{table}.jsonl").write_bytes(written)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][table] = {
        "rows": len(lines),
        "bytes": len(written),
        "sha256": sha256(written).hexdigest(),
        **entry,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def line(**changes: Any) -> bytes:
    kept = {name: value for name, value in {**_USER, **changes}.items() if value != "left out"}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def refusal(folder: Path) -> str:
    with pytest.raises(WrongExport) as refused:
        check_files(folder, read_export(folder), advance=nothing)
    said = str(refused.value)
    assert said.isprintable()
    assert len(said) < 500
    return said


GOOD = line()
BEN = line(id=2, username="ben", username_folded="ben")
WRONG_LINES = {
    "a number that is text": (line(id="1"), "Expected `int`"),
    "a number with a fraction": (line(id=1.0), "Expected `int`"),
    "a number that no database holds": (line(id=2**63), "Expected `int`"),
    "a number that is too high for its column": (line(username_clash=2**31), "Expected `int`"),
    "digits without end": (b'{"id":' + b"9" * 100_000 + b"}\n", "out of range"),
    "a truth that is a number": (line(disabled=0), "Expected `bool`"),
    "a text that is none": (line(username=None), "Expected `str`"),
    "a text that is too long": (line(username="x" * 151), "length <= 150"),
    "a value of no such kind": (line(role="root"), "Invalid enum value"),
    "a time without a zone": (line(created_at="2026-03-01T12:00:00"), "timezone"),
    "a time that is none": (line(created_at="2026-02-30T12:00:00Z"), "Invalid RFC3339"),
    "a time of another zone": (line(created_at="2026-03-01T14:00:00+02:00"), "not in UTC"),
    "UTC by another name": (line(created_at="2026-03-01T12:00:00+00:00"), "is not written"),
    "a time before all times": (line(created_at="0001-01-01T00:00:00+23:00"), "not in UTC"),
    "the first of all times": (line(created_at="0001-01-01T00:00:00Z"), "end of all times"),
    "the last of all times": (line(created_at="9999-12-31T23:59:59.999999Z"), "end of all times"),
    "NUL": (line(username="a\0b"), "NUL"),
    "half a character": (line().replace(b'"ann"', b'"\\ud800"', 1), "surrogate"),
    "no UTF-8": (line().replace(b"ann", b"\xff", 1), "not UTF-8"),
    "a column that is missing": (line(role="left out"), "missing required field `role`"),
    "a column that there is not": (line(email="a@b"), "unknown field `email`"),
    "a column that a terminal would obey": (line(**{"\x9b31m": 1}), "unknown field"),
    "a column twice": (line().replace(b'"id":1', b'"id":1,"id":2'), "is not written"),
    "columns in another order": (b'{"username":"ann",' + line()[1:], "is not written"),
    "blanks": (line().replace(b":1,", b": 1,"), "is not written"),
    "no object": (b"[1]\n", "Expected `object`"),
    "no JSON": (b"id;username\n", "JSON is malformed"),
    "nothing": (b"\n", "truncated"),
    "two objects": (GOOD.rstrip() * 2 + b"\n", "trailing characters"),
    "brackets without end": (b'{"id":' + b"[" * 1_000_000 + b"\n", "Expected `int`"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
async def test_a_wrong_line_is_refused_by_its_number(folder: Path, case: str) -> None:
    wrong, reason = WRONG_LINES[case]
    rewrite(folder, "users", [GOOD, BEN, wrong, GOOD])
    said = refusal(folder)
    assert said.startswith(f"{folder}/users.jsonl, line 3: ")
    assert reason in said


async def test_text_that_looks_like_nul_or_the_end_of_times_is_text(folder: Path) -> None:
    named = [r"a\u0000b", "0001-01-01T00:00:00Z"]
    rewrite(folder, "users", [line(id=n, username=name) for n, name in enumerate(named)])
    check_files(folder, read_export(folder), advance=nothing)


async def test_a_line_without_end_is_refused_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte, of which nobody reads more than a line may have."""
    gigabyte = 2**30
    with (folder / "users.jsonl").open("wb") as file:
        file.write(GOOD)
        file.truncate(gigabyte)
    rewritten = json.loads((folder / "manifest.json").read_bytes())
    rewritten["files"]["users"]["bytes"] = gigabyte
    (folder / "manifest.json").write_text(json.dumps(rewritten))
    tracemalloc.start()
    said = refusal(folder)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"users.jsonl, line 2: it has more than {LINE_BYTES_MAX} bytes" in said
    assert most < 3 * LINE_BYTES_MAX


async def test_files_that_are_not_those_of_the_manifest(folder: Path) -> None:
    users = folder / "users.jsonl"
    whole = users.read_bytes()
    users.write_bytes(whole[:-1])
    assert "users.jsonl: it has " in refusal(folder)
    assert "cut off or changed" in refusal(folder)
    # As long, and as well-formed.
    users.write_bytes(whole.replace(b"$argon2id$v=19", b"$argon2id$v=18"))
    assert "users.jsonl: its checksum is not that of the manifest" in refusal(folder)
    users.unlink()
    assert "users.jsonl cannot be read (No such file or directory)" in refusal(folder)
    rewrite(folder, "users", [GOOD, line(id=2, username="b")[:-1]])
    assert "users.jsonl, line 2: it ends without the end of the line" in refusal(folder)
    rewrite(folder, "users", [GOOD], rows=2)
    assert "users.jsonl: it has 1 line, and the manifest says 2" in refusal(folder)


async def test_only_real_files_are_read(folder: Path, tmp_path: Path) -> None:
    users = folder / "users.jsonl"
    users.rename(tmp_path / "elsewhere")
    users.symlink_to(tmp_path / "elsewhere")
    assert "users.jsonl cannot be read" in refusal(folder)
    users.unlink()
    os.mkfifo(users)
    assert "users.jsonl is no file" in refusal(folder)
    users.unlink()
    users.mkdir()
    assert "users.jsonl " in refusal(folder)


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.pop(name)


def _file_named(name: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = manifest["files"].pop("users")

    return change


def _with(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest.update(values)


def _users(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["files"]["users"].update(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_with(format=2), "is of format 2, and this version of the shop knows format 1"),
        (_with(format="1"), "Expected `int`"),
        (_without("format"), "missing required field `format`"),
        (_without("currency"), "missing required field `currency`"),
        (_with(more=1), "unknown field `more`"),
        (_with(shop="\x1b[31m"), "regex"),
        (_with(currency="E\nR"), "regex"),
        (_with(exported_at="yesterday"), "RFC3339"),
        (_with(files=[]), "Expected `object`"),
        (_file_named("../../etc/passwd"), "users is missing"),
        (_file_named("/etc/passwd"), "users is missing"),
        (_users(rows=-1), "Expected `int` >= 0"),
        (_users(bytes=2**64), "Expected `int`"),
        (_users(sha256="../x"), "regex"),
        (_users(path="/etc/passwd"), "unknown field `path`"),
    ],
)
async def test_a_wrong_manifest_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))
    said = refusal(folder)
    assert said.startswith(f"{path} is ")
    assert reason in said


async def test_no_path_of_a_manifest_is_opened(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["files"]["../../etc/passwd"] = manifest["files"]["users"]
    path.write_text(json.dumps(manifest))
    assert "../../etc/passwd is none" in refusal(folder)


async def test_what_is_no_manifest(folder: Path, tmp_path: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path} is no manifest of an export: Input data was truncated" in refusal(folder)
    path.write_bytes(b" " * (MANIFEST_BYTES_MAX + 1))
    assert "it is too long" in refusal(folder)
    path.unlink()
    assert "it has no manifest.json, which is written last" in refusal(folder)
    assert f"There is no folder {tmp_path / 'nowhere'}" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "lines", "wrong"),
    [
        # Of a user that there is not; with a key that another has; against a rule of the table.
        ("session_families", None, 1),
        ("users", [GOOD, BEN, line(id=3)], 3),
        ("users", [GOOD, BEN, line(username="c", username_folded="c")], 3),
    ],
)
async def test_what_the_database_refuses_is_told_by_its_line(
    sql_url: str,
    table: str,
    lines: Sequence[bytes] | None,
    wrong: int,
    tmp_path: Path,
) -> None:
    async with _other_sqlite(tmp_path) as source:
        await fill(source, {table: rows[:2] for table, rows in SAMPLE.items()})
        await export(source, tmp_path / "out")
    if lines is None:
        rewrite(tmp_path / "out", "users", [GOOD])
    else:
        rewrite(tmp_path / "out", table, lines)
    async with sql_store(sql_url) as store:
        empty = await store.contents()
        with pytest.raises(WrongExport, match=rf"/{table}\.jsonl, line {wrong}: the database ref"):
            await import_into(store, tmp_path / "out")
        after = await store.contents()
    assert after | {"shop": []} == empty


async def test_a_folder_that_has_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(WrongExport, match="is not empty, and nothing is overwritten"):
        NewExport(tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["notes.txt"]
    with pytest.raises(WrongExport, match="cannot be made or read"):
        NewExport(tmp_path / "out" / "notes.txt")


async def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    export = NewExport(tmp_path / "out")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with (
            pytest.raises(
                WrongExport, match=r"users\.jsonl cannot be written .* not whole: delete"
            ),
            export.table("users") as file,
        ):
            file.write(b"x" * 200_000, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(WrongExport, match="has no manifest"):
        read_export(tmp_path / "out")


@asynccontextmanager
async def _other_sqlite(folder: Path) -> AsyncIterator[Store]:
    url = f"sqlite+aiosqlite:///{folder / 'other.sqlite3'}"
    migrate(url)
    async with sql_store(url) as store:
        yield store
