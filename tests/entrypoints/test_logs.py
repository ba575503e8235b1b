"""Log lines: one form for all, one line for each record, and what becomes of them."""

import ast
import asyncio
import errno
import io
import json
import logging
import os
import pty
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import structlog

import shop
from shop.adapters.work import Work, work_under_way
from shop.entrypoints import log_output, logs
from shop.entrypoints.log_forms import (
    FAILURE_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    cut,
    json_form,
    without_secrets,
)
from shop.entrypoints.log_output import BackgroundOutput, DirectOutput
from shop.entrypoints.logs import log_request, set_up_logging
from tests.logged import Stubborn, logged

DOCS = Path(__file__).parents[2] / "docs" / "operate.md"
FORGED = "ok\n2026-03-01 12:00:00,000 INFO shop [x] paid\r\nmore\u2028and\x0bmore\x85\x9b2J\x1b[31m"
ORDER = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
WORK = Work(request_id="request-1", user_id=7, order_id=ORDER, batch_id="b-1")

logger = structlog.stdlib.get_logger("shop.test")


@pytest.fixture
def work() -> Iterator[Work]:
    token = work_under_way.set(WORK)
    yield WORK
    work_under_way.reset(token)


def failure(*more: str) -> Exception:
    try:
        raise ValueError("first\nsecond", *more)
    except ValueError as error:
        return error


# --- what a line has ---


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_a_line_has_the_work_it_belongs_to_and_its_own_fields(through: str) -> None:
    with logged() as log:
        if through == "structlog":
            logger.info("placed", quantity=3, user_id=8)
        else:
            logging.getLogger("shop.test").info("placed %d", 3)
    [line] = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line.pop("time"))
    common = {
        "level": "info",
        "logger": "shop.test",
        "request_id": "request-1",
        "order_id": str(ORDER),
        "batch_id": "b-1",
    }
    if through == "structlog":
        assert line == common | {"event": "placed", "quantity": 3, "user_id": 8}
    else:
        assert line == common | {"event": "placed 3", "user_id": 7}


def test_outside_of_a_request_a_line_names_none() -> None:
    with logged() as log:
        logger.info("started")
    [line] = log.lines
    assert set(line) == {"time", "level", "logger", "event"}


def test_levels_have_the_same_names_whoever_logs() -> None:
    with logged("debug") as log:
        for name in ("debug", "info", "warning", "error", "critical", "exception"):
            getattr(logger, name)("x")
            getattr(logging.getLogger("shop.test"), name)("x")
    levels = [line["level"] for line in log.lines]
    assert levels[::2] == levels[1::2]
    assert levels[::2] == ["debug", "info", "warning", "error", "critical", "error"]


def test_what_is_too_quiet_for_the_level_is_not_logged() -> None:
    with logged("warning") as log:
        logger.info("too quiet")
        logging.getLogger("a.library").info("too quiet")
        logger.warning("heard")
        logging.getLogger("a.library").warning("heard")
    assert [line["event"] for line in log.lines] == ["heard", "heard"]


def test_a_failure_is_told_with_its_cause_and_no_variables() -> None:
    with logged() as log:
        try:
            secret_in_hand = "hunter" + "2"
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise RuntimeError("outer") from error
        except RuntimeError:
            logger.exception("failed")
            logging.getLogger("a.library").exception("failed")
    assert secret_in_hand == "hunter2"
    for line in log.lines:
        assert "KeyError: 'inner'" in line["exception"]
        assert "RuntimeError: outer" in line["exception"]
        assert "test_logs.py" in line["exception"]
        assert "hunter2" not in line["exception"]


def test_of_what_libraries_add_to_a_record_nothing_is_logged() -> None:
    with logged() as log:
        logging.getLogger("a.library").info("sent", extra={"body": "planted"})
    assert "planted" not in log.text


def test_a_warning_is_a_line() -> None:
    with warnings.catch_warnings(), logged() as log:
        warnings.simplefilter("always")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    [line] = log.lines
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "DeprecationWarning: old way" in line["event"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_line_that_cannot_be_made_is_one_about_that(log_format: str) -> None:
    class Broken:
        def __str__(self) -> str:
            raise OSError("planted")

    with logged(log_format=log_format, only=True) as log:
        logging.getLogger("a.library").info("%d", "planted")
        logger.info("x", value=Broken())
    assert log.text.count("log.failed") == 2
    assert "test_logs.py" in log.text
    assert "planted" not in log.text


def events_in_source() -> set[str]:
    """But for those of the audit trail, which docs/security.md lists."""
    events: set[str] = set()
    for path in Path(shop.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("logger")), args=[event, *_]):
                    events |= _names(event)
                case ast.Call(func=ast.Name("note"), args=[_, event, _]):
                    events |= _names(event)
                case ast.Constant(value=str(name)) if re.fullmatch(r"log\.[a-z_]+", name):
                    events.add(name)
    return events


