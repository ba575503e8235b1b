"""Failures that end a process that serves: told to Sentry where a DSN is set, and logged."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
import structlog

from shop.entrypoints.settings import Settings, SettingsError

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("shop.process")

_SENTENCES = (SettingsError, click.ClickException)
"""What is told to the operator in a sentence: no key file, no such host."""


@contextmanager
def reported(settings: Settings) -> Iterator[None]:
    """What ends a process, as it serves or before, is reported before it ends.

    What is told to the operator in a sentence is not.
    """
    try:
        yield
    except (*_SENTENCES, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if settings.sentry_dsn:
            # Here, so that nobody else pays for it.
            from shop.entrypoints.error_reports import report_last

            report_last(settings, error)
        raise


@contextmanager
def logged_at_the_end() -> Iterator[None]:
    """What ends a worker, as it serves or before, is a log line like all others.

    It is raised on, for the worker to end; whoever catches it has nothing more to show of it.
    """
    try:
        yield
    except _SENTENCES as error:
        logger.critical("process.failed", detail=str(error))
        raise
    except Exception as error:
        logger.critical("process.failed", exc_info=error)
        raise
