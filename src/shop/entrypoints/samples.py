"""Sample products: the same seed and number always make the same one."""

import asyncio
import random
from collections.abc import Callable, Iterable
from datetime import datetime

from shop.domain.money import Money, currency_digits
from shop.domain.products import Product
from shop.domain.users import OPERATOR
from shop.entrypoints.container import Container

PER_STEP = 2_000
"""Products in a transaction: others who write to SQLite wait for its end."""
AT_ONCE = 2
"""Steps: while the database stores one, the next is made."""

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


async def add_samples(
    container: Container, *, count: int, seed: int, advance: Callable[[int], None]
) -> int:
    """How many of them were new. Who is interrupted has added whole steps."""
    added = 0
    steps = iter(range(0, count, PER_STEP))
    # SQLite has one writer. Waiting for it is bounded, for the sake of who serves; waiting here for
    # a step that is slow is not.
    writing = asyncio.Semaphore(1 if container.settings().store == "sqlite" else AT_ONCE)

    async def work() -> None:
        nonlocal added
        for start in steps:
            numbers = range(start, min(start + PER_STEP, count))
            products = sample_products(
                seed=seed,
                numbers=numbers,
                currency=container.settings().currency,
                # Anew each time: who mirrors the catalogue looks back some seconds, not minutes.
                at=container.clock()(),
            )
            # Not `added += len(await ...)`, which would add to what it was before the wait.
            async with writing:
                new = await container.add_products()(caller=OPERATOR, products=products)
            added += len(new)
            advance(len(numbers))

    try:
        # Not `gather`, which leaves one behind when the other ends early: it would wait for ever
        # for connections that are closed by then.
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        # The other was ended because of the first.
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    if added:
        await container.schema().look_over()
        await container.count_lists()(caller=OPERATOR)
    return added


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
    article = "An" if style.startswith("E") else "A"
    return Product.new(
        sku=f"{kind[:3].upper()}-{seed}-{number + 1:06d}",
        name=f"{style} {material} {kind}",
        description=f"{article} {style.lower()} {kind.lower()} of {material.lower()}.",
        price=Money(amount=price, currency=currency),
        stock=dice.randint(5, 500),
        at=at,
    )
