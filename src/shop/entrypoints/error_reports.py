"""Unexpected failures, told to Sentry. Imported only where a DSN is set.

Whatever is logged as an error with its exception is one. Of what is around it nothing is sent
but ids and the route: no body, no header, no variable's value; and of what the exception says only
the first line, in which whatever looks like a secret is hidden, as in a log line.
"""

import logging
import time
from collections.abc import Callable
from traceback import walk_tb
from typing import Any

import sentry_sdk
from sentry_sdk.utils import event_from_exception

import shop
from shop.adapters.rates import Bucket
from shop.adapters.threads import try_for
from shop.adapters.work import Work, work_under_way
from shop.domain.errors import ShopError
from shop.entrypoints.log_forms import without_secrets
from shop.entrypoints.settings import Settings

_CAUSE_EVERY = 60.0
"""Seconds between two reports of one cause."""
_A_MINUTE_MAX = 20
_CAUSES_MAX = 256
_WAITING_MAX = 50
_STOP_SECONDS_MAX = 2.0
_TEXT_MAX = 300

Cause = tuple[str, ...]


class ReportRate:
    """Each cause now and then, and all of them so many a minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due: dict[Cause, float] = {}
        self._unreported: dict[Cause, int] = {}
        self._of_all = Bucket(_A_MINUTE_MAX / 60, _A_MINUTE_MAX, now)

    def take(self, cause: Cause) -> int | None:
        """How often it happened unreported since the last report; None if this one is not due."""
        now = self._now()
        is_early = now < self._due.get(cause, now)
        if is_early or not self._of_all.has_one() or not self._has_room(cause, now):
            if cause in self._due:
                self._unreported[cause] = self._unreported.get(cause, 0) + 1
            return None
        self._of_all.take()
        self._due[cause] = now + _CAUSE_EVERY
        return self._unreported.pop(cause, 0)

    def _has_room(self, cause: Cause, now: float) -> bool:
        if cause not in self._due and len(self._due) >= _CAUSES_MAX:
            for old in [each for each, due in self._due.items() if due <= now]:
                del self._due[old]
                self._unreported.pop(old, None)
        return cause in self._due or len(self._due) < _CAUSES_MAX


class ErrorReports:
    """Of one process. A thread sends them, whatever becomes of them there."""

    def __init__(self, *, dsn: str, environment: str, rate: ReportRate | None = None) -> None:
        # Not `sentry_sdk.init`: it is for the whole process, and looks for more to do than this.
        self._client = sentry_sdk.Client(
            dsn=dsn,
            release=f"shop@{shop.__version__}",
            environment=environment,
            default_integrations=False,
            auto_enabling_integrations=False,
            max_request_body_size="never",
            include_local_variables=False,
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            enable_backpressure_handling=False,
            enable_metrics=False,
            spotlight=False,
            transport_queue_size=_WAITING_MAX,
            in_app_include=["shop"],
        )
        self._rate = rate or ReportRate()

    def report(self, error: BaseException, *, logger: str = "shop", level: str = "error") -> None:
        """Unless it is expected, or its cause was reported lately."""
        if isinstance(error, ShopError) or not isinstance(error, Exception):
            return
        cause = cause_of(error)
        unreported = self._rate.take(cause)
        if unreported is None:
            return
        event: Any
        event, hint = event_from_exception(
            error,
            client_options=self._client.options,
            mechanism={"type": "logging", "handled": True},
        )
        for shown in event["exception"]["values"]:
            shown["value"] = harmless(shown.get("value") or "")
        work = work_under_way.get() or Work()
        tags = {
            "request_id": work.request_id,
            "route": work.route,
            "batch_id": work.batch_id,
            "use_case": work.use_case,
            "trace_id": work.trace_id,
            "unreported": str(unreported) if unreported else None,
        }
        event |= {
            "level": "fatal" if level == "critical" else level,
            "logger": logger,
            "fingerprint": list(cause),
            "tags": {name: value for name, value in tags.items() if value is not None},
        }
        if work.route is not None:
            event["transaction"] = work.route
        if work.user_id is not None:
            event["user"] = {"id": str(work.user_id)}
        self._client.capture_event(event, hint)

    def flush(self) -> None:
        """Send what waits, if Sentry takes it soon; there will be no more."""
        self._client.close(timeout=_STOP_SECONDS_MAX)

    async def close(self) -> None:
        await try_for(_STOP_SECONDS_MAX + 0.5, self.flush, name="reports")


class ReportingHandler(logging.Handler):
    """Reports what is logged as an error, together with its exception."""

    def __init__(self, reports: ErrorReports) -> None:
        super().__init__(level=logging.ERROR)
        self._reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        # What sending has to complain of is not sent.
        if record.name.startswith(("sentry_sdk", "urllib3")):
            return
        try:
            if record.exc_info and (error := record.exc_info[1]) is not None:
                self._reports.report(error, logger=record.name, level=record.levelname.lower())
        except Exception:
            self.handleError(record)


def cause_of(error: BaseException) -> Cause:
    """Its kind, and where it was raised: there, and the last place before that is the shop's.

    Not what it says, nor a line's number: the same cause has many of these.
    """
    kind = type(error)
    frames = [
        f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        for frame, _ in walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames if frame.startswith("shop.")]
    return (f"{kind.__module__}.{kind.__qualname__}", *ours[-1:], *frames[-1:])


def harmless(text: str) -> str:
    """The first line of what an exception says: databases show rows in those that follow."""
    # At first so long that no part of a secret is left where it is cut.
    first = text.split("\n", 1)[0][: 4 * _TEXT_MAX]
    return without_secrets(first)[:_TEXT_MAX]


def report_errors(settings: Settings) -> ErrorReports:
    """What is logged as an error is reported from now on, by this process."""
    reports = _open(settings)
    logging.getLogger().addHandler(ReportingHandler(reports))
    return reports


def report_last(settings: Settings, error: Exception) -> None:
    """What ends this process."""
    reports = _open(settings)
    reports.report(error, logger="shop.serve", level="critical")
    reports.flush()


def _open(settings: Settings) -> ErrorReports:
    # Its connections fail again and again while Sentry is away.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return ErrorReports(dsn=settings.sentry_dsn, environment=settings.environment)
