"""Pages: one more is read than shown, to know whether the list goes on."""

from collections.abc import Sequence

import pytest

from shop.domain.pages import Listed, Part, read_page


class Alphabet(Listed[str, str]):
    """The letters, as a list; counts how often it was counted."""

    def __init__(self) -> None:
        self.counted = 0

    async def read_part(self, query: str, part: Part) -> Sequence[str]:
        if part.before is not None:
            return [letter for letter in query if letter < part.before[0]][-part.limit :]
        if part.after is not None:
            query = "".join(letter for letter in query if letter > part.after[0])
        return list(query[part.offset : part.offset + part.limit])

    async def count(self, query: str) -> int:
        self.counted += 1
        return len(query)


@pytest.mark.parametrize(
    ("part", "letters", "more"),
    [
        (Part(limit=2), "ab", True),
        (Part(limit=2, offset=2), "cd", True),
        (Part(limit=2, offset=4), "e", False),
        (Part(limit=5), "abcde", False),
        (Part(limit=2, after=("b",)), "cd", True),
        (Part(limit=2, after=("c",)), "de", False),
        (Part(limit=2, before=("e",)), "cd", True),
        (Part(limit=2, before=("c",)), "ab", False),
        (Part(limit=2, before=("a",)), "", False),
        (Part(limit=2, offset=9), "", False),
    ],
)
async def test_a_page_knows_whether_there_is_more(part: Part, letters: str, more: bool) -> None:
    page = await read_page(Alphabet(), "abcde", part)
    assert ("".join(page.items), page.more, page.count) == (letters, more, 5)


async def test_a_known_count_is_not_counted_again() -> None:
    alphabet = Alphabet()
    page = await read_page(alphabet, "abcde", Part(limit=2), count=77)
    assert (page.count, alphabet.counted) == (77, 0)
