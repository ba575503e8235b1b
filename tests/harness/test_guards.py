"""The table of guards is true: what `make guards` takes out is there, once."""

import pytest

from tests.guards import GUARDS, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_where_the_table_says(guard: Guard) -> None:
    assert guard.text().count(guard.take) == 1
    assert guard.put != guard.take


def test_each_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
