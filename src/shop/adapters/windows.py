"""Parts of lists that are in memory whole."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from shop.domain.pages import Key, Window

T = TypeVar("T")


def cut_window(
    items: Iterable[T], window: Window, key: Callable[[T], Key], *, descending: bool
) -> list[T]:
    """Order the items by key and cut a part out, in list order."""
    ordered = sorted(items, key=key, reverse=descending)
    if window.before is not None:
        end = window.before
        kept = [item for item in ordered if (key(item) > end if descending else key(item) < end)]
        return kept[-window.limit :]
    if window.after is not None:
        start = window.after
        kept = [
            item for item in ordered if (key(item) < start if descending else key(item) > start)
        ]
        return kept[: window.limit]
    return ordered[window.offset : window.offset + window.limit]
