"""What a row must be, whoever reads it."""

from typing import Any

import pytest

from shop.domain.bulk import ProductRow, StockRow
from shop.domain.errors import InvalidField, InvalidFields
from shop.domain.products import NO_MAX, STOCK_MAX
from shop.domain.stock import StockChange

BY_FIVE = StockChange(delta=5, reason="restock")


def problems(error: InvalidFields) -> dict[str, str]:
    return {each["field"]: each["message"] for each in error.context["errors"]}


def test_a_row_has_what_is_stored_of_its_texts() -> None:
    row = ProductRow(sku=" A\u00a01 ", name=" Tea\u3000", description="\nGreen.\n")
    assert (row.sku, row.name, row.description) == ("A 1", "Tea", "Green.")
    assert StockRow(sku=" A 1", stock=BY_FIVE).sku == "A 1"


def test_all_that_is_wrong_with_a_row_is_named() -> None:
    with pytest.raises(InvalidFields) as refusal:
        ProductRow(sku="*", name="", description="\0", max_per_order=-1)
    assert set(problems(refusal.value)) == {"sku", "name", "description", "max_per_order"}


@pytest.mark.parametrize("most", [NO_MAX, 1, STOCK_MAX])
def test_a_limit_may_be_taken_away(most: int) -> None:
    assert ProductRow(sku="A", max_per_order=most).max_per_order == most


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"delta": 1, "quantity": 1},
        {"delta": 1, "expected": 1},
        {"delta": 1, "absolute": True},
        {"quantity": 1},
        {"expected": 1},
        {"absolute": True},
        {"expected": 1, "absolute": True},
        {"quantity": 1, "expected": 1, "absolute": True},
        {"delta": 1, "quantity": 1, "expected": 1},
        {"delta": 0},
    ],
    ids=str,
)
def test_stock_is_changed_in_one_of_three_ways(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidField) as refusal:
        StockChange(reason="counted", **fields)
    assert set(problems(refusal.value)) == {"delta"}


@pytest.mark.parametrize("quantity", [-1, STOCK_MAX + 1, 10**400])
def test_a_quantity_has_bounds(quantity: int) -> None:
    with pytest.raises(InvalidField, match="quantity: must be from 0 to"):
        StockChange(quantity=quantity, absolute=True, reason="counted")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "a\nb"])
def test_a_reason_is_a_line(reason: str) -> None:
    with pytest.raises(InvalidField, match="reason: must"):
        StockChange(delta=1, reason=reason)