def _names(event: ast.expr) -> set[str]:
    """A name stands in the source as it is; what is handed on, and old migrations, have none."""
    text = event.value if isinstance(event, ast.Constant) else None
    return {text} if isinstance(text, str) and re.fullmatch(r"[a-z_.]+", text) else set()


def test_the_docs_list_the_events_that_there_are() -> None:
    section = DOCS.read_text().partition("### Other events")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)]
    assert len(listed) == len(set(listed))
    assert set(listed) == events_in_source()


# --- nothing makes two lines of one ---


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_is_logged_cannot_look_like_another_line(log_format: str) -> None:
    with logged(log_format=log_format) as log:
        logger.info(FORGED)
        logger.info("x", search=FORGED)
        logger.info("x", search=[FORGED], about={FORGED: FORGED})
        logging.getLogger("a.library").info("search %s", FORGED)
        logging.getLogger(FORGED).info("x")
        log_request("info", {"path": FORGED})
    lines = log.text.split("\n")
    assert lines.pop() == ""
    assert len(lines) == 6
    assert log.text.splitlines() == lines
    assert all(line.isprintable() for line in lines)
    if log_format == "json":
        assert log.text.isascii()
        assert log.lines[0]["event"] == FORGED
        assert log.lines[1]["search"] == FORGED


def test_in_text_a_traceback_is_indented_below_its_line() -> None:
    error = failure(FORGED)
    with logged(log_format="text") as log:
        logger.error("failed", exc_info=error)
        logger.info("next")
    first, *more, last = log.text.splitlines()
    assert "failed" in first
    assert "next" in last
    assert "ValueError: ('first\\nsecond'" in "".join(more)
    assert all(line.startswith("    ") and line.isprintable() for line in more)


def test_in_json_a_traceback_is_in_its_line() -> None:
    with logged() as log:
        logger.error("failed", exc_info=failure())
    assert len(log.text.splitlines()) == 1
    assert log.lines[0]["exception"].endswith("ValueError: first\nsecond")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_empty_message_is_a_line_too(log_format: str) -> None:
    with logged(log_format=log_format) as log:
        logger.info("")
    assert len(log.text.splitlines()) == 1


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, -(2**70), float("nan"), float("inf"), b"\xff", object, {1: {2: 3}}]
)
def test_any_value_makes_a_line(value: object) -> None:
    with logged() as log:
        logger.info("x", value=value, after=1)
    [line] = log.lines
    assert line["after"] == 1
    assert line["time"].endswith("Z")


def test_lines_are_short_and_keep_the_ends_of_what_is_long() -> None:
    with logged() as log:
        logger.info("e" * 10**6, value="v" * 10**6)
        logger.error("failed", exc_info=ValueError("begin" + "x" * 10**6 + "end"))
    assert all(len(line) < 2 * FAILURE_LENGTH_MAX for line in log.text.splitlines())
    assert log.lines[1]["exception"].startswith("ValueError: begin")
    assert log.lines[1]["exception"].endswith("xend")
    assert cut("x" * TEXT_LENGTH_MAX, TEXT_LENGTH_MAX) == "x" * TEXT_LENGTH_MAX


# --- secrets that others put into a line ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://shop:planted@db/shop", "at postgresql://shop:[hidden]@db/shop"),
        ("redis://:planted@host", "redis://:[hidden]@host"),
        ("https://a:planted@b:planted@host/x", "https://a:[hidden]@host/x"),
        ("Authorization: Bearer planted-1234", "Authorization: Bearer [hidden]"),
        ("{'authorization': 'Basic cGxhbnRlZDo='}", "{'authorization': 'Basic [hidden]'}"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjF9.planted_1-x.", "token [hidden]."),
        ("https://planted@sentry.example/1", "https://[hidden]@sentry.example/1"),
        ("GET https://host/?page=2&password=planted", "GET https://host/?page=2&password=[hidden]"),
        ("SHOP_SECRET_KEY=planted", "SHOP_SECRET_KEY=[hidden]"),
        ("{'password': 'planted, planted'}", "{'password': '[hidden]'}"),
        (r'{"refresh_token": "planted\"planted"}', '{"refresh_token": "[hidden]"}'),
        ("X-Api-Key: planted", "X-Api-Key: [hidden]"),
        ("argon2 made $argon2id$v=19$planted", "argon2 made [hidden]"),
        ("it was pbkdf2_sha256$870000$planted$planted", "it was [hidden]"),
        ("key " + "planted0" * 5 + " of", "key [hidden] of"),
        ("key " + "Planted/" * 5 + "0 of", "key [hidden] of"),
        ("https://host:8000/a@b", "https://host:8000/a@b"),
        ("SHOP_TOKEN_LEEWAY is wrong", "SHOP_TOKEN_LEEWAY is wrong"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8057"),
        (
            "in a_function_with_a_name_that_explains_itself",
            "in a_function_with_a_name_that_explains_itself",
        ),
        (
            "/srv/shop/lib/python/shop/domain/services/2",
            "/srv/shop/lib/python/shop/domain/services/2",
        ),
        ("a basic idea: see http://host/", "a basic idea: see http://host/"),
        ("12 -3 777", "12 -3 777"),
        ("12 -3 " + 64 * "7", "12 -3 [hidden]"),
    ],
)
def test_what_is_known_to_be_secret_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    with logged() as log:
        logger.info(text, value=text)
        logger.error("x", exc_info=ValueError(text))
    assert "planted" not in log.text
    assert log.lines[0]["event"] == log.lines[0]["value"] == shown


