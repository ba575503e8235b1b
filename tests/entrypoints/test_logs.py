"""Log lines: one format, one request id, one line for each record."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from shop.adapters.work import Work, work_under_way
from shop.entrypoints.logs import (
    JsonFormatter,
    TextFormatter,
    set_up_logging,
)

FORGED = "ok\n2026-03-01 12:00:00,000 INFO shop [x] paid\r\nmore\u2028and\x0bmore"


@pytest.fixture
def request_id() -> Iterator[str]:
    token = work_under_way.set(Work(request_id="request-1"))
    yield "request-1"
    work_under_way.reset(token)


def logged(formatter: logging.Formatter, message: str, *args: object, **kwargs: Any) -> str:
    """What a logger with this format writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("shop.test")
    logger.addHandler(handler)
    logger.info(message, *args, **kwargs)
    return stream.getvalue()


def failure() -> Exception:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        return error


@pytest.mark.usefixtures("request_id")
def test_a_text_line_names_time_level_logger_request_and_message() -> None:
    line = logged(TextFormatter(), "placed %d", 3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]{12} INFO shop.test \[request-1\] placed 3\n", line)


def test_outside_of_a_request_the_id_is_a_dash() -> None:
    assert " [-] " in logged(TextFormatter(), "started")
    assert json.loads(logged(JsonFormatter(), "started"))["request_id"] == "-"


@pytest.mark.usefixtures("request_id")
def test_what_is_logged_cannot_look_like_another_line() -> None:
    first, *more = logged(TextFormatter(), "search %s", FORGED).splitlines()
    assert first.endswith("[request-1] search ok")
    assert more
    assert all(line.startswith("    ") for line in more)


def test_a_traceback_is_indented_below_its_line() -> None:
    first, *more = logged(TextFormatter(), "failed", exc_info=failure()).splitlines()
    assert first.endswith("failed")
    assert "ValueError: first" in "".join(more)
    assert all(line.startswith("    ") for line in more)


def test_an_empty_message_is_a_line_too() -> None:
    assert len(logged(TextFormatter(), "").splitlines()) == 1


@pytest.mark.usefixtures("request_id")
def test_a_json_line_is_one_object_whatever_is_logged() -> None:
    written = logged(JsonFormatter(), "search %s", FORGED, exc_info=failure())
    assert len(written.splitlines()) == 1
    line = json.loads(written)
    assert line.pop("time").endswith("+00:00")
    assert "ValueError: first" in line.pop("exception")
    assert line == {
        "level": "info",
        "logger": "shop.test",
        "request_id": "request-1",
        "message": f"search {FORGED}",
    }


@pytest.fixture
def _own_root_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)


@pytest.mark.usefixtures("_own_root_logger")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_go_to_standard_error_in_the_chosen_format(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(level="warning", log_format=log_format)
    logging.getLogger("shop.test").info("too quiet to hear")
    logging.getLogger("shop.test").warning("heard")
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert "heard" in line
    assert line.startswith("{") == (log_format == "json")
