"""What the container provides as Litestar dependencies, by the container's names."""

from collections.abc import Callable
from typing import TypeVar

from litestar.di import Provide

T = TypeVar("T")


def use(provider: Callable[[], T]) -> Provide:
    """The provider behind a function without parameters.

    Litestar would read the provider's own parameters from the query string.
    """

    def resolve() -> T:
        return provider()

    return Provide(resolve, sync_to_thread=False)
