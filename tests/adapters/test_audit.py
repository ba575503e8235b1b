"""The audit trail: one line for each event, whatever its fields contain."""

import json
import logging

import pytest

from shop.adapters.audit import LogAudit
from shop.domain.events import Event


@pytest.mark.parametrize(
    "text", ["plain", 'a"b\\', "x\nuser.created {}", "\r\x00\x1b[2J", "Käse\u2028\u2029", "\ud800"]
)
def test_an_event_is_one_line_that_cannot_be_forged(
    caplog: pytest.LogCaptureFixture, text: str
) -> None:
    with caplog.at_level(logging.INFO, logger="shop.audit"):
        about = {"user": None, "address": text, "quantity": -2}
        LogAudit()(Event(name="sign_in.failed", about=about))
    [message] = caplog.messages
    assert len(message.splitlines()) == 1
    assert message.isascii()
    assert message.isprintable()
    event, _, fields = message.partition(" ")
    assert event == "sign_in.failed"
    assert json.loads(fields) == {"user": None, "address": text, "quantity": -2}
