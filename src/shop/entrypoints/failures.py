"""Unexpected failures of a process that serves, told to Sentry where a DSN is set."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from shop.entrypoints.settings import Settings, SettingsError


@contextmanager
def reported(settings: Settings) -> Iterator[None]:
    """What ends a process, as it serves or before, is reported before it ends.

    What is told to the operator in a sentence is not: no key file, no such host.
    """
    try:
        yield
    except (SettingsError, click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if settings.sentry_dsn:
            # Here, so that nobody else pays for it.
            from shop.entrypoints.error_reports import report_last

            report_last(settings, error)
        raise
