"""A store to attack: the two that need no server, and PostgreSQL where SQL matters."""

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue("sqlite_url")
    return url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """The same, and PostgreSQL."""
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