@pytest.mark.parametrize(
    "text",
    [
        "://a:" * 9_999,
        "eyJ-" * 9_999,
        "eyJaaaa." * 9_999,
        "x" * 10**7,
        "password " * 9_999,
        'token:"' * 9_999,
        "token='\\" * 9_999,
        "pbkdf2" * 9_999,
        "basic " * 9_999,
    ],
)
def test_looking_for_secrets_takes_no_time(text: str) -> None:
    with logged() as log:
        before = time.process_time()
        logger.info("x", value=text)
        assert time.process_time() - before < 1.0
    assert len(log.lines) == 1


# --- text for people ---


def at_terminal(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is shown there."""
    monkeypatch.delenv("TERM", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    reader, writer = pty.openpty()
    with logged(), open(writer, "wb", buffering=0) as terminal:  # noqa: PTH123
        set_up_logging(level="info", log_format="text", destination=terminal)
        logger.warning("placed", quantity=3)
        shown = os.read(reader, 4_096).decode()
    os.close(reader)
    return shown


def test_text_is_coloured_in_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in at_terminal({}, monkeypatch)
    with logged(log_format="text") as log:
        logger.warning("placed", quantity=3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d [\d:.]{12} \[warning *\] placed +\[shop.test\] quantity=3\n", log.text
    )


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_none(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = at_terminal(environ, monkeypatch)
    assert "placed" in shown
    assert "\x1b" not in shown


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with logged(log_format="text") as log:
        logger.info("x", name="Käse")
    assert "name=K\\xe4se" in log.text


# --- where lines go ---


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_go_to_standard_error_in_the_chosen_format(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with logged():
        set_up_logging(level="warning", log_format=log_format)
        logging.getLogger("shop.test").info("too quiet to hear")
        logging.getLogger("shop.test").warning("heard")
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert "heard" in line
    assert line.startswith("{") == (log_format == "json")


def test_a_process_without_standard_error_logs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with logged():
        set_up_logging(level="info", log_format="text")
        logger.info("x")
        log_request("info", {})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
@pytest.mark.parametrize("in_background", [False, True])
def test_a_destination_that_refuses_fails_nobody(number: int, in_background: bool) -> None:
    with logged(only=True):
        set_up_logging(
            level="info",
            log_format="json",
            in_background=in_background,
            destination=Stubborn(number),
        )
        logger.info("x")
        log_request("info", {})
        if isinstance(logs._sink.output, BackgroundOutput):
            logs._sink.output.close()


def lost(count: int) -> bytes:
    return b"lost %d\n" % count


def until_idle(output: BackgroundOutput) -> None:
    give_up_at = time.monotonic() + 10
    while output._lines or output._wake.qsize():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def test_a_slow_destination_holds_up_nobody_and_what_was_lost_is_counted() -> None:
    reader, writer = os.pipe()
    with open(writer, "wb", buffering=0) as pipe:  # noqa: PTH123
        output = BackgroundOutput(pipe, note_lost=lost, waiting_bytes_max=100_000)
        # Nobody reads: the pipe takes 64 KiB, and the thread waits for room with what it took.
        line = b"x" * 99 + b"\n"
        for _ in range(20):
            for _ in range(500):
                before = time.monotonic()
                output.write(line)
                assert time.monotonic() - before < 1.0
            time.sleep(0.02)
        assert output._lost > 0
        assert output._size <= 100_000
        received = b""
        while b"lost" not in received:
            received += os.read(reader, 65_536)
        output.close()
        while select_readable(reader):
            received += os.read(reader, 65_536)
    os.close(reader)
    *lines, last = received.splitlines()
    assert set(lines) <= {line[:-1]} | {one for one in lines if one.startswith(b"lost ")}
    told = [int(one.split()[1]) for one in [*lines, last] if one.startswith(b"lost ")]
    assert lines.count(line[:-1]) + (last == line[:-1]) + sum(told) == 20 * 500


def select_readable(reader: int) -> bool:
    import select

    return bool(select.select([reader], [], [], 0.2)[0])


def test_a_server_writes_many_lines_at_once() -> None:
    calls: list[bytes] = []

    def write(data: memoryview) -> int:
        calls.append(bytes(data))
        return len(data)

    output = BackgroundOutput(SimpleNamespace(write=write), note_lost=lost)
    for number in range(1_000):
        output.write(b"%d\n" % number)
    output.close()
    assert b"".join(calls) == b"".join(b"%d\n" % number for number in range(1_000))
    assert len(calls) < 100


def test_a_line_is_one_call_and_what_was_not_taken_is_tried_again() -> None:
    taken: list[bytes] = []
    answers = iter([None, 3, None])

    def write(data: memoryview) -> int | None:
        count = next(answers, len(data))
        if count is not None:
            taken.append(bytes(data[:count]))
        return count

    DirectOutput(SimpleNamespace(write=write)).write(b"one line\n")
    assert taken == [b"one", b" line\n"]


def test_lines_lost_to_a_full_disk_are_counted_when_there_is_room() -> None:
    written: list[bytes] = []
    is_full = True

    def write(data: memoryview) -> int:
        if is_full:
            raise OSError(errno.ENOSPC, "full")
        written.append(bytes(data))
        return len(data)

    output = BackgroundOutput(SimpleNamespace(write=write), note_lost=lost)
    for _ in range(3):
        output.write(b"x\n")
        until_idle(output)
    give_up_at = time.monotonic() + 10
    while output._lost < 3:
        assert time.monotonic() < give_up_at
        time.sleep(0.001)
    is_full = False
    output.write(b"y\n")
    output.close()
    assert b"".join(written) == b"y\nlost 3\n"


def test_a_process_that_ends_writes_what_waits_but_not_for_ever() -> None:
    stuck = threading.Event()

    def write(data: memoryview) -> int:
        stuck.wait(30)
        return len(data)

    output = BackgroundOutput(SimpleNamespace(write=write), note_lost=lost)
    output.write(b"x\n")
    before = time.monotonic()
    output.close()
    output.write(b"late\n")
    assert time.monotonic() - before < log_output._CLOSE_SECONDS + 1
    stuck.set()


def test_a_process_that_is_forked_writes_its_own_lines_only() -> None:
    reader, writer = os.pipe()
    with open(writer, "wb", buffering=0) as pipe:  # noqa: PTH123
        output = BackgroundOutput(pipe, note_lost=lost)
        output._lines.append(b"of the parent\n")
        if not os.fork():
            output.write(b"of the child\n")
            output.close()
            os._exit(0)
        os.wait()
    assert os.read(reader, 4_096) == b"of the child\n"
    os.close(reader)


# --- failures that nobody catches ---


def uncaught(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(place, name, getattr(place, name))
    logs.log_uncaught()


def test_an_uncaught_exception_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    uncaught(monkeypatch)
    with logged(only=True) as log:
        error = failure()
        sys.excepthook(type(error), error, error.__traceback__)
        thread = threading.Thread(target=lambda: 1 / 0, name="counting")
        thread.start()
        thread.join()
    [process] = log.events("process.failed")
    assert process["level"] == "critical"
    assert "ValueError: first" in process["exception"]
    [of_thread] = log.events("thread.failed")
    assert of_thread["thread"] == "counting"
    assert "ZeroDivisionError" in of_thread["exception"]


def test_an_exception_that_python_can_only_report_is_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fails:
        def __del__(self) -> None:
            raise ValueError("at the end")

    uncaught(monkeypatch)
    with logged(only=True) as log:
        one: Any = Fails()
        del one
    [line] = log.events("object.failed")
    assert "ValueError: at the end" in line["exception"]


def test_ctrl_c_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uncaught(monkeypatch)
    with logged(only=True) as log:
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert log.text == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


async def test_a_failure_of_the_event_loop_is_a_line_that_shows_no_arguments() -> None:
    def fails(_: str) -> None:
        raise ValueError("no luck")

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    logs.log_uncaught_of_loop()
    try:
        with logged(only=True) as log:
            loop.call_soon(fails, "planted")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    [line] = log.events("loop.failed")
    assert "ValueError: no luck" in line["exception"]
    assert "planted" not in log.text


def test_the_json_form_is_what_json_reads() -> None:
    line = {"text": 'a"b\\\u2028\x7f\U0001f600', "order": ORDER, "none": None, "yes": True}
    assert json.loads(json_form(line)) == line | {"order": str(ORDER)}
