"""W3C Trace Context, as strangers send it."""

import itertools

import pytest

from shop.entrypoints.trace_context import (
    FOREIGN_TRACES_MAX,
    HeadSampler,
    TraceParent,
    trace_parent,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def parsed(*values: bytes) -> TraceParent | None:
    return trace_parent([(b"host", b"x"), *((b"traceparent", value) for value in values)])


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("03", True), ("02", False)]
)
def test_a_parent_says_whether_it_is_sampled(flags: str, is_sampled: bool) -> None:
    assert parsed(f"00-{TRACE}-{SPAN}-{flags}".encode()) == TraceParent(
        trace_id=TRACE.encode(), span_id=SPAN.encode(), is_sampled=is_sampled
    )


@pytest.mark.parametrize("rest", ["", "-", "-more-of-it"])
def test_of_a_version_to_come_is_read_what_is_known(rest: str) -> None:
    found = parsed(f"cc-{TRACE}-{SPAN}-01{rest}".encode())
    assert found is not None
    assert found.is_sampled


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"00",
        GOOD + b"-",
        GOOD + b"-00",
        GOOD + b"\n",
        GOOD + b" ",
        b" " + GOOD,
        GOOD.upper(),
        GOOD.replace(b"00-", b"ff-", 1),
        GOOD.replace(b"00-", b"0x-", 1),
        GOOD.replace(b"-01", b"-1"),
        GOOD.replace(b"-01", b"-zz"),
        GOOD.replace(b"-", b"_"),
        GOOD.replace(TRACE.encode(), b"0" * 32),
        GOOD.replace(SPAN.encode(), b"0" * 16),
        GOOD.replace(TRACE.encode(), TRACE.encode()[:-1]),
        GOOD.replace(TRACE.encode(), TRACE.encode() + b"0"),
        GOOD.replace(b"4bf9", b"4bg9"),
        GOOD.replace(b"4bf9", "٤bf9".encode()),
        b"01-" + GOOD[3:] + b"x",
        b"01-" + GOOD[3:] + b"-" + b"x" * 10_000,
        GOOD + b"," + GOOD,
        b"\xff" * 55,
        b"0" * 30_000,
    ],
)
def test_what_is_not_as_the_standard_has_it_is_ignored(hostile: bytes) -> None:
    assert parsed(hostile) is None


def test_one_that_is_given_twice_is_ignored() -> None:
    assert parsed(GOOD, GOOD) is None
    assert parsed() is None


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


PARENT = TraceParent(TRACE.encode(), SPAN.encode(), is_sampled=True)
UNSAMPLED = TraceParent(TRACE.encode(), SPAN.encode(), is_sampled=False)


def test_without_a_parent_a_share_is_sampled() -> None:
    draws = itertools.cycle([0.0, 0.009, 0.01, 0.5])
    is_sampled = HeadSampler(0.01, draw=lambda: next(draws))
    assert [is_sampled(None) for _ in range(4)] == [True, True, False, False]


def test_a_share_may_be_nothing_or_all() -> None:
    none, all_of_them = HeadSampler(0.0), HeadSampler(1.0)
    assert not any(none(None) for _ in range(1_000))
    assert all(all_of_them(None) for _ in range(1_000))


def test_a_parents_decision_is_kept() -> None:
    assert HeadSampler(0.0)(PARENT)
    assert not HeadSampler(1.0)(UNSAMPLED)


def test_a_flood_of_requests_for_traces_is_bounded() -> None:
    time = Time()
    is_sampled = HeadSampler(0.0, now=time)
    assert sum(is_sampled(PARENT) for _ in range(1_000)) == FOREIGN_TRACES_MAX
    time.now += 0.5
    assert sum(is_sampled(PARENT) for _ in range(1_000)) == FOREIGN_TRACES_MAX / 2
    time.now += 1_000
    assert sum(is_sampled(PARENT) for _ in range(1_000)) == FOREIGN_TRACES_MAX


def test_beyond_the_bound_the_share_decides_as_for_everybody() -> None:
    is_sampled = HeadSampler(1.0, now=Time())
    assert all(is_sampled(PARENT) for _ in range(100))
