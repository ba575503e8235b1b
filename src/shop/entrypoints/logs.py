"""Log lines: one form for all that is logged, each with the work that it belongs to.

The shop logs through structlog: a stable name (`event`) and fields. Such a line becomes a record of
the standard library's logger of the same name, as what libraries log does, so that levels, tests
and reporters of errors see one kind. Lines of requests, of which there are many, go straight to
the output (`log_request`).
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict

from shop.adapters.work import Work, work_under_way
from shop.entrypoints.log_forms import Form, Line, failure_text, json_form, tame, text_form
from shop.entrypoints.log_output import (
    BackgroundOutput,
    Destination,
    DirectOutput,
    NoOutput,
    Output,
    is_terminal,
    standard_error,
)

requests = logging.getLogger("shop.access")
"""Has the level of the lines of requests, and no lines of its own."""

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.process")


def current_request_id() -> str:
    """That of the request under way; `-` if there is none."""
    work = work_under_way.get()
    return work.request_id or "-" if work else "-"


def fields_of(work: Work | None) -> Line:
    """What each line tells of the work that it belongs to."""
    fields: Line = {}
    if work is None:
        return fields
    if work.request_id is not None:
        fields["request_id"] = work.request_id
    if work.user_id is not None:
        fields["user_id"] = work.user_id
    if work.order_id is not None:
        fields["order_id"] = work.order_id
    if work.batch_id is not None:
        fields["batch_id"] = work.batch_id
    if work.trace_id is not None:
        fields["trace_id"] = work.trace_id
    return fields


def _line(
    time: datetime, level: str, logger_name: str, event: object, own: Mapping[str, Any]
) -> Line:
    return {
        "time": time,
        "level": level,
        "logger": logger_name,
        "event": event,
        **fields_of(work_under_way.get()),
        **own,
    }


# --- lines of structlog and of the standard library ---

# The attribute of a record that has the fields of a line. What else libraries add to a record
# (`extra`) is not logged: nobody knows what it is.
_FIELDS = "shop_fields"


def set_up_structlog() -> None:
    """Hands lines to the standard library's logger of the same name, whatever is done there."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, _to_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _to_record(_: object, method: str, fields: EventDict) -> tuple[tuple[object], dict[str, Any]]:
    """The arguments of the standard library's method."""
    exc_info = fields.pop("exc_info", method == "exception")
    return (fields.pop("event"),), {"exc_info": exc_info or None, "extra": {_FIELDS: fields}}


def _line_of(record: logging.LogRecord) -> Line:
    own: Line = dict(getattr(record, _FIELDS, {}))
    if record.exc_info and record.exc_info[1] is not None:
        own["exception"] = failure_text(record.exc_info[1])
    time = datetime.fromtimestamp(record.created, UTC)
    return _line(time, record.levelname.lower(), record.name, record.getMessage(), own)


def _line_of_failure(record: logging.LogRecord, error: Exception) -> Line:
    """Of a line that cannot be made, as of `logger.info("%d", "x")`."""
    own = {"of": record.name, "file": record.pathname, "number": record.lineno}
    return _line(
        datetime.now(UTC), "error", logger_name="shop.process", event="log.failed",
        own={**own, "error": type(error).__name__},
    )  # fmt: skip


class _Handler(logging.Handler):
    """The root logger's: brings what any logger logs into the one form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _sink.form(tame(_line_of(record)))
        except Exception as error:
            line = _sink.form(tame(_line_of_failure(record, error)))
        _sink.output.write(line)


# --- lines of requests ---


def log_request(level: str, own: Mapping[str, Any]) -> None:
    """Of values that are plain, short and harmless: it costs a fraction of what others do."""
    _sink.output.write(_sink.form(_line(datetime.now(UTC), level, requests.name, "request", own)))


# --- set up ---


@dataclass(frozen=True, slots=True)
class _Sink:
    """What becomes of lines in this process."""

    form: Form
    output: Output


_sink = _Sink(json_form, NoOutput())


def set_up_logging(
    *,
    level: str,
    log_format: str,
    audit: bool = True,
    in_background: bool = False,
    destination: Destination | None = None,
) -> None:
    """Log to standard error, which whoever runs the service collects.

    The audit trail is kept at any level, but where nobody keeps it. `in_background` is for servers:
    they must not wait for who reads what they log.
    """
    global _sink
    destination = destination or standard_error()
    form = json_form if log_format == "json" else text_form(
        colors=_wants_colors(destination), encoding=getattr(sys.stderr, "encoding", None) or "utf-8"
    )  # fmt: skip
    _sink = _Sink(form, _output(destination, form, in_background=in_background))
    set_up_structlog()
    root = logging.getLogger()
    # Those of others stay: a test's, an embedder's.
    others = [handler for handler in root.handlers if not isinstance(handler, _Handler)]
    root.handlers = [*others, _Handler()]
    root.setLevel(level.upper())
    logging.getLogger("shop.audit").setLevel(logging.INFO if audit else logging.NOTSET)
    logging.captureWarnings(True)
    # Their chatter about every connection and schema check is not the shop's.
    for name in ("aiosqlite", "asyncio", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _output(destination: Destination | None, form: Form, *, in_background: bool) -> Output:
    if destination is None:
        return NoOutput()
    if not in_background:
        return DirectOutput(destination)

    def note_lost(count: int) -> bytes:
        return form(
            _line(datetime.now(UTC), "warning", "shop.process", "log.lost", {"lines": count})
        )

    return BackgroundOutput(destination, note_lost=note_lost)


def _wants_colors(destination: Destination | None) -> bool:
    """Those of a terminal that has some, if nobody objects (https://no-color.org)."""
    return (
        is_terminal(destination)
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


# --- failures that nobody catches ---


def log_uncaught() -> None:
    """From now on they are log lines, like all others."""
    sys.excepthook = _process_failed
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable


def log_uncaught_of_loop() -> None:
    """Those of the event loop that runs, which would show the arguments of calls in its message."""
    asyncio.get_running_loop().set_exception_handler(_loop_failed)


def _process_failed(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("process.failed", exc_info=error)


def _thread_failed(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is not SystemExit:
        name = about.thread.name if about.thread else ""
        logger.error("thread.failed", thread=name, exc_info=about.exc_value)


def _unraisable(about: Any) -> None:
    logger.error("object.failed", detail=about.err_msg or "", exc_info=about.exc_value)


def _loop_failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else ""
    # Behind the name of what was called the message has its arguments.
    detail = context["message"].partition("(")[0]
    logger.error("loop.failed", detail=detail, task=name, exc_info=context.get("exception"))
