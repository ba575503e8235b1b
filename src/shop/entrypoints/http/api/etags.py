"""Entity tags: what `If-Match` and `If-None-Match` say of an answer's `ETag` (RFC 9110, 13.1)."""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b

# A proxy that compresses an answer makes its tag weak, or adds the encoding to it.
_ITEM = re.compile(
    r'[ \t,]*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*?)'
    r'(?:(?:--?|;)(?:gzip|br|zstd|deflate))?"[ \t]*(?=,|$)'
)
_VERSION = re.compile(r"([0-9]{1,18})(?:-[0-9]{1,18})?")


def tag_of(body: bytes) -> str:
    return f'"{blake2b(body, digest_size=12).hexdigest()}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the client has what bears this tag, so that 304 is the answer."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag[1:-1] in _opaque_tags(if_none_match)


def versions_in(if_match: str | None) -> set[int] | None:
    """The versions in an `If-Match` header; None if any version will do.

    A tag that the shop did not make matches no version.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = (_VERSION.fullmatch(tag) for tag in _opaque_tags(if_match))
    return {int(match[1]) for match in found if match is not None}


def if_none_match_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What was sent several times is joined by commas, as RFC 9110 has it."""
    found = [value for name, value in headers if name == b"if-none-match"]
    return b",".join(found).decode("latin-1") if found else None


def _opaque_tags(header: str) -> Iterator[str]:
    """What stands between the quotation marks, up to where the header is no list of tags."""
    position = 0
    while (item := _ITEM.match(header, position)) is not None:
        yield item[1]
        position = item.end()
