"""Money: an integer count of a currency's minor units, so that sums are exact."""

import re
from decimal import Decimal
from typing import Self

from shop.domain.errors import InvalidField, MixedCurrencies
from shop.domain.values import value

# ISO 4217 currencies whose minor unit is not a hundredth; units of account, which nobody pays
# with, are left out (CLF and UYW have four digits).
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_DIGITS = {**dict.fromkeys(_WHOLE.split(), 0), **dict.fromkeys(_THOUSANDTHS.split(), 3)}
_DECIMAL = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,3}))?", re.ASCII)

PRICE_MAX = 10**12
"""In minor units, of one piece, in every currency.

It is 10,000,000,000.00 of a currency with two digits, so that houses and machines have a price in
rupiah, too. A line of 1,000,000 pieces at this price fits a signed 64-bit integer.
"""


def currency_digits(currency: str) -> int:
    """Digits after the decimal point, by ISO 4217."""
    return _DIGITS.get(currency, 2)


@value
class Money:
    amount: int
    """In minor units: 1200 is 12.00 EUR, and 1200 JPY."""
    currency: str
    """ISO 4217, three capital letters."""

    def __post_init__(self) -> None:
        assert self.amount >= 0
        assert len(self.currency) == 3

    @classmethod
    def parse(cls, text: str, currency: str, *, field: str = "price") -> Self:
        """Read `"12"`, `"12.5"` or `"12.50"`; all else, or too many digits, is `InvalidField`."""
        digits = currency_digits(currency)
        match = _DECIMAL.fullmatch(text)
        if match is None:
            if text.startswith("-") and _DECIMAL.fullmatch(text[1:]):
                raise InvalidField(field, "must not be negative")
            raise InvalidField(field, 'must be a decimal string such as "12.00"')
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > digits:
            raise InvalidField(field, f"{currency} has {digits} digits after the point")
        amount = int(whole) * 10**digits + int(fraction.ljust(digits, "0") or 0)
        if amount > PRICE_MAX:
            raise InvalidField(field, f"must be at most {cls(amount=PRICE_MAX, currency=currency)}")
        return cls(amount=amount, currency=currency)

    @property
    def decimal(self) -> Decimal:
        """In the currency's own units: what is written as 12, 12.0 or 12.00 is the same."""
        return Decimal(str(self))

    def __str__(self) -> str:
        digits = currency_digits(self.currency)
        if digits == 0:
            return str(self.amount)
        text = str(self.amount).zfill(digits + 1)
        return f"{text[:-digits]}.{text[-digits:]}"

    def __mul__(self, quantity: int) -> "Money":
        return Money(amount=self.amount * quantity, currency=self.currency)

    def require_currency(self, currency: str) -> None:
        """Raises `MixedCurrencies` if it is in another one."""
        if self.currency != currency:
            raise MixedCurrencies(self.currency, currency)
