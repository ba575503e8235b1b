"""What text from outside must be, wherever it ends up; and numbers of things in words."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

from shop.domain.errors import InvalidField

T = TypeVar("T")

# Default_Ignorable_Code_Point (UAX #44): what nobody sees and no keyboard has, such as the
# zero-width spaces, soft hyphens and byte-order marks that come along with pasted text.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_DOT_ABOVE = "\u0307"


def folded(text: str) -> str:
    """The form in which texts that people take for the same are equal.

    Unicode's NFKC_Casefold: letters whatever their case and width, composed or decomposed, without
    what is invisible. Beyond that any run of blanks is one space, with none at the ends, and `İ` is
    an `i`. It is for finding and comparing; what was typed is what is stored and shown.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    # Folding `İ` leaves an `i` and its dot. Once more, since letters may compose with what is left.
    for _ in range(2):
        text = unicodedata.normalize("NFKC", text.casefold().replace(f"i{_DOT_ABOVE}", "i"))
    return " ".join(text.split())


def the_one_called(name: str, known: Iterable[T], name_of: Callable[[T], str]) -> T | None:
    """Which of these a name stands for: the one that has it, or else the only one alike.

    Of several alike it is none: names from before folding may clash, and nobody should get one
    thing who means another.
    """
    alike = [each for each in known if folded(name_of(each)) == folded(name)]
    found = [each for each in alike if name_of(each) == name] or alike
    return found[0] if len(found) == 1 else None


def clean(
    field: str, value: str, *, length_max: int, length_min: int = 0, lines: bool = False
) -> str:
    """The text without surrounding space, or `InvalidField`.

    Control characters (NUL, which PostgreSQL refuses, and those that forge log lines) and
    surrogates are refused; `lines` lets tab and newline through.
    """
    value = value.strip()
    if not length_min <= len(value) <= length_max:
        raise InvalidField(field, f"must have {length_min} to {length_max} characters")
    if not value.isprintable() and any(
        unicodedata.category(c) in ("Cc", "Cs") and not (lines and c in "\t\r\n") for c in value
    ):
        raise InvalidField(field, "must not contain control characters")
    return value


def without_accents(text: str) -> str:
    """Letters without the marks above and below them.

    Marks of low classes are parts of letters: voicing in kana, nukta and virama in Indic scripts.
    """
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFD", text)
    letters = "".join(part for part in parts if unicodedata.combining(part) < 10)
    return unicodedata.normalize("NFC", letters)


def counted(number: int, one: str, many: str = "") -> str:
    """So many of them: `1 row`, `2,000 rows`; `many` is what several are called, if not by an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
