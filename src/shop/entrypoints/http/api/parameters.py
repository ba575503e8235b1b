"""Parameters and headers that several routes share, and how their text is read."""

import re
from datetime import UTC, datetime
from typing import Annotated

from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, PathParameter, QueryParameter

from shop.domain.errors import InvalidField
from shop.domain.money import currency_digits

# The largest integer that every reader of JSON gets right (RFC 8259, section 6).
ID_MAX = 2**53 - 1

ProductId = Annotated[int, PathParameter(ge=1, le=ID_MAX, description="The product's id.")]

# The value is an example that shows in the OpenAPI document that the header is text.
ETAG = ResponseHeader(
    name="ETag", value='"1"', documentation_only=True, description="Changes with what is shown."
)
NOT_MODIFIED = {304: ResponseSpec(None, description="It is still what `If-None-Match` names")}
LOCATION = ResponseHeader(
    name="Location", value="/", documentation_only=True, description="Where it is."
)

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        max_length=1_000,
        description="The `ETag` that was read; if it is another by now, 412 and no change.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(name="If-None-Match", description="Answers 304 to this `ETag`."),
]

Time = Annotated[
    str | None,
    QueryParameter(schema_extra={"format": "date-time"}, description="Exclusive."),
]
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)

# Text as the OpenAPI document describes it: one line that is not only space, one line that may be
# empty, and several lines.
LINE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*$"
LINES_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"

# A price in any currency; the OpenAPI document has the pattern of the shop's own currency.
PRICE_PATTERN = r"^[0-9]{1,8}(\.[0-9]{1,3})?$"

# What an order may come to, in any currency.
TOTAL_PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,3})?$"


def price_pattern(currency: str) -> str:
    digits = currency_digits(currency)
    return r"^[0-9]{1,8}" + (rf"(\.[0-9]{{1,{digits}}})?$" if digits else "$")


def parse_time(field: str, text: str | None) -> datetime | None:
    """An RFC 3339 time with its zone. In a query string a `+` has become a space, and counts."""
    if text is None:
        return None
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.replace(" ", "+").upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, "must be a time such as 2026-01-31T12:00:00Z") from None
