"""The container: a misspelt keyword in it passes the type checker, and fails here."""

import pytest

from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.entrypoints.container import build_container
from tests.entrypoints.api import settings_for

SQLITE = "sqlite+aiosqlite:////tmp/never-opened.sqlite3"
POSTGRESQL = "postgresql+asyncpg://shop@/shop?host=/nowhere"


@pytest.mark.parametrize("database_url", ["memory://", SQLITE, POSTGRESQL])
async def test_everything_it_offers_can_be_built(database_url: str) -> None:
    container = build_container(settings_for(database_url))
    needs_sql = {"engines", "sql_schema", "replicas"}
    in_memory = database_url == "memory://"
    # These are there where they are switched on: tests/entrypoints/test_imports.py.
    switched_off = {"traces", "error_reports"}
    for name, provider in container.providers.items():
        if name not in switched_off and not (in_memory and name in needs_sql):
            assert provider() is not None, name
    if not in_memory:
        await container.engines().dispose()


@pytest.mark.parametrize(
    ("database_url", "kind"),
    [
        ("memory://", MemoryUnitOfWork),
        (SQLITE, SqliteUnitOfWork),
        (POSTGRESQL, PostgresUnitOfWork),
    ],
)
async def test_the_address_of_the_database_chooses_the_store(database_url: str, kind: type) -> None:
    container = build_container(settings_for(database_url))
    assert type(container.unit_of_work()) is kind
    if database_url != "memory://":
        await container.engines().dispose()


def test_each_unit_of_work_is_new_while_what_holds_state_is_shared() -> None:
    container = build_container(settings_for())
    assert container.unit_of_work() is not container.unit_of_work()
    assert container.memory() is container.memory()
    assert container.intake() is container.intake()
    assert container.access_tokens() is container.access_tokens()


def test_two_containers_share_nothing() -> None:
    one, two = build_container(settings_for()), build_container(settings_for())
    assert one.memory() is not two.memory()
    assert one.intake() is not two.intake()


@pytest.mark.parametrize("shared", ["products", "orders", "lists"])
def test_shared_reads_have_the_time_that_requests_have(shared: str) -> None:
    """Else one that the settings let wait for longer would be told that it had waited too long."""
    container = build_container(settings_for(request_deadline=40.0))
    reads = getattr(container, f"shared_{shared}")()
    assert reads.limits.deadline == 41


def test_settings_reach_what_they_are_about() -> None:
    container = build_container(
        settings_for(intake_queue_max=7, refresh_token_lifetime=60.0, database_pool_size=3)
    )
    assert container.intake_limits().queue_max == 7
    assert container.lifetimes().refresh.total_seconds() == 60
    assert container.database_options().pool_size == 3
