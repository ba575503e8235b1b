"""Rows by SKU: what they create, change and leave, the same in every store."""

from datetime import timedelta
from typing import Any

import pytest

from shop.domain.bulk import (
    ROWS_MAX,
    Outcome,
    Policy,
    ProductRow,
    RefusedRow,
    Row,
    RowAnswer,
    StockRow,
)
from shop.domain.errors import (
    InvalidField,
    InvalidFields,
    InvalidToken,
    MixedCurrencies,
    OutOfStock,
    ProductArchived,
    ProductNotFound,
    RowsRefused,
    ShopError,
    SkuTaken,
    StockChanged,
)
from shop.domain.pages import Window
from shop.domain.products import NO_MAX, STOCK_MAX, Product, ProductQuery, ProductSort
from shop.domain.stock import Reason, StockChange
from shop.domain.users import OPERATOR
from tests.builders import items, money
from tests.stores import Store
from tests.use_cases import UseCases

CREATED, CHANGED, UNCHANGED, REFUSED, HELD_BACK = Outcome


def by(delta: int, reason: str = "restock") -> StockChange:
    return StockChange(delta=delta, reason=reason)


def to(quantity: int, expected: int | None = None, reason: str = "counted") -> StockChange:
    return StockChange(
        quantity=quantity, expected=expected, absolute=expected is None, reason=reason
    )


def row(sku: str, **fields: Any) -> ProductRow:
    return ProductRow(sku=sku, **fields)


def new(sku: str, **fields: Any) -> ProductRow:
    return ProductRow(sku=sku, **{"name": "Teapot", "price": money(), **fields})


async def save(
    shop: UseCases, *rows: Row, policy: Policy = Policy.EACH, **options: Any
) -> list[RowAnswer]:
    options.setdefault("caller", OPERATOR)
    answers: list[RowAnswer] = await shop.save_products(rows=rows, policy=policy, **options)
    return answers


def outcomes(answers: list[RowAnswer]) -> list[Outcome]:
    return [answer.outcome for answer in answers]


async def stored(shop: UseCases, product: Product | None) -> Product:
    assert product is not None
    read: Product = await shop.read_product(caller=OPERATOR, product_id=product.id)
    return read


async def test_rows_create_change_and_leave_in_their_order(shop: UseCases) -> None:
    tea = await shop.given_product(5, sku="TEA", name="Tea", price=300)
    await shop.given_product(7, sku="POT", name="Pot")
    shop.clock.advance(timedelta(hours=1))
    answers = await save(
        shop,
        new("NEW-2", stock=by(3), description="Of clay.", max_per_order=2),
        row("tea", price=money(350), stock=to(9, 5)),
        row("POT", name="Pot"),
        new("NEW-1"),
    )
    assert outcomes(answers) == [CREATED, CHANGED, UNCHANGED, CREATED]
    for answer in answers:
        assert await stored(shop, answer.after) == answer.after
    new_2, changed, _, new_1 = (answer.after for answer in answers)
    assert new_2 is not None
    assert changed is not None
    assert new_1 is not None
    assert (new_2.stock, new_2.description, new_2.max_per_order) == (3, "Of clay.", 2)
    assert (changed.id, changed.sku, changed.name) == (tea.id, "TEA", "Tea")
    assert (changed.price, changed.stock, changed.version) == (money(350), 9, 2)
    assert changed.modified_at == shop.clock()
    assert tea.id < new_2.id < new_1.id, "new ones are numbered as the rows are"
    assert await shop.differences() == []


async def test_what_rows_write_is_listed_and_found(shop: UseCases) -> None:
    await shop.given_product(0, sku="OLD", name="Tea", price=300)
    await save(
        shop,
        new("NEW", name="Green Tea", price=money(100), stock=by(1)),
        row("OLD", name="Black Tea", price=money(50), stock=by(1)),
    )
    query = ProductQuery(search="tea", in_stock=True, sort=ProductSort.PRICE)
    page = await shop.list_products(caller=OPERATOR, query=query, window=Window(limit=10))
    assert [product.name for product in page.items] == ["Black Tea", "Green Tea"]
    query = ProductQuery(sort=ProductSort.NAME)
    page = await shop.list_products(caller=OPERATOR, query=query, window=Window(limit=10))
    assert [product.name for product in page.items] == ["Black Tea", "Green Tea"]


