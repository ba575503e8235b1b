"""Pages over HTTP: `page` and `page_size` as in Django REST, and cursors (keys) in the links."""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from typing import Annotated, Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta

from shop.domain.errors import InvalidField, InvalidFields, NotFound
from shop.domain.pages import Count, Key, Page, Window
from shop.entrypoints.http.api.fields import is_odd_number, wrong_parameters
from shop.entrypoints.settings import Settings

T = TypeVar("T")
R = TypeVar("R")

PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
OFFSET_MAX = 10_000
CURSOR_LENGTH_MAX = 4_096
PAGE_PARAMETERS = {"page", "page_size", "cursor"}

# The parts of keys, within what the databases take: a cursor may be forged.
KeyNumber = Annotated[int, Meta(ge=0, le=2**63 - 1)]
KeyText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
KeyTime = Annotated[datetime, Meta(tz=True)]

_FOREIGN = "is not one of this list's links"
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class PageOut(msgspec.Struct, Generic[T], kw_only=True, omit_defaults=True):
    """A part of a list."""

    count: Annotated[
        int,
        Meta(
            description="The length of the whole list, when its first page was read.",
            examples=[1],
        ),
    ]
    count_exact: Annotated[
        bool,
        Meta(
            description="Only there, and false, where the list has more than 1,000 and about so "
            "many.",
            examples=[False],
        ),
    ] = True
    next: Annotated[
        str | None,
        Meta(
            description="The address of the next page; null if this is the last.",
            examples=["https://shop.example/api/orders/?cursor=W2ZhbHNlLDQyXQ"],
        ),
    ]
    previous: Annotated[
        str | None,
        Meta(
            description="The address of the page before; null if this is the first.",
            examples=[None],
        ),
    ]
    results: Annotated[list[T], Meta(description="What is on this page.")]


class PageNotFound(NotFound):
    code = "page_not_found"
    title = "No such page"


class ReadPage(Protocol[R]):
    """A use case that lacks nothing but which part to read."""

    def __call__(self, *, window: Window, count: Count | None) -> Awaitable[Page[R]]: ...


class Listing(Generic[R, T]):
    """What tells one list from another; said once, beside the noun that is listed."""

    def __init__(self, *, key: Callable[[R], Key], key_type: Any, out: Callable[[R], T]) -> None:
        """`key_type` is the type of what `key` gives, by which cursors are read."""
        self.key = key
        self.out = out
        self.read_cursor = _cursor_reader(key_type)


