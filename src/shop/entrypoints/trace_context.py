"""Which requests are traced, and as part of which trace: W3C Trace Context, level 2.

This is decided at a request's head, before anything is made for it: most are not traced.
"""

import random
import re
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shop.adapters.rates import Bucket

FOREIGN_TRACES_MAX = 10.0
"""Traces that clients ask for, a second in a process: so many are taken, and as many at once."""


class TraceParent(NamedTuple):
    """The span of somebody else that caused a request; its ids are hexadecimal digits."""

    trace_id: bytes
    span_id: bytes
    is_sampled: bool


_VERSION_0 = b"00"
# Of a version to come, what is known stands in front.
_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_BYTES_MAX = 512
_SAMPLED = 0x01
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


def trace_parent(headers: Iterable[tuple[bytes, bytes]]) -> TraceParent | None:
    """What `traceparent` says; None if it is missing, given twice, or against the standard."""
    found = None
    for name, value in headers:
        if name == b"traceparent":
            if found is not None:
                return None
            found = value
    return None if found is None else _parse(found)


def _parse(value: bytes) -> TraceParent | None:
    match = _TRACEPARENT.fullmatch(value) if len(value) <= _BYTES_MAX else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN or (version == _VERSION_0 and rest is not None):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


class HeadSampler:
    """Who sends a request says whether it is traced; where nobody does, a share of all is.

    Whoever reaches the shop may ask for traces, so only so many a second are made because of that.
    What is asked for beyond is a request like others.
    """

    def __init__(
        self,
        share: float,
        *,
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._draw = draw
        self._foreign = Bucket(FOREIGN_TRACES_MAX, FOREIGN_TRACES_MAX, now)

    def __call__(self, parent: TraceParent | None) -> bool:
        if parent is not None:
            if not parent.is_sampled:
                return False
            if self._foreign.take():
                return True
        return self._draw() < self._share
