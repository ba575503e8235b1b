"""Cases that share a test fail one by one, and none of them hides another."""

import pytest

from tests.cases import all_cases


def failing(*numbers: int) -> None:
    with all_cases() as cases:
        for number in numbers:
            with cases.case("number", number):
                assert number % 2 == 0, f"{number} is odd"


def test_every_case_that_fails_is_reported_by_its_name_and_all_are_run() -> None:
    with pytest.raises(pytest.fail.Exception) as failed:
        failing(0, 1, 2, 3)
    report = str(failed.value)
    assert report.startswith("2 of 4 cases failed")
    for number in (1, 3):
        assert f"--- 'number', {number}" in report
        assert f"{number} is odd" in report
    assert "'number', 2" not in report


def test_an_expected_error_that_does_not_come_is_a_failure() -> None:
    with pytest.raises(pytest.fail.Exception) as failed:
        expecting_an_error()
    assert "DID NOT RAISE" in str(failed.value)


def expecting_an_error() -> None:
    with all_cases() as cases, cases.case(), pytest.raises(ValueError, match="x"):
        pass


def test_what_fails_outside_of_a_case_fails_as_ever() -> None:
    with pytest.raises(ZeroDivisionError), all_cases():
        1 / 0  # noqa: B018


def test_cases_that_all_pass_pass() -> None:
    failing(0, 2)


def test_a_table_without_a_case_proves_nothing_and_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="no case"):
        failing()
