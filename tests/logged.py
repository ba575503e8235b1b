"""What is logged, as whoever runs the service gets it."""

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shop.entrypoints import logs


class Log(io.BytesIO):
    """Collects log lines."""

    @property
    def text(self) -> str:
        return self.getvalue().decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Of the JSON form."""
        return [json.loads(line) for line in self.getvalue().split(b"\n") if line]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]


@contextmanager
def logged(level: str = "info", log_format: str = "json", *, only: bool = False) -> Iterator[Log]:
    """What this process logs meanwhile; `only` there, not to the test's own report."""
    log = Log()
    root = logging.getLogger()
    audit = logging.getLogger("shop.audit")
    before = root.handlers, root.level, logs._sink, audit.level
    # The test's own client.
    httpx, was_disabled = logging.getLogger("httpx"), logging.getLogger("httpx").disabled
    httpx.disabled = True
    if only:
        root.handlers = []
    logs.set_up_logging(level=level, log_format=log_format, destination=log)
    try:
        yield log
    finally:
        logging.captureWarnings(False)
        root.handlers, root_level, logs._sink, audit_level = before
        root.setLevel(root_level)
        httpx.disabled = was_disabled
        audit.setLevel(audit_level)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the shop logged: the event and its fields."""
    return {"event": record.getMessage(), **getattr(record, logs._FIELDS, {})}


class Stubborn(io.RawIOBase):
    """A destination that refuses, such as a full disk or a pipe that nobody reads."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.error = OSError(number, os.strerror(number))

    def write(self, _: object, /) -> int:
        raise self.error
