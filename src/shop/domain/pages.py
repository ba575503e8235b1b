"""Pages: a bounded part of an ordered list, by offset near the front or by key anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Q = TypeVar("Q")
Q_contra = TypeVar("Q_contra", contravariant=True)

COUNTED_MAX = 1_000
"""Lists are counted exactly up to here; of longer ones a store may say about how long they are."""

Key = tuple[Any, ...]
"""What a list is ordered by, unique in it; comparable with the keys of the same list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a list: from an offset, or after a key, or before one; at most one of the three."""

    limit: int
    offset: int = 0
    after: Key | None = None
    before: Key | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """The length of a list."""

    number: int
    is_exact: bool = True
    """If not, the list is of about this length, and longer than `COUNTED_MAX`, but for searches
    for what very many have."""

    def __str__(self) -> str:
        return str(self.number) if self.is_exact else f"about {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLength:
    """How long a list is that is too long to be counted whenever it is read."""

    list: str
    user_id: int
    """0 for everybody's."""
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedList:
    """A list of everybody's, and when it was counted."""

    list: str
    length: int
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    items: Sequence[T]
    """In the order of the list, also when read backwards."""
    more: bool
    """Whether the list goes on in the direction read."""
    count: Count
    """Length of the whole list."""


class Listable(Protocol[Q_contra, T_co]):
    """A repository whose contents can be listed.

    Either way of reading raises `SearchTooBroad` when it would have to look at too much.
    """

    async def read_window(self, query: Q_contra, window: Window) -> Sequence[T_co]:
        """At most `window.limit` items in list order; with `before`, those nearest before it."""
        ...

    async def read_counted(self, query: Q_contra, window: Window) -> tuple[Sequence[T_co], Count]:
        """The same, and the length of the whole list: if it is exact, of the same moment.

        Of a window past the end it is not known, and said to be that of all before the window.
        """
        ...


async def read_page(
    listed: Listable[Q, T], query: Q, window: Window, *, count: Count | None = None
) -> Page[T]:
    """Read one page. Pass `count` to take it as known, which keeps a long walk flat in cost."""
    one_more = replace(window, limit=window.limit + 1)
    if count is None:
        items, count = await listed.read_counted(query, one_more)
    else:
        items = await listed.read_window(query, one_more)
    more = len(items) > window.limit
    if more:
        items = items[1:] if window.before is not None else items[:-1]
    return Page(items=items, more=more, count=count)
