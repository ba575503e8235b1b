"""Parameters and headers that several routes share, and how their text is read."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import Meta

from shop.domain.errors import InvalidField
from shop.domain.money import PRICE_MAX, Money, currency_digits
from shop.domain.text import clean
from shop.entrypoints.http.api.fields import Rule

# The largest integer that every reader of JSON gets right (RFC 8259, section 6).
ID_MAX = 2**53 - 1

# Examples are of the demo data, so that they can be tried out. Those of parameters that may be left
# out stand in the schema, since the docs page fills in all others.
ProductId = Annotated[
    int,
    PathParameter(ge=1, le=ID_MAX, description="The product's id.", examples=[Example(value=1)]),
]

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
        schema_extra={"examples": ['"1"']},
    ),
]
IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        description="Answers 304 to this `ETag`.",
        schema_extra={"examples": ['"1"']},
    ),
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

# Stands for the pattern of the shop's own currency, which the OpenAPI document has in its place.
PRICE_PATTERN = "a price in the shop's currency"
# By this format the document knows examples that have as many digits as the currency.
MONEY = "decimal"
MONEY_FORMAT = {"extra": {"format": MONEY}}
PRICE = Rule(Money.parse)

# What an order may come to, in any currency.
TOTAL_PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,3})?$"


def price_pattern(currency: str) -> str:
    """Prices of 0 up to the highest."""
    digits = currency_digits(currency)
    whole_max = PRICE_MAX // 10**digits
    # The highest price is a power of ten: all that have fewer digits, and itself.
    below = rf"[0-9]{{1,{len(str(whole_max)) - 1}}}"
    if digits == 0:
        return f"^({below}|{whole_max})$"
    return rf"^({below}(\.[0-9]{{1,{digits}}})?|{whole_max}(\.0{{1,{digits}}})?)$"


def total_pattern(currency: str) -> str:
    """Of `TOTAL_PATTERN` what this currency has: beyond its digits there are zeros alone."""
    digits = min(currency_digits(currency), 3)
    fractions = [
        *([rf"[0-9]{{1,{digits}}}"] if digits else []),
        *(["[0-9]" * digits + rf"0{{1,{3 - digits}}}"] if digits < 3 else []),
    ]
    return rf"^[0-9]{{1,19}}(\.({'|'.join(fractions)}))?$"


def text(length_max: int, *, length_min: int = 0, lines: bool = False) -> Rule:
    """The rule of all texts: one line, or several, without control characters."""
    return Rule(
        lambda value, _: clean(
            "text", value, length_min=length_min, length_max=length_max, lines=lines
        )
    )


# What answers have in common.
PriceOut = Annotated[
    str,
    Meta(
        description="A decimal number with the digits of the currency.",
        examples=["21.90"],
        extra_json_schema=MONEY_FORMAT,
    ),
]
TotalOut = Annotated[
    str,
    Meta(
        description="The price of it all together.",
        examples=["43.80"],
        extra_json_schema=MONEY_FORMAT,
    ),
]
CurrencyOut = Annotated[
    str, Meta(description="The shop's currency, by ISO 4217.", examples=["EUR"])
]
MomentOut = Annotated[
    datetime, Meta(description="When it was; in UTC.", examples=["2026-01-31T12:00:00Z"])
]
CreatedOut = Annotated[
    datetime, Meta(description="When it was made; in UTC.", examples=["2026-01-31T12:00:00Z"])
]
ModifiedOut = Annotated[
    datetime,
    Meta(description="When it was changed last; in UTC.", examples=["2026-01-31T12:00:00Z"]),
]
ActorOut = Annotated[
    int | None,
    Meta(description="The id of the user who did it; null for an operator.", examples=[2]),
]
NoteOut = Annotated[
    str, Meta(description="What was noted with it; often empty.", examples=["left at the door"])
]


_TOTAL = re.compile(TOTAL_PATTERN, re.ASCII)


def parse_total(text: str, currency: str) -> Decimal:
    """What an order is expected to come to. Raises `InvalidField`.

    Zeros beyond the currency's digits do no harm; another digit there is no sum of this currency.
    """
    if not _TOTAL.fullmatch(text):
        raise InvalidField("expected_total", "must be an amount such as 43.80")
    digits = currency_digits(currency)
    if text.partition(".")[2][digits:].strip("0"):
        raise InvalidField("expected_total", f"{currency} has {digits} digits after the point")
    return Decimal(text)


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


Time = Annotated[
    str | None,
    QueryParameter(
        schema_extra={"format": "date-time", "examples": ["2026-01-31T12:00:00Z"]},
        description="With its zone; exclusive.",
    ),
    Rule(lambda text, _: parse_time("time", text)),
]
