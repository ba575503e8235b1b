"""Marks in a header, by which clients tell a store with replicas what they have seen.

They are sealed: nobody else makes one, nor reads from two of them how much the shop has sold.
"""

import base64
import binascii
import struct
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shop.adapters.work import Seen, Work
from shop.entrypoints.keys import SigningKeys

HEADER = b"x-shop-seen"
_SEEN = struct.Struct(">qIQ")
_SEAL_BYTES = 16
_TEXT_LENGTH = (_SEEN.size + _SEAL_BYTES) * 4 // 3
KEPT_MAX = 1_024
"""Marks that are known already: all orders of a batch have the same, and clients repeat them."""


class SeenMarks:
    """Makes marks and reads them.

    What was sealed with no key of ours counts for nothing, as if it had not been sent: nobody is to
    choose what the primary is asked for, and a mark from before the keys were changed is no reason
    to refuse a request.
    """

    def __init__(self, keys: SigningKeys) -> None:
        # RFC 5297: the same content has the same seal, so there is no nonce to repeat by mistake.
        self._seals = [AESSIV(key) for key in keys.derived(b"shop seen")]
        self._sealed = lru_cache(KEPT_MAX)(self._seal)
        self._opened = lru_cache(KEPT_MAX)(self._open)

    def of(self, work: Work) -> Iterable[tuple[bytes, bytes]]:
        """The header of an answer, if there is anything to say."""
        return () if work.seen is None else ((HEADER, self._sealed(work.seen)),)

    def sent_in(self, headers: Iterable[tuple[bytes, bytes]]) -> Seen | None:
        """What the client of a request has seen, by its header."""
        sent = [value for name, value in headers if name == HEADER]
        return self._opened(sent[0]) if len(sent) == 1 and len(sent[0]) == _TEXT_LENGTH else None

    def _seal(self, seen: Seen) -> bytes:
        content = _SEEN.pack(seen.system, seen.timeline, seen.position)
        return base64.urlsafe_b64encode(self._seals[0].encrypt(content, None))

    def _open(self, text: bytes) -> Seen | None:
        with suppress(binascii.Error):
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            for seal in self._seals:
                with suppress(InvalidTag):
                    system, timeline, position = _SEEN.unpack(seal.decrypt(sealed, None))
                    return Seen(system=system, timeline=timeline, position=position)
        return None
