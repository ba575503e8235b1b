"""What text from outside must be, wherever it ends up."""

import unicodedata

from shop.domain.errors import InvalidField


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
    if any(
        unicodedata.category(c) in ("Cc", "Cs") and not (lines and c in "\t\r\n") for c in value
    ):
        raise InvalidField(field, "must not contain control characters")
    return value
