"""Parameters that several routes take, and how their text is read."""

import re
from datetime import UTC, datetime
from typing import Annotated

from litestar.params import HeaderParameter, PathParameter

from shop.domain.errors import InvalidField

ID_MAX = 2**63 - 1

ProductId = Annotated[int, PathParameter(ge=1, le=ID_MAX, description="The product's id.")]

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1_000,
        description="The `ETag` that was read; if it is another by now, 412 and no change.",
    ),
]
_TAG = re.compile(r'(?:W/)?"([0-9]{1,18})(?:-[0-9]{1,18})?"')

TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+ -][0-9]{2}:[0-9]{2})$"
)
PRICE_PATTERN = r"^[0-9]{1,8}(\.[0-9]{1,3})?$"


def parse_time(field: str, text: str | None) -> datetime | None:
    """An RFC 3339 time with its zone; a `+` that the query string made a space is one again."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+").upper())
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, "must be a time such as 2026-01-31T12:00:00Z") from None


def parse_if_match(header: str | None) -> set[int] | None:
    """The versions in an `If-Match` header; None when any will do.

    What is no tag of ours matches none.
    """
    if header is None or header.strip() == "*":
        return None
    return {int(match[1]) for match in _TAG.finditer(header)}
