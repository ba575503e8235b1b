"""Use cases as Litestar dependencies: each provider behind a function without arguments."""

from collections.abc import Callable
from typing import TypeVar

from litestar.di import Provide

T = TypeVar("T")


def use(provider: Callable[[], T]) -> Provide:
    """Litestar takes the signature of what it is given for query parameters; this one has none."""

    def resolve() -> T:
        return provider()

    return Provide(resolve, sync_to_thread=False)
