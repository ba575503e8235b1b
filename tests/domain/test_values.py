"""Values that are made by the thousand: what they are to Python, and what to type checkers."""

import pytest

from shop.domain.money import Money
from tests.builders import money


def test_values_with_the_same_fields_are_the_same() -> None:
    assert money(1) == money(1)
    assert len({money(1), money(1), money(2)}) == 2


def test_a_value_has_its_fields_by_name_and_no_others() -> None:
    with pytest.raises(TypeError):
        Money(1, "EUR")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        money(1).cents = 1  # type: ignore[attr-defined]


def test_a_value_is_frozen_for_who_checks_types_alone() -> None:
    price = money(1)
    # mypy would tell of an ignored error that is none.
    price.amount = 2  # type: ignore[misc]
    assert price.amount == 2
