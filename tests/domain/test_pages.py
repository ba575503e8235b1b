"""Pages: one more is read than shown, to know whether the list goes on."""

from collections.abc import Sequence

import pytest

from shop.domain.pages import Count, Listable, Window, read_page


class Alphabet(Listable[str, str]):
    """The letters, as a list; counts how often it was counted."""

    def __init__(self) -> None:
        self.counted = 0

    async def read_window(self, query: str, window: Window) -> Sequence[str]:
        if window.before is not None:
            return [letter for letter in query if letter < window.before[0]][-window.limit :]
        if window.after is not None:
            query = "".join(letter for letter in query if letter > window.after[0])
        return list(query[window.offset : window.offset + window.limit])

    async def read_counted(self, query: str, window: Window) -> tuple[Sequence[str], Count]:
        self.counted += 1
        return await self.read_window(query, window), Count(len(query))


@pytest.mark.parametrize(
    ("window", "letters", "more"),
    [
        (Window(limit=2), "ab", True),
        (Window(limit=2, offset=2), "cd", True),
        (Window(limit=2, offset=4), "e", False),
        (Window(limit=5), "abcde", False),
        (Window(limit=2, after=("b",)), "cd", True),
        (Window(limit=2, after=("c",)), "de", False),
        (Window(limit=2, before=("e",)), "cd", True),
        (Window(limit=2, before=("c",)), "ab", False),
        (Window(limit=2, before=("a",)), "", False),
        (Window(limit=2, offset=9), "", False),
    ],
)
async def test_a_page_knows_whether_there_is_more(window: Window, letters: str, more: bool) -> None:
    page = await read_page(Alphabet(), "abcde", window)
    assert ("".join(page.items), page.more, page.count) == (letters, more, Count(5))


async def test_a_known_count_is_not_counted_again() -> None:
    alphabet = Alphabet()
    page = await read_page(alphabet, "abcde", Window(limit=2), count=Count(77))
    assert (page.count, alphabet.counted) == (Count(77), 0)
