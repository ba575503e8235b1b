"""Many cases in one test, where setting up a test takes longer than its case."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Cases:
    def __init__(self) -> None:
        self._run = 0
        self._failures: list[str] = []

    @contextmanager
    def case(self, *name: object) -> Iterator[None]:
        """What fails inside is noted, and the next case goes on."""
        self._run += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as failure:
            shown = ", ".join(repr(part)[:100] for part in name)
            lines = "".join(traceback.format_exception(failure, chain=False))
            self._failures.append(f"--- {shown}\n{lines}")

    def report(self) -> None:
        if not self._run:
            pytest.fail("there was no case", pytrace=False)
        if self._failures:
            count = f"{len(self._failures)} of {self._run} cases failed"
            pytest.fail("\n".join([count, *self._failures]), pytrace=False)


@contextmanager
def all_cases() -> Iterator[Cases]:
    """Fails at the end of the block with all that failed: each by its name, with its traceback."""
    cases = Cases()
    yield cases
    cases.report()
