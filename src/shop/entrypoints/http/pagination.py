"""Pages on the wire: `page` and `page_size` as Django REST has them, keyset cursors in links."""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Request
from litestar.params import QueryParameter
from msgspec import Meta

from shop.domain.errors import InvalidField, NotFound
from shop.domain.pages import Key, Page, Part

T = TypeVar("T")
R = TypeVar("R")

PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
OFFSET_MAX = 10_000
CURSOR_LENGTH_MAX = 4_096

# The parts of keys, as strict as the databases: a cursor may be forged.
KeyNumber = Annotated[int, Meta(ge=0, le=2**63 - 1)]
KeyText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
KeyTime = Annotated[datetime, Meta(tz=True)]

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class PageOut(msgspec.Struct, Generic[T]):
    count: int
    """Of the whole list; along a walk by links it stays that of the first page."""
    next: str | None
    previous: str | None
    results: list[T]


class PageNotFound(NotFound):
    code = "page_not_found"
    title = "No such page"


class ReadPage(Protocol[R]):
    """A use case with everything but the page given."""

    def __call__(self, *, part: Part, count: int | None) -> Awaitable[Page[R]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page is asked for, by number or by the cursor of a link."""

    page: int
    page_size: int
    cursor: str | None


def provide_page_request(
    page: Annotated[
        int,
        QueryParameter(ge=1, le=2**31 - 1, description="Page number, from 1."),
    ] = 1,
    page_size: Annotated[
        int, QueryParameter(ge=1, le=PAGE_SIZE_MAX, description="Results on a page.")
    ] = PAGE_SIZE,
    cursor: Annotated[
        str | None,
        QueryParameter(
            max_length=CURSOR_LENGTH_MAX,
            description="From a `next` or `previous` link; opaque. It goes before `page`.",
        ),
    ] = None,
) -> PageRequest:
    return PageRequest(page=page, page_size=page_size, cursor=cursor)


class PageLinks(Generic[R, T]):
    """Answers page requests of one list."""

    def __init__(
        self,
        *,
        key: Callable[[R], Key],
        key_type: Any,
        out: Callable[[R], T],
        public_url: str,
    ) -> None:
        self._key = key
        self._cursor_type = msgspec.json.Decoder(tuple[bool, KeyNumber, key_type])
        self._out = out
        self._public_url = public_url

    async def __call__(
        self, request: Request[Any, Any, Any], wanted: PageRequest, read: ReadPage[R]
    ) -> PageOut[T]:
        """Raises `PageNotFound` past the end, `InvalidField` for a bad cursor or depth."""
        if wanted.cursor is not None:
            backwards, count, key = self._decode(wanted.cursor)
            part = Part(
                limit=wanted.page_size,
                before=key if backwards else None,
                after=None if backwards else key,
            )
            page = await read(part=part, count=count)
            has_next, has_previous = (True, page.more) if backwards else (page.more, True)
        else:
            page = await self._numbered(wanted, read)
            has_next, has_previous = page.more, wanted.page > 1
        items = page.items
        link = self._linker(request, page.count)
        return PageOut(
            count=page.count,
            next=link(False, items[-1]) if has_next and items else None,
            previous=link(True, items[0]) if has_previous and items else None,
            results=[self._out(item) for item in items],
        )

    async def _numbered(self, wanted: PageRequest, read: ReadPage[R]) -> Page[R]:
        offset = (wanted.page - 1) * wanted.page_size
        part = Part(limit=wanted.page_size, offset=min(offset, OFFSET_MAX))
        page = await read(part=part, count=None)
        if offset > 0 and page.count <= offset:
            raise PageNotFound(f"There is no page {wanted.page}.")
        if offset > OFFSET_MAX:
            raise InvalidField(
                "page", f"reaches only {OFFSET_MAX} results deep; follow the `next` links instead"
            )
        return page

    def _decode(self, cursor: str) -> tuple[bool, int, Key]:
        try:
            text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"==")
            backwards, count, key = self._cursor_type.decode(text)
            # In UTC, which not every time with a zone can be: nobody made that into a link.
            key = tuple(
                part.astimezone(UTC) if isinstance(part, datetime) else part for part in key
            )
        except (binascii.Error, UnicodeError, msgspec.DecodeError, OverflowError):
            raise InvalidField("cursor", "is not one of this list's links") from None
        return backwards, count, key

    def _linker(self, request: Request[Any, Any, Any], count: int) -> Callable[[bool, R], str]:
        address = (
            (self._public_url or _origin(request)).rstrip("/")
            + request.scope["path"].rstrip("/")
            + "/"
        )
        query = [
            (name, value)
            for name, value in parse_qsl(
                request.scope["query_string"].decode("latin-1"), keep_blank_values=True
            )
            if name not in ("page", "cursor")
        ]

        def link(backwards: bool, item: R) -> str:
            cursor = msgspec.json.encode((backwards, count, self._key(item)))
            encoded = base64.urlsafe_b64encode(cursor).rstrip(b"=").decode("ascii")
            return f"{address}?{urlencode([*query, ('cursor', encoded)])}"

        return link


def _origin(request: Request[Any, Any, Any]) -> str:
    """The scheme and host the client used, as far as the host is one."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise InvalidField("Host", "is not a host name; set SHOP_PUBLIC_URL behind a proxy")
    return f"{request.scope['scheme']}://{host}"