async def test_the_ledger_says_what_single_changes_say(shop: UseCases, store: Store) -> None:
    boss = await shop.given_staff()
    for sku in ("A", "B", "C", "D"):
        await shop.given_product(10, sku=sku)
    told = len(await store.movements())
    await save(
        shop,
        StockRow(sku="B", stock=by(5)),
        StockRow(sku="A", stock=by(5, "lorry 7")),
        StockRow(sku="D", stock=to(4, 10, "counted")),
        StockRow(sku="C", stock=to(12, reason="correction")),
        caller=boss,
    )
    movements = (await store.movements())[told:]
    assert [(m.quantity, m.balance, m.reason, m.note) for m in movements] == [
        (5, 15, Reason.RESTOCK, ""),
        (5, 15, Reason.RESTOCK, "lorry 7"),
        (-6, 4, Reason.CORRECTION, "counted"),
        (2, 12, Reason.CORRECTION, ""),
    ]
    assert {(m.actor_id, m.at, m.order_id) for m in movements} == {
        (boss.user_id, shop.clock(), None)
    }
    assert await shop.differences() == []


async def test_events_are_those_of_single_changes(shop: UseCases) -> None:
    boss = await shop.given_staff()
    a, b = await shop.given_product(1, sku="A"), await shop.given_product(1, sku="B")
    c = await shop.given_product(1, sku="C")
    await shop.archive_product(caller=boss, product_id=b.id)
    shop.audit.events.clear()
    answers = await save(
        shop,
        row("A", name="Other", archived=True),
        row("B", archived=False),
        row("C", stock=by(4)),
        new("D", stock=by(1)),
        new("E", archived=True),
        caller=boss,
    )
    d, e = answers[3].after, answers[4].after
    assert d is not None
    assert e is not None
    who = {"user": boss.user_id}
    assert sorted(shop.audit.events, key=repr) == sorted(
        [
            ("product.changed", who | {"product": a.id}),
            ("product.archived", who | {"product": a.id}),
            ("product.restored", who | {"product": b.id}),
            ("stock.changed", who | {"product": c.id, "quantity": 4}),
            ("product.created", who | {"product": d.id}),
            ("product.created", who | {"product": e.id}),
            ("product.archived", who | {"product": e.id}),
        ],
        key=repr,
    )


async def test_what_is_so_already_writes_nothing(shop: UseCases, store: Store) -> None:
    await shop.given_product(5, sku="TEA", name="Tea")
    gone = await shop.given_product(2, sku="GONE", name="Gone")
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    before, told = await store.contents(), list(shop.audit.events)
    shop.clock.advance(timedelta(hours=1))
    answers = await save(
        shop,
        row("TEA", name=" Tea ", price=money(), description="", max_per_order=NO_MAX),
        row("GONE", name="Gone", archived=True, stock=to(2)),
    )
    assert outcomes(answers) == [UNCHANGED, UNCHANGED]
    answers = await save(
        shop,
        StockRow(sku="TEA", stock=to(5, 5)),
        StockRow(sku="GONE", stock=to(2)),
    )
    assert outcomes(answers) == [UNCHANGED, UNCHANGED]
    assert await store.contents() == before
    assert shop.audit.events == told


