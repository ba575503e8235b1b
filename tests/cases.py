"""Many cases in one test, where setting up a test takes longer than its case."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import pytest


class Cases:
    """Runs every case, and fails at the end with all that failed: each by name, with its traceback.

    with Cases() as cases:
        for value in VALUES:
            with cases.case(value):
                assert ...
    """

    def __init__(self) -> None:
        self._run = 0
        self._failures: list[Exception] = []

    def __enter__(self) -> Self:
        return self

    @contextmanager
    def case(self, *name: object) -> Iterator[None]:
        self._run += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as failure:
            shown = ", ".join(repr(part)[:100] for part in name)
            case = AssertionError(f"case {shown}: {failure!r}"[:500])
            case.__cause__ = failure
            self._failures.append(case)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            return
        assert self._run, "there was no case"
        if self._failures:
            raise ExceptionGroup(f"{len(self._failures)} of {self._run} cases", self._failures)
