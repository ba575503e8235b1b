"""Samples: made step by step, whatever a step takes."""

import asyncio
from typing import Any

import pytest

from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.products import Product
from shop.domain.services.keep_catalogue import AddProducts
from shop.entrypoints.cli.running import connected
from shop.entrypoints.samples import AT_ONCE, PER_STEP, add_samples
from tests.entrypoints.api import container_for, settings_for


@pytest.mark.parametrize(("store", "at_once"), [("sqlite", 1), ("postgresql", AT_ONCE)])
async def test_a_slow_step_fails_no_other(
    store: str, at_once: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it takes longer than anybody who is served would wait for a connection."""
    under_way = most = 0
    add = AddProducts.__call__

    async def add_counted(self: AddProducts, **arguments: Any) -> list[Product]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await add(self, **arguments)
        finally:
            under_way -= 1

    monkeypatch.setattr(AddProducts, "__call__", add_counted)
    url: str = request.getfixturevalue(f"{store}_url")
    container = container_for(settings_for(url, database_pool_timeout=0.01))
    told: list[int] = []
    try:
        added = await add_samples(container, count=2 * PER_STEP + 1, seed=1, advance=told.append)
    finally:
        await container.engines().dispose()
    assert added == sum(told) == 2 * PER_STEP + 1
    assert most == at_once, "SQLite has one writer"


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
async def test_a_commit_of_many_rows_may_take_longer_than_anybody_who_is_served_waits(
    store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url: str = request.getfixturevalue(f"{store}_url")
    send_commit = SqlUnitOfWork._send_commit

    async def commit_slowly(self: SqlUnitOfWork, lent: PooledConnection) -> None:
        await asyncio.sleep(0.3)
        await send_commit(self, lent)

    monkeypatch.setattr(SqlUnitOfWork, "_send_commit", commit_slowly)
    settings = settings_for(url, database_statement_timeout=0.2)
    async with connected(settings, writing=True, in_bulk=True) as container:
        assert await add_samples(container, count=3, seed=1, advance=lambda _: None) == 3
