"""Money: exact, whatever the currency's digits."""

import pytest

from shop.domain.errors import InvalidField
from shop.domain.money import PRICE_MAX, Money
from shop.domain.orders import QUANTITY_MAX
from tests.builders import money


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("12", "EUR", 1200),
        ("12.5", "EUR", 1250),
        ("12.05", "EUR", 1205),
        ("0", "EUR", 0),
        ("0.01", "EUR", 1),
        ("007.00", "EUR", 700),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
        ("10000000000.00", "EUR", PRICE_MAX),
        ("10000000000.00", "IDR", PRICE_MAX),
        ("1000000000000", "VND", PRICE_MAX),
        ("1000000000000", "KRW", PRICE_MAX),
        ("1000000000.000", "KWD", PRICE_MAX),
    ],
)
def test_a_price_is_read_to_the_minor_unit(text: str, currency: str, amount: int) -> None:
    assert Money.parse(text, currency) == Money(amount=amount, currency=currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", "EUR"),
        (".5", "EUR"),
        ("12.", "EUR"),
        ("-1", "EUR"),
        ("+1", "EUR"),
        ("1e3", "EUR"),
        ("1,50", "EUR"),
        (" 1", "EUR"),
        ("1\n", "EUR"),
        ("NaN", "EUR"),
        ("١٢", "EUR"),
        ("1.005", "EUR"),
        ("1.0", "JPY"),
        ("1.2345", "KWD"),
        ("10000000000.01", "EUR"),
        ("10000000000.01", "IDR"),
        ("1000000000001", "VND"),
        ("1000000000001", "KRW"),
        ("1000000000.001", "KWD"),
        ("99999999999999", "EUR"),
    ],
)
def test_a_price_that_is_not_one_names_its_field(text: str, currency: str) -> None:
    with pytest.raises(InvalidField) as refused:
        Money.parse(text, currency, field="items.0.price")
    assert refused.value.context["errors"][0]["field"] == "items.0.price"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1200, "EUR", "12.00"),
        (5, "EUR", "0.05"),
        (0, "EUR", "0.00"),
        (1200, "JPY", "1200"),
        (1234, "KWD", "1.234"),
        (4, "KWD", "0.004"),
    ],
)
def test_money_is_written_with_its_currencys_digits(amount: int, currency: str, text: str) -> None:
    assert str(Money(amount=amount, currency=currency)) == text


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
@pytest.mark.parametrize("amount", [0, 1, 99, 100, 123_456_789, PRICE_MAX])
def test_what_is_written_reads_back_as_the_same(amount: int, currency: str) -> None:
    written = str(Money(amount=amount, currency=currency))
    assert Money.parse(written, currency).amount == amount


def test_the_largest_line_fits_the_integers_of_databases_and_clients() -> None:
    assert (money(PRICE_MAX) * QUANTITY_MAX).amount < 2**63


def test_there_is_no_negative_money() -> None:
    with pytest.raises(AssertionError):
        money(-1)


@pytest.mark.parametrize(
    ("text", "currency", "message"),
    [
        ("twelve", "EUR", 'must be a decimal string such as "12.00"'),
        ("-5.00", "EUR", "must not be negative"),
        ("--5", "EUR", 'must be a decimal string such as "12.00"'),
        ("12.001", "EUR", "EUR has 2 digits after the point"),
        ("10000000000.01", "EUR", "must be at most 10000000000.00"),
    ],
)
def test_a_price_that_is_not_one_says_what_is_wrong_with_it(
    text: str, currency: str, message: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        Money.parse(text, currency)
    assert refused.value.context["errors"] == [{"field": "price", "message": message}]