@cache
def _cursor_reader(key_type: Any) -> Callable[[bytes], Any]:
    cursor = msgspec.defstruct(
        "Cursor",
        [
            ("backwards", bool),
            ("count", KeyNumber),
            ("key", key_type),
            # Links of older versions lack these.
            ("count_exact", bool, True),
            ("of", str, ""),
        ],
        array_like=True,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(cursor).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which page a request asks for, by number or by the cursor of a link, and how to answer it."""

    request: Request[Any, Any, Any]
    public_url: str
    page: int
    page_size: int
    cursor: str | None

    async def __call__(
        self, listing: Listing[R, T], read: ReadPage[R], query: Any = None
    ) -> PageOut[T]:
        """`query` is a dataclass that says which of what has this address is listed, and how.

        Raises `PageNotFound` past the end, `InvalidField` for a bad cursor or depth.
        """
        of = _digest(self.request.scope["path"], query)
        if self.cursor is not None:
            backwards, count, key = _decoded(listing, self.cursor, of)
            window = Window(
                limit=self.page_size,
                before=key if backwards else None,
                after=None if backwards else key,
            )
            page = await read(window=window, count=count)
            has_next, has_previous = (True, page.more) if backwards else (page.more, True)
        else:
            page = await self._numbered(read)
            has_next, has_previous = page.more, self.page > 1
        items = page.items
        link = self._linker(listing, page.count, of)
        return PageOut(
            count=page.count.number,
            count_exact=page.count.is_exact,
            next=link(False, items[-1]) if has_next and items else None,
            previous=link(True, items[0]) if has_previous and items else None,
            results=[listing.out(item) for item in items],
        )

    async def _numbered(self, read: ReadPage[R]) -> Page[R]:
        offset = (self.page - 1) * self.page_size
        window = Window(limit=self.page_size, offset=min(offset, OFFSET_MAX))
        page = await read(window=window, count=None)
        is_past_end = page.count.is_exact and page.count.number <= offset
        if offset > 0 and (is_past_end or not page.items):
            raise PageNotFound(f"There is no page {self.page}.")
        if offset > OFFSET_MAX:
            raise InvalidField(
                "page", f"reaches only {OFFSET_MAX} results deep; follow the `next` links instead"
            )
        return page

    def _linker(self, listing: Listing[R, T], count: Count, of: str) -> Callable[[bool, R], str]:
        scope = self.request.scope
        origin = (self.public_url or _origin(self.request)).rstrip("/")
        address = origin + scope["path"].rstrip("/") + "/"
        query = [
            (name, value)
            for name, value in parse_qsl(
                scope["query_string"].decode("latin-1"), keep_blank_values=True
            )
            if name not in ("page", "cursor")
        ]

        def link(backwards: bool, item: R) -> str:
            cursor = (backwards, count.number, listing.key(item), count.is_exact, of)
            encoded = (
                base64.urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode("ascii")
            )
            return f"{address}?{urlencode([*query, ('cursor', encoded)])}"

        return link


def provide_paging(
    request: Request[Any, Any, Any],
    settings: NamedDependency[Settings],
    page: Annotated[
        int,
        QueryParameter(
            ge=1,
            le=2**31 - 1,
            description="Page number, from 1.",
            schema_extra={"examples": [1]},
        ),
    ] = 1,
    page_size: Annotated[
        int,
        QueryParameter(
            ge=1,
            le=PAGE_SIZE_MAX,
            description="Results on a page.",
            schema_extra={"examples": [10]},
        ),
    ] = PAGE_SIZE,
    cursor: Annotated[
        str | None,
        QueryParameter(
            max_length=CURSOR_LENGTH_MAX,
            description="From a `next` or `previous` link of this list; opaque. It goes before "
            "`page`.",
            schema_extra={"examples": ["W2ZhbHNlLDQyXQ"]},
        ),
    ] = None,
) -> Paging:
    """`paging`, for handlers that list something: all that take whole numbers in a query."""
    if any(map(is_odd_number, request.query_params.values())):
        # Litestar has taken 1e1 for 10; a price may look like that.
        problems = wrong_parameters(request, settings.currency)
        if problems:
            raise InvalidFields(problems)
    return Paging(
        request=request,
        public_url=settings.public_url,
        page=page,
        page_size=page_size,
        cursor=cursor,
    )


def _digest(path: str, query: Any) -> str:
    """What tells one list from another, so that none is walked with the cursor of another.

    Only what is asked for: a filter that is new in a version leaves the links of before as they
    were.
    """
    asked: list[Any] = [path.rstrip("/")]
    if query is not None:
        given = [
            (each.name, getattr(query, each.name), each.default)
            for each in fields(query)
            if each.init
        ]
        asked += [{name: value for name, value, default in given if value != default}]
    encoded = msgspec.json.encode(asked, order="deterministic")
    return base64.urlsafe_b64encode(blake2b(encoded, digest_size=6).digest()).decode("ascii")


def _decoded(listing: Listing[R, T], cursor: str, of: str) -> tuple[bool, Count, Key]:
    """Backwards or not, the length of the list, and the key to go on from."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"==")
        read = listing.read_cursor(text)
        # A time near the end of the calendar cannot be in UTC: no link of ours has one.
        key = tuple(
            part.astimezone(UTC) if isinstance(part, datetime) else part for part in read.key
        )
    except (binascii.Error, UnicodeError, msgspec.DecodeError, OverflowError):
        raise InvalidField("cursor", _FOREIGN) from None
    if read.of not in ("", of):
        raise InvalidField("cursor", _FOREIGN)
    return read.backwards, Count(read.count, read.count_exact), key


def _origin(request: Request[Any, Any, Any]) -> str:
    """The scheme and host that the client used, if the host looks like one."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise InvalidField("Host", "is not a host name; set SHOP_PUBLIC_URL behind a proxy")
    return f"{request.scope['scheme']}://{host}"
