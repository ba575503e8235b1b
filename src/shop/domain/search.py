"""Searching: the form in which texts are looked in, and what is looked for in it.

Both are made here, once for all stores: a search finds what has all its terms in its search text.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from shop.domain.text import folded, without_accents

SHORT = 3
"""A word of fewer characters is found at the start of words only."""

# Before each word of a search text. Two, so that with the one character of the shortest word there
# is they make up the three that an index of three characters needs.
_GAP = "  "

# Scripts that are written without spaces: any character may begin a word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\U00020000-\U0003ffff]"
)


def search_text(*texts: str) -> str:
    """What is stored of the texts to be searched in: their words, folded, each once.

    With accents and without them. What starts inside of a word, after a sign or in a script without
    spaces, stands there once more for short words.
    """
    words = (word for text in texts for word in folded(text).split())
    return _GAP + _GAP.join(dict.fromkeys(form for word in words for form in _forms(word)))


def plain(text: str) -> str:
    """The form in which names are ordered, and begin with what is searched for: folded, and
    without accents. What is found by it may have them or not, as a search text says."""
    return without_accents(folded(text))


def search_terms(search: str) -> tuple[str, ...]:
    """What a search text must have, the longest first; nothing, if nothing is looked for."""
    terms = {word if len(word) >= SHORT else _GAP + word for word in folded(search).split()}
    return tuple(
        sorted(
            (
                term
                for term in terms
                # What another term has inside of it is found with it.
                if not any(term in other for other in terms if other != term)
            ),
            key=lambda term: (-len(term), term),
        )
    )


# A catalogue has few words, many times.
@lru_cache(maxsize=10_000)
def _forms(word: str) -> tuple[str, ...]:
    """In which a word is found."""
    forms = []
    for form in (word, without_accents(word)):
        forms += [form, *(form[start : start + SHORT - 1] for start in _starts_inside(form))]
    return tuple(forms)


def _starts_inside(word: str) -> Iterator[int]:
    """Where words start inside of what has no spaces: every sign is a word of its own."""
    if word.isascii() and word.isalnum():
        return
    was_letter = False
    for place, character in enumerate(word):
        # Marks belong to the letter before them.
        is_letter = character.isalnum() or unicodedata.category(character)[0] == "M"
        if place and not (is_letter and was_letter and not _UNSPACED.match(character)):
            yield place
        was_letter = is_letter