REFUSALS: dict[str, tuple[ProductRow, type[ShopError], str]] = {
    "fewer than are to go": (row("TEA", stock=by(-6)), OutOfStock, "out_of_stock"),
    "not what is expected": (row("TEA", stock=to(9, 4)), StockChanged, "stock_changed"),
    "more than there may be": (row("TEA", stock=by(STOCK_MAX)), InvalidFields, "invalid_fields"),
    "archived": (row("GONE", name="Gone"), ProductArchived, "product_not_found"),
    "new without a name": (row("NEW", price=money()), InvalidFields, "invalid_fields"),
    "new with less than nothing": (new("NEW", stock=by(-1)), InvalidFields, "invalid_fields"),
    "new, and expected to be there": (new("NEW", stock=to(5, 1)), StockChanged, "stock_changed"),
    "of another currency": (row("YEN", archived=False), MixedCurrencies, "mixed_currencies"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("policy", Policy)
async def test_a_refused_row_says_why_and_its_neighbours_by_the_policy(
    shop: UseCases, store: Store, name: str, policy: Policy
) -> None:
    await shop.given_product(5, sku="TEA")
    for sku, currency in (("GONE", "EUR"), ("YEN", "JPY")):
        gone = await shop.create_product(
            caller=OPERATOR, sku=sku, name=sku, price=money(5, currency)
        )
        await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    pot = await shop.given_product(5, sku="POT")
    before = await store.contents()
    refused, error, code = REFUSALS[name]
    rows = [new("FIRST", stock=by(1)), refused, row("POT", stock=by(1))]
    if policy is Policy.ALL:
        with pytest.raises(RowsRefused, match="Of 3 rows 1 were refused") as refusal:
            await save(shop, *rows, policy=policy)
        answers = list(refusal.value.answers)
        assert outcomes(answers) == [HELD_BACK, REFUSED, HELD_BACK]
        assert await store.contents() == before
    else:
        answers = await save(shop, *rows, policy=policy)
        assert outcomes(answers) == [CREATED, REFUSED, CHANGED]
        assert await shop.stock_of(pot) == 6
    assert isinstance(answers[1].error, error)
    assert answers[1].error.code == code
    assert answers[1].after is None
    assert answers[0].error is None
    assert answers[2].error is None
    assert await shop.differences() == []


async def test_a_row_with_stock_that_is_refused_changes_no_entry(shop: UseCases) -> None:
    tea = await shop.given_product(5, sku="TEA", name="Tea")
    [answer] = await save(shop, row("TEA", name="Other", stock=by(-6)))
    assert answer.outcome is REFUSED
    assert await stored(shop, tea) == tea


async def test_stock_rows_are_for_products_that_are_there(shop: UseCases) -> None:
    gone = await shop.given_product(5, sku="GONE")
    await shop.archive_product(caller=OPERATOR, product_id=gone.id)
    answers = await save(shop, StockRow(sku="NEW", stock=by(1)), StockRow(sku="GONE", stock=by(1)))
    assert outcomes(answers) == [REFUSED, CHANGED], "as for single changes"
    assert isinstance(answers[0].error, ProductNotFound)
    assert await shop.stock_of(gone) == 6


async def test_one_sku_has_one_row_however_it_is_written(shop: UseCases, store: Store) -> None:
    await shop.given_product(5, sku="TEA")
    before = await store.contents()
    answers = await save(
        shop,
        row("TEA", stock=by(1)),
        new("straße"),
        row("tea ", stock=by(1)),
        new("STRASSE"),
        row("\uff34\uff25\uff21", stock=by(1)),  # full-width
    )
    assert outcomes(answers) == [REFUSED] * 5
    assert all(isinstance(answer.error, InvalidField) for answer in answers)
    assert await store.contents() == before


async def test_a_row_that_could_not_be_read_counts(shop: UseCases) -> None:
    unread = RefusedRow(sku="X", error=InvalidField("price", "must be a price"))
    answers = await save(shop, unread, new("A"))
    assert outcomes(answers) == [REFUSED, CREATED]
    assert answers[0].error is unread.error
    with pytest.raises(RowsRefused):
        await save(shop, unread, new("B"), policy=Policy.ALL)


async def test_archiving_restoring_and_what_is_archived(shop: UseCases) -> None:
    tea = await shop.given_product(5, sku="TEA", name="Tea")
    [answer] = await save(shop, row("TEA", archived=True))
    assert answer.outcome is CHANGED
    assert (await stored(shop, tea)).archived
    [answer] = await save(shop, row("TEA", archived=True, name="Old tea"))
    assert answer.outcome is CHANGED
    after = await stored(shop, tea)
    assert (after.archived, after.name) == (True, "Old tea")
    [answer] = await save(shop, row("TEA", archived=False, name="Tea again", stock=by(1)))
    after = await stored(shop, tea)
    assert (after.archived, after.name, after.stock) == (False, "Tea again", 6)


async def test_a_dry_run_says_what_would_be_and_writes_nothing(
    shop: UseCases, store: Store
) -> None:
    tea = await shop.given_product(5, sku="TEA")
    before, told = await store.contents(), list(shop.audit.events)
    rows = [new("NEW", stock=by(2)), row("TEA", stock=by(1)), row("TEA2"), row("tea3", name="x")]
    answers = await save(shop, *rows, policy=Policy.ALL, dry_run=True)
    assert outcomes(answers) == [CREATED, CHANGED, REFUSED, REFUSED]
    assert answers[0].after is not None
    assert answers[0].after.stock == 2
    assert answers[1].before == tea
    assert answers[1].after is not None
    assert answers[1].after.stock == 6
    assert await store.contents() == before
    assert shop.audit.events == told


async def test_an_absolute_quantity_overwrites_what_was_sold_and_an_expected_one_does_not(
    shop: UseCases,
) -> None:
    tea = await shop.given_product(10, sku="TEA")
    buyer = await shop.given_customer()
    await shop.place_order(caller=buyer, items=items((tea.id, 3)))
    [answer] = await save(shop, StockRow(sku="TEA", stock=to(10, 10)))
    assert isinstance(answer.error, StockChanged)
    assert answer.error.context == {"expected": 10, "actual": 7}
    [answer] = await save(shop, StockRow(sku="TEA", stock=to(10)))
    assert answer.outcome is CHANGED
    assert await shop.stock_of(tea) == 10
    assert await shop.differences() == []


@pytest.mark.parametrize("number", [0, ROWS_MAX + 1])
async def test_there_are_some_rows_and_not_too_many(shop: UseCases, number: int) -> None:
    with pytest.raises(InvalidField, match="rows: must be a list of 1 to 1,000 items"):
        await save(shop, *(row(f"SKU-{n}") for n in range(number)))


async def test_as_many_as_there_may_be(shop: UseCases) -> None:
    rows = [new(f"SKU-{n}", name=f"Teapot {n}", stock=by(n + 1)) for n in range(ROWS_MAX)]
    assert outcomes(await save(shop, *rows)) == [CREATED] * ROWS_MAX
    assert outcomes(await save(shop, *(new(r.sku, name=r.name) for r in rows))) == (
        [UNCHANGED] * ROWS_MAX
    )
    changed = await save(shop, *(row(r.sku, name="Pot", stock=by(-1)) for r in reversed(rows)))
    assert outcomes(changed) == [CHANGED] * ROWS_MAX
    assert [answer.sku for answer in changed] == [r.sku for r in reversed(rows)]
    page = await shop.list_products(
        caller=OPERATOR, query=ProductQuery(in_stock=False), window=Window(limit=10)
    )
    assert [product.sku for product in page.items] == ["SKU-0"]
    assert await shop.differences() == []


async def test_who_is_disabled_changes_nothing(shop: UseCases, store: Store) -> None:
    tea = await shop.given_product(5, sku="TEA")
    boss = await shop.given_staff()
    await store.disable_user(boss.user_id)
    with pytest.raises(InvalidToken):
        await save(shop, StockRow(sku="TEA", stock=by(1)), caller=boss)
    with pytest.raises(InvalidToken):
        await save(shop, new("NEW"), caller=boss)
    assert await shop.stock_of(tea) == 5


async def test_products_that_clashed_before_go_by_their_exact_skus(
    shop: UseCases, store: Store
) -> None:
    if store.memory is not None:
        pytest.skip("nothing is there from before SKUs were folded")
    lower = await shop.given_product(1, sku="tea")
    upper = await shop.given_product(1, sku="other")
    await store.spell_as_before(upper.id, sku="TEA")
    answers = await save(shop, row("TEA", stock=by(4)))
    assert outcomes(answers) == [CHANGED]
    assert (await shop.stock_of(lower), await shop.stock_of(upper)) == (1, 5)
    [answer] = await save(shop, new("Tea"))
    assert isinstance(answer.error, SkuTaken)
