"""The audit trail: one line for each event, whatever its fields contain."""

from uuid import UUID

import pytest

from shop.adapters.audit import LogAudit
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
