"""What a refusal says to whoever reads it: clients show these sentences as they are."""

import pytest

from shop.domain import errors
from shop.domain.errors import OverMax, PricedLine, ShopError, Shortage

TWO = [
    Shortage(product_id=1, requested=3, available=2),
    Shortage(product_id=5, requested=9, available=0),
]
SENTENCES = {
    "Not enough stock for product 1, product 5.": errors.OutOfStock(TWO),
    "More would come back than is out for product 1, product 5.": errors.NotOut(TWO),
    "An order may have at most 4 of product 1, 6 of product 5.": errors.OverMaxPerOrder(
        [
            OverMax(product_id=1, requested=9, available=4, max_per_order=4),
            OverMax(product_id=5, requested=9, available=6, max_per_order=6),
        ]
    ),
    "Prices in EUR and USD cannot be added up; all prices of a shop are in one currency.": (
        errors.MixedCurrencies("USD", "EUR")
    ),
    "The order would come to 24.00 EUR; nothing was done.": errors.PriceChanged(
        [PricedLine(product_id=1, quantity=2, price="12.00", total="24.00")],
        total="24.00",
        currency="EUR",
    ),
    "The order was changed in the meantime; read it again and decide anew.": errors.OrderChanged(),
    "The product was changed in the meantime; read it again and decide anew.": (
        errors.ProductChanged()
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_refusal_says_what_happened_and_what_to_do(sentence: str) -> None:
    error: ShopError = SENTENCES[sentence]
    assert str(error) == sentence
