"""Sample products: the same seed and number always make the same one."""

import random
from collections.abc import Iterable
from datetime import datetime

from shop.domain.money import Money, currency_digits
from shop.domain.products import Product

_KINDS = [
    "Teapot",
    "Lamp",
    "Notebook",
    "Blanket",
    "Kettle",
    "Backpack",
    "Chair",
    "Mug",
    "Scarf",
    "Candle",
    "Clock",
    "Vase",
    "Cushion",
    "Umbrella",
    "Wallet",
    "Planter",
    "Tray",
    "Basket",
    "Mirror",
    "Bottle",
]
_MATERIALS = [
    "Oak",
    "Linen",
    "Ceramic",
    "Steel",
    "Wool",
    "Glass",
    "Leather",
    "Bamboo",
    "Copper",
    "Cotton",
    "Walnut",
    "Marble",
    "Cork",
    "Slate",
    "Felt",
]
_STYLES = [
    "Classic",
    "Compact",
    "Nordic",
    "Rustic",
    "Modern",
    "Travel",
    "Everyday",
    "Large",
    "Slim",
    "Handmade",
]


def sample_products(
    *, seed: int, numbers: Iterable[int], currency: str, at: datetime
) -> list[Product]:
    return [_sample(seed, number, currency, at) for number in numbers]


def _sample(seed: int, number: int, currency: str, at: datetime) -> Product:
    dice = random.Random(f"{seed}/{number}")  # noqa: S311  # samples, not secrets
    style, material, kind = dice.choice(_STYLES), dice.choice(_MATERIALS), dice.choice(_KINDS)
    unit: int = 10 ** currency_digits(currency)
    # Most things are cheap, a few are not; prices end in .90, as prices do.
    price = int(dice.lognormvariate(3.2, 0.8) + 1) * unit - unit // 10
    return Product.new(
        sku=f"{kind[:3].upper()}-{seed}-{number + 1:06d}",
        name=f"{style} {material} {kind}",
        description=f"A {style.lower()} {kind.lower()} of {material.lower()}.",
        price=Money(amount=price, currency=currency),
        stock=dice.randint(5, 500),
        at=at,
    )
