"""Signed marks in a header, by which clients tell a store with replicas what they have seen."""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Iterable
from functools import lru_cache

from shop.adapters.work import Seen, Work
from shop.entrypoints.keys import SigningKeys

HEADER = b"x-shop-seen"
_SEEN = struct.Struct(">qIQ")
_SIGNATURE_BYTES = 16
_TEXT_LENGTH = (_SEEN.size + _SIGNATURE_BYTES) * 4 // 3
KEPT_MAX = 1_024
"""Marks whose signature is known: all orders of a batch have the same, and clients repeat them."""


class SeenMarks:
    """Signs marks and reads them.

    What is signed with no key of ours counts for nothing, as if it had not been sent: nobody is to
    choose what the primary is asked for, and a mark from before the keys were changed is no reason
    to refuse a request.
    """

    def __init__(self, keys: SigningKeys) -> None:
        self._keys = keys.derived(b"shop seen")
        self._sign = lru_cache(KEPT_MAX)(self._signed)
        self._verify = lru_cache(KEPT_MAX)(self._verified)

    def of(self, work: Work) -> Iterable[tuple[bytes, bytes]]:
        """The header of an answer, if there is anything to say."""
        return () if work.seen is None else ((HEADER, self._sign(work.seen)),)

    def sent_in(self, headers: Iterable[tuple[bytes, bytes]]) -> Seen | None:
        """What the client of a request has seen, by its header."""
        sent = [value for name, value in headers if name == HEADER]
        return self._verify(sent[0]) if len(sent) == 1 and len(sent[0]) == _TEXT_LENGTH else None

    def _signed(self, seen: Seen) -> bytes:
        content = _SEEN.pack(seen.system, seen.timeline, seen.position)
        return base64.urlsafe_b64encode(content + _signature(content, self._keys[0]))

    def _verified(self, text: bytes) -> Seen | None:
        try:
            decoded = base64.b64decode(text, altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        content, signature = decoded[: _SEEN.size], decoded[_SEEN.size :]
        if not any(hmac.compare_digest(_signature(content, key), signature) for key in self._keys):
            return None
        system, timeline, position = _SEEN.unpack(content)
        return Seen(system=system, timeline=timeline, position=position)


def _signature(content: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(content, key=key, digest_size=_SIGNATURE_BYTES).digest()
