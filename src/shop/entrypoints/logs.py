"""Log lines: one format for all, each with the id of the request it belongs to."""

import json
import logging
import logging.config
from datetime import UTC, datetime

from shop.adapters.work import work_under_way


def current_request_id() -> str:
    """That of the request under way; `-` if there is none."""
    work = work_under_way.get()
    return work.request_id or "-" if work else "-"


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = current_request_id()
        first, *more = super().format(record).splitlines() or [""]
        # A line that goes on is indented: what is logged cannot look like another line.
        return "\n    ".join([first, *more])


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": current_request_id(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def set_up_logging(*, level: str, log_format: str) -> None:
    """Log to standard error, which whoever runs the service collects."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their chatter about every connection and schema check is not the shop's.
    for name in ("aiosqlite", "asyncio", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
