"""The table of guards is true: what `make guards` takes out is there, once."""

from pathlib import Path

import pytest

from tests import guards
from tests.guards import FAILED, GUARDS, HUNG, PASSED, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_where_the_table_says(guard: Guard) -> None:
    assert guard.text().count(guard.take) == 1
    assert guard.put != guard.take


def test_each_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


@pytest.mark.parametrize(
    ("unchanged", "without_it", "said", "exit_code"),
    [
        (PASSED, FAILED, "noticed", 0),
        (PASSED, HUNG, "noticed", 0),
        (PASSED, PASSED, "NOBODY NOTICED", 1),
        (FAILED, FAILED, "NOTHING LEARNT", 1),
        (HUNG, HUNG, "NOTHING LEARNT", 1),
        (PASSED, "did not run (4)", "NOTHING LEARNT", 1),
    ],
)
def test_only_tests_that_pass_with_the_guard_and_fail_without_it_have_noticed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unchanged: str,
    without_it: str,
    said: str,
    exit_code: int,
) -> None:
    guard = GUARDS[0]

    def run_tests(root: Path, tests: str) -> str:
        assert tests == guard.tests
        return unchanged if guard.text(root) == guard.text() else without_it

    guards.run_unchanged.cache_clear()
    monkeypatch.setattr(guards, "run_tests", run_tests)
    assert guards.main(guard.name) == exit_code
    assert capsys.readouterr().out.startswith(f"1/1 {said}")


def test_tests_that_several_guards_have_are_run_once_with_nothing_taken_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = [guard for guard in GUARDS if "of a repeat" in guard.name]
    sets = {guard.tests for guard in chosen}
    assert len(sets) < len(chosen)
    ran: list[str] = []

    def run_tests(_root: Path, tests: str) -> str:
        ran.append(tests)
        return PASSED

    guards.run_unchanged.cache_clear()
    monkeypatch.setattr(guards, "run_tests", run_tests)
    guards.main("of a repeat")
    assert len(ran) == len(chosen) + len(sets)
