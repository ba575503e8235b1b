"""Pages: a bounded part of an ordered list, by offset near the front or by key anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
Q_contra = TypeVar("Q_contra", contravariant=True)
T = TypeVar("T")
Q = TypeVar("Q")

Key = tuple[Any, ...]
"""What a list is ordered by, unique in it; comparable with the keys of the same list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a list: from an offset, or after a key, or before one; at most one of the three."""

    limit: int
    offset: int = 0
    after: Key | None = None
    before: Key | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    items: Sequence[T]
    """In the order of the list, also when read backwards."""
    more: bool
    """Whether the list goes on in the direction read."""
    count: int
    """Length of the whole list."""


class Listable(Protocol[Q_contra, T_co]):
    """A repository whose contents can be listed."""

    async def read_window(self, query: Q_contra, window: Window) -> Sequence[T_co]:
        """At most `window.limit` items in list order; with `before`, those nearest before it."""
        ...

    async def count(self, query: Q_contra) -> int: ...


async def read_page(
    listed: Listable[Q, T], query: Q, window: Window, *, count: int | None = None
) -> Page[T]:
    """Read one page. Pass `count` to take it as known, which keeps a long walk flat in cost."""
    one_more = Window(
        limit=window.limit + 1, offset=window.offset, after=window.after, before=window.before
    )
    items = await listed.read_window(query, one_more)
    more = len(items) > window.limit
    if more:
        items = items[1:] if window.before is not None else items[:-1]
    return Page(items=items, more=more, count=await listed.count(query) if count is None else count)
