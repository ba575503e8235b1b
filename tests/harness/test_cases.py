"""Cases that share a test fail one by one, and none of them hides another."""

import pytest

from tests.cases import Cases


def test_every_case_that_fails_is_reported_by_its_name() -> None:
    ran = []

    def run() -> None:
        with Cases() as cases:
            for number in range(4):
                with cases.case("number", number):
                    ran.append(number)
                    assert number % 2 == 0, "odd"

    with pytest.raises(ExceptionGroup) as failed:
        run()
    assert ran == [0, 1, 2, 3]
    assert failed.value.message == "2 of 4 cases"
    assert [str(failure).partition(":")[0] for failure in failed.value.exceptions] == [
        "case 'number', 1",
        "case 'number', 3",
    ]
    assert all("odd" in str(failure.__cause__) for failure in failed.value.exceptions)


def test_an_expected_error_that_does_not_come_is_a_failure() -> None:
    with (
        pytest.raises(ExceptionGroup),
        Cases() as cases,
        cases.case(),
        pytest.raises(ValueError, match="x"),
    ):
        pass


def test_cases_that_all_pass_pass() -> None:
    with Cases() as cases, cases.case():
        pass


def test_a_table_without_a_case_proves_nothing_and_fails() -> None:
    with pytest.raises(AssertionError, match="no case"), Cases():
        pass
