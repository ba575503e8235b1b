"""Parts of ordered lists, in memory."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from shop.domain.pages import Key, Part

T = TypeVar("T")


def cut_part(
    items: Iterable[T], part: Part, key: Callable[[T], Key], *, descending: bool
) -> list[T]:
    """Order the items by key and cut a part out, in list order."""
    ordered = sorted(items, key=key, reverse=descending)
    if part.before is not None:
        end = part.before
        kept = [item for item in ordered if (key(item) > end if descending else key(item) < end)]
        return kept[-part.limit :]
    if part.after is not None:
        start = part.after
        kept = [
            item for item in ordered if (key(item) < start if descending else key(item) > start)
        ]
        return kept[: part.limit]
    return ordered[part.offset : part.offset + part.limit]
