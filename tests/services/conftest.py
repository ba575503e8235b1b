"""The use cases are told apart on the in-memory store; tests/contracts tells the stores apart."""

import pytest

from tests.stores import Store, memory_store


@pytest.fixture
def store() -> Store:
    return memory_store()
