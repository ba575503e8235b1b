"""Products: what may be offered, and where a product stands in a list."""

from datetime import timedelta

import pytest

from shop.domain.errors import InvalidField, ProductChanged
from shop.domain.money import Money
from shop.domain.products import (
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    NO_MAX,
    STOCK_MAX,
    Product,
    ProductQuery,
    ProductSort,
)
from tests.builders import NOON, money, product


def new_product(
    *,
    sku: str = "TEA-1",
    name: str = "Teapot",
    description: str = "",
    price: Money | None = None,
    stock: int = 1,
) -> Product:
    return Product.new(
        sku=sku,
        name=name,
        description=description,
        price=price or money(),
        stock=stock,
        at=NOON,
    )


@pytest.mark.parametrize(
    "sku",
    [
        *("A", "7", "TEA-1", "a.b_c-d", "x" * 64, "#12", "-5", ".50 cal", "M&M (red)", "C++/CLI"),
        *("Größe 42", "茶壺-1", "арт. 7", "चाय 1", "10½", "ß" * 64, "ＴＥＡ－１"),  # noqa: RUF001
    ],
)
def test_a_sku_is_made_of_letters_and_digits_of_any_script_and_a_few_signs(sku: str) -> None:
    assert new_product(sku=sku).sku == sku


@pytest.mark.parametrize(
    ("typed", "sku"),
    [
        (" TEA-1\n", "TEA-1"),
        ("TEA\u00a01", "TEA 1"),
        ("cafe\u0301", "café"),
        ("Tea  1", "Tea  1"),
    ],
)
def test_a_sku_is_stored_as_people_read_it(typed: str, sku: str) -> None:
    assert new_product(sku=typed).sku == sku


@pytest.mark.parametrize(
    "sku",
    [
        *("", " ", "x" * 65, "A\x00", "A\nB", "A\tB", "A,B", "A%B", "A'B", 'A"B', "A<B", "A€"),
        *("-", "./", "(#)", "A\u200bB", "\ufeffA", "\u0301", "\u3164", "A\ud800", "ﷺ" * 64),
    ],
)
def test_any_other_sku_is_refused_by_name(sku: str) -> None:
    with pytest.raises(InvalidField) as refused:
        new_product(sku=sku)
    assert refused.value.context["errors"][0]["field"] == "sku"


@pytest.mark.parametrize("stock", [0, 1, STOCK_MAX])
def test_a_product_starts_with_any_stock_in_range(stock: int) -> None:
    assert new_product(stock=stock).stock == stock


@pytest.mark.parametrize("stock", [-1, STOCK_MAX + 1, 2**63])
def test_stock_out_of_range_is_refused_by_name(stock: int) -> None:
    with pytest.raises(InvalidField) as refused:
        new_product(stock=stock)
    assert refused.value.context["errors"][0]["field"] == "stock"


def test_name_and_description_are_cleaned_and_bounded() -> None:
    cleaned = new_product(name="  Teapot ", description=" For\ntea ")
    assert (cleaned.name, cleaned.description) == ("Teapot", "For\ntea")
    with pytest.raises(InvalidField):
        new_product(name=" ")
    with pytest.raises(InvalidField):
        new_product(name="x" * (NAME_LENGTH_MAX + 1))
    with pytest.raises(InvalidField):
        new_product(description="x" * (DESCRIPTION_LENGTH_MAX + 1))


def test_a_change_keeps_what_it_does_not_name_and_counts_up() -> None:
    before = product(name="Teapot", description="old", price=money(1200), stock=7)
    later = NOON + timedelta(days=1)
    after = before.changed(at=later, name=None, description="new", price=None)
    assert (after.name, after.price, after.stock) == ("Teapot", money(1200), 7)
    assert (after.description, after.version, after.modified_at) == ("new", 2, later)
    assert after.created_at == NOON


def test_a_change_follows_the_same_rules_as_a_new_product() -> None:
    with pytest.raises(InvalidField):
        product().changed(at=NOON, name="", description=None, price=None)


def test_an_archived_product_is_another_version() -> None:
    later = NOON + timedelta(days=1)
    gone = product(stock=7).archive(at=later)
    assert (gone.archived, gone.version, gone.modified_at, gone.stock) == (True, 2, later, 7)


def test_a_restored_product_is_what_it_was_and_another_version() -> None:
    later = NOON + timedelta(days=1)
    back = product(stock=7).archive(at=NOON).restore(at=later)
    assert (back.archived, back.version, back.modified_at, back.stock) == (False, 3, later, 7)


@pytest.mark.parametrize("most", [1, STOCK_MAX])
def test_an_order_may_have_as_many_as_is_said_until_nothing_is_said(most: int) -> None:
    limited = product().changed(at=NOON, max_per_order=most)
    assert limited.max_per_order == most
    assert limited.changed(at=NOON, name="Pot").max_per_order == most
    assert limited.changed(at=NOON, max_per_order=NO_MAX).max_per_order is None


@pytest.mark.parametrize("most", [-1, STOCK_MAX + 1])
def test_a_limit_out_of_range_is_refused_by_name(most: int) -> None:
    with pytest.raises(InvalidField) as refused:
        product().changed(at=NOON, max_per_order=most)
    assert refused.value.context["errors"][0]["field"] == "max_per_order"


def test_a_version_is_checked_where_one_is_expected() -> None:
    product().check_version(None)
    product().check_version([1, 5])
    for expected in ([], [2]):
        with pytest.raises(ProductChanged):
            product().check_version(expected)


def test_the_longest_name_still_fits_its_search_key() -> None:
    # U+1FB7 folds to three characters; the column has room for 1000.
    assert len(product(name="\u1fb7" * NAME_LENGTH_MAX, sku="x" * 64).search_key) <= 1000


def test_search_and_order_by_name_ignore_case() -> None:
    assert product(name="STRASSE", sku="A").search_key == product(name="Straße", sku="a").search_key


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (ProductSort.NAME, product(2, name="Cup", price=money(9), created_at=NOON)),
        (ProductSort.PRICE, product(2, name="Urn", price=money(1), created_at=NOON)),
        (
            ProductSort.CREATED,
            product(2, name="Urn", price=money(9), created_at=NOON - timedelta(days=1)),
        ),
    ],
)
def test_products_are_ordered_by_what_was_asked(sort: ProductSort, first: Product) -> None:
    second = product(1, name="Pot", price=money(5), created_at=NOON)
    query = ProductQuery(sort=sort)
    assert query.key(first) < query.key(second)


def test_a_tie_goes_by_id() -> None:
    for sort in ProductSort:
        query = ProductQuery(sort=sort)
        assert query.key(product(1, sku="X")) < query.key(product(2, sku="X"))


@pytest.mark.parametrize("search", ["x" * 101, "a\x00", "a\x1fb", "\ud800"])
def test_a_search_nobody_can_mean_is_refused(search: str) -> None:
    with pytest.raises(InvalidField):
        ProductQuery(search=search)
