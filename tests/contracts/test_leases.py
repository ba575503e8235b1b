"""Leases: never two holders at a time, and one that died is replaced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

import pytest

from shop.domain.ports import UnitOfWorkFactory
from tests.stores import Store, sql_store

LONG = timedelta(hours=1)
ANNA, BERT = UUID(int=1), UUID(int=2)


async def take(
    unit_of_work: UnitOfWorkFactory, holder: UUID, name: str = "tidy", lasting: timedelta = LONG
) -> bool:
    async with unit_of_work() as uow:
        is_theirs = await uow.leases.take(name, holder=holder, lasting=lasting)
        await uow.commit()
    return is_theirs


async def release(store: Store, holder: UUID, name: str = "tidy") -> None:
    async with store.unit_of_work() as uow:
        await uow.leases.release(name, holder=holder)
        await uow.commit()


@pytest.fixture
async def processes(store: Store) -> AsyncIterator[list[UnitOfWorkFactory]]:
    """Three that share the store, each over connections of its own where there are any."""
    async with AsyncExitStack() as stack:
        if store.memory is not None:
            yield [store.unit_of_work] * 3
        else:
            url = store.sql.write.url.render_as_string(hide_password=False)
            others = [await stack.enter_async_context(sql_store(url)) for _ in range(2)]
            yield [each.unit_of_work for each in (store, *others)]


async def test_a_lease_that_is_held_is_for_its_holder_only(store: Store) -> None:
    assert await take(store.unit_of_work, ANNA)
    assert not await take(store.unit_of_work, BERT)
    assert await take(store.unit_of_work, ANNA)
    assert not await take(store.unit_of_work, BERT)
    assert await take(store.unit_of_work, BERT, name="another")


async def test_a_lease_that_expired_is_for_whoever_comes_first(store: Store) -> None:
    assert await take(store.unit_of_work, ANNA)
    await store.let_leases_expire()
    assert await take(store.unit_of_work, BERT)
    assert not await take(store.unit_of_work, ANNA)


async def test_renewing_makes_a_lease_last_from_then_on(store: Store) -> None:
    assert await take(store.unit_of_work, ANNA)
    await store.let_leases_expire()
    assert await take(store.unit_of_work, ANNA)
    assert not await take(store.unit_of_work, BERT)


async def test_a_lease_lasts_as_long_as_it_is_taken_for(store: Store) -> None:
    assert await take(store.unit_of_work, ANNA, lasting=timedelta())
    assert await take(store.unit_of_work, BERT, lasting=timedelta(milliseconds=50))
    await asyncio.sleep(0.1)
    assert await take(store.unit_of_work, ANNA)


async def test_a_lease_that_is_given_up_is_free_and_nobody_gives_up_anothers(store: Store) -> None:
    assert await take(store.unit_of_work, ANNA)
    assert await take(store.unit_of_work, ANNA, name="another")
    await release(store, BERT)
    assert not await take(store.unit_of_work, BERT)
    await release(store, ANNA)
    assert await take(store.unit_of_work, BERT)
    assert not await take(store.unit_of_work, BERT, name="another")


async def test_a_lease_that_was_not_committed_is_not_taken(store: Store) -> None:
    async with store.unit_of_work() as uow:
        assert await uow.leases.take("tidy", holder=ANNA, lasting=LONG)
    assert await take(store.unit_of_work, BERT)


@pytest.mark.parametrize("name", ["new", "expired"])
async def test_of_many_processes_that_ask_at_once_one_gets_it(
    store: Store, processes: list[UnitOfWorkFactory], name: str
) -> None:
    for turn in range(1, 6):
        if name == "new":
            name = f"new {turn}"
        else:
            await take(store.unit_of_work, UUID(int=99), name=name)
            await store.let_leases_expire()
        taken = await asyncio.gather(
            *(
                take(process, UUID(int=100 * turn + n), name=name)
                for n, process in enumerate(processes * 5)
            )
        )
        assert taken.count(True) == 1


async def test_who_waits_for_another_to_commit_sees_that_it_is_taken(
    store: Store, processes: list[UnitOfWorkFactory]
) -> None:
    await take(store.unit_of_work, UUID(int=99))
    await store.let_leases_expire()
    async with store.unit_of_work() as uow:
        assert await uow.leases.take("tidy", holder=ANNA, lasting=LONG)
        waiting = asyncio.create_task(take(processes[-1], BERT))
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        await uow.commit()
    assert not await waiting
