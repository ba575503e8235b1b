"""The audit trail: one line for each event, whatever its fields contain."""

from uuid import UUID

import pytest

from shop.adapters.audit import TOGETHER_FROM, TOGETHER_MAX, LogAudit
from shop.domain.events import Event
from shop.domain.users import Caller, Role
from tests.logged import logged

ORDER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


@pytest.mark.parametrize(
    "text", ["plain", 'a"b\\', "x\nuser.created {}", "\r\x00\x1b[2J", "Käse\u2028\u2029", "\ud800"]
)
def test_an_event_is_one_line_that_cannot_be_forged(text: str) -> None:
    with logged() as log:
        about = {"user": None, "address": text, "quantity": -2}
        LogAudit()(Event(name="sign_in.failed", about=about))
    written = log.text.removesuffix("\n")
    assert len(written.splitlines()) == 1
    assert written.isascii()
    assert written.isprintable()
    [line] = log.lines
    assert line.pop("time")
    assert line == {
        "level": "info",
        "logger": "shop.audit",
        "event": "sign_in.failed",
        "audit": True,
        "user": None,
        "address": text,
        "quantity": -2,
    }


def test_an_event_names_who_did_it_and_to_what() -> None:
    caller = Caller(user_id=7, role=Role.STAFF)
    with logged() as log:
        LogAudit()(Event(name="order.cancelled", by=caller, about={"order": ORDER}))
    [line] = log.events("order.cancelled")
    assert (line["audit"], line["user"], line["order"]) == (True, 7, str(ORDER))


def test_the_trail_is_kept_whatever_else_is_not_logged() -> None:
    with logged("error") as log:
        LogAudit()(Event(name="user.disabled", about={"user": 3}))
    assert [line["event"] for line in log.lines] == ["user.disabled"]


def test_what_happened_to_many_is_told_together() -> None:
    boss = Caller(user_id=7, role=Role.STAFF)
    longest = 2**53
    events = [
        Event(name="stock.changed", by=boss, about={"product": longest - n, "quantity": -(10**12)})
        for n in range(TOGETHER_MAX + 1)
    ]
    other = Event(name="product.changed", by=boss, about={"product": 1})
    silent = Event(name="order.placed", by=boss, about={"order": ORDER}, security=False)
    with logged() as log:
        LogAudit().listen([silent, *events, other])
    assert [line["event"] for line in log.lines] == ["stock.changed"] * 2 + ["product.changed"]
    first, second, single = log.lines
    assert (first["user"], first["count"], second["count"]) == (7, TOGETHER_MAX, 1)
    assert first["product"] == " ".join(str(longest - n) for n in range(TOGETHER_MAX))
    assert first["quantity"] == " ".join([str(-(10**12))] * TOGETHER_MAX)
    assert (single["product"], "count" in single) == (1, False)


def test_what_happened_to_few_is_a_line_each() -> None:
    events = [
        Event(name="stock.changed", about={"product": n, "quantity": 1})
        for n in range(TOGETHER_FROM - 1)
    ]
    with logged() as log:
        LogAudit().listen(events)
    assert [line["product"] for line in log.lines] == list(range(TOGETHER_FROM - 1))
