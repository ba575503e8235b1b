"""The three stores, opened for a test, and what tests look at behind the ports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import aiosqlite
import asyncpg
import pytest
from sqlalchemy import event, func, insert, select, update
from sqlalchemy.engine import Connection

from shop.adapters.memory.database import MemoryDatabase, Tables
from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.sql import tables
from shop.adapters.sql.engine import DatabaseOptions, Engines, create_engines
from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.adapters.sql.rows import read_rows
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.adapters.sql.statements import StatementObserver
from shop.adapters.sql.stock import movement_row
from shop.adapters.sql.trips import Trip
from shop.adapters.system import utc_now
from shop.domain.keys import KeyedRequest
from shop.domain.orders import HistoryEntry, Order, OrderStatus
from shop.domain.ports import EventListener, UnitOfWork
from shop.domain.stock import LedgerPosition, StockAudit, StockMovement
from shop.domain.text import folded
from shop.domain.users import Caller


class OpenUnitOfWork(Protocol):
    """Units of work that may tell listeners of the test's."""

    def __call__(
        self,
        *,
        read_only: bool = False,
        caller: Caller | None = None,
        batch: bool = False,
        key: KeyedRequest | None = None,
        may_lag: bool = False,
        many: bool = False,
        listeners: Sequence[EventListener] = (),
    ) -> UnitOfWork: ...


_UNITS_OF_WORK = {"sqlite": SqliteUnitOfWork, "postgresql": PostgresUnitOfWork}


@dataclass(frozen=True, kw_only=True)
class Store:
    name: str
    unit_of_work: OpenUnitOfWork
    memory: MemoryDatabase | None = None
    engines: Engines | None = None

    @property
    def sql(self) -> Engines:
        assert self.engines is not None, "this test is about SQL"
        return self.engines

    async def movements(self, *, order_id: UUID | None = None) -> list[StockMovement]:
        """The ledger, oldest first."""
        if self.memory is not None:
            ledger = list(self.memory.tables.movements.values())
        else:
            table = tables.stock_movements
            async with self.sql.read.connect() as connection:
                rows = await read_rows(connection, select(table).order_by(table.c.id))
            ledger = [StockMovement(**row) for row in rows]
        return [m for m in ledger if order_id is None or m.order_id == order_id]

    async def audits(self) -> Sequence[StockAudit]:
        """All products' stock against their ledgers, in one go."""
        async with self.unit_of_work(read_only=True) as uow:
            audits, more = await uow.stock.audit(
                LedgerPosition(), products=1_000, movements=100_000
            )
        assert more is None
        return audits

    async def events(self) -> list[HistoryEntry]:
        """The history of all orders, oldest first."""
        if self.memory is not None:
            return list(self.memory.tables.events.values())
        table = tables.order_events
        async with self.sql.read.connect() as connection:
            rows = await read_rows(connection, select(table).order_by(table.c.id))
        return [HistoryEntry(**row) for row in rows]

    async def disable_user(self, user_id: int) -> None:
        if self.memory is not None:
            users = self.memory.tables.users
            users[user_id] = replace(users[user_id], disabled=True)
        else:
            async with self.sql.patient.begin() as connection:
                change = update(tables.users).where(tables.users.c.id == user_id)
                await connection.execute(change.values(disabled=True))

    async def save_status(self, order: Order) -> None:
        """Store an order as it is given, whatever its moves would allow."""
        async with self.unit_of_work() as uow:
            await uow.orders.save(order)
            await uow.commit()

    async def spell_as_before(self, product_id: int, *, sku: str) -> None:
        """Give it a SKU that clashes with another's, as some did before SKUs were folded."""
        table = tables.products
        spelling = {"sku": sku, "sku_folded": folded(sku), "sku_clash": product_id}
        async with self.sql.patient.begin() as connection:
            change = update(table).where(table.c.id == product_id)
            await connection.execute(change.values(spelling))

    async def set_stock_behind_the_ledger(self, product_id: int, on_hand: int) -> None:
        if self.memory is not None:
            products = self.memory.tables.products
            products[product_id] = replace(products[product_id], stock=on_hand)
        else:
            async with self.sql.patient.begin() as connection:
                change = update(tables.stock).where(tables.stock.c.product_id == product_id)
                await connection.execute(change.values(on_hand=on_hand))

    async def forge_movement(self, movement: StockMovement) -> None:
        if self.memory is not None:
            stored = replace(movement, id=next(self.memory.tables.ids["movements"]))
            self.memory.tables.movements[stored.id] = stored
        else:
            async with self.sql.patient.begin() as connection:
                statement = insert(tables.stock_movements)
                await connection.execute(statement.values(movement_row(movement)))

    async def set_status_behind_the_ledger(self, order_id: UUID, status: OrderStatus) -> None:
        if self.memory is not None:
            orders = self.memory.tables.orders
            orders[order_id] = replace(orders[order_id], status=status)
        else:
            async with self.sql.patient.begin() as connection:
                change = update(tables.orders).where(tables.orders.c.id == order_id)
                await connection.execute(change.values(status=status))

    async def set_line_behind_the_ledger(
        self, order_id: UUID, *, position: int = 0, quantity: int | None = None, returned: int = 0
    ) -> None:
        if self.memory is not None:
            orders = self.memory.tables.orders
            lines = list(orders[order_id].lines)
            line = lines[position]
            lines[position] = replace(line, quantity=quantity or line.quantity, returned=returned)
            orders[order_id] = replace(orders[order_id], lines=tuple(lines))
        else:
            table = tables.order_lines
            change = update(table).where(table.c.order_id == order_id, table.c.position == position)
            async with self.sql.patient.begin() as connection:
                await connection.execute(
                    change.values(quantity=quantity or table.c.quantity, returned=returned)
                )

    async def set_password_hash(self, user_id: int, password_hash: str) -> None:
        async with self.unit_of_work() as uow:
            user = await uow.users.lock(user_id)
            await uow.users.save(replace(user, password_hash=password_hash))
            await uow.commit()

    async def let_leases_expire(self) -> None:
        """As if their time had passed."""
        past = utc_now() - timedelta(seconds=1)
        if self.memory is not None:
            leases = self.memory.tables.leases
            leases.update({name: replace(one, expires_at=past) for name, one in leases.items()})
        else:
            async with self.sql.patient.begin() as connection:
                await connection.execute(update(tables.leases).values(expires_at=past))

    async def contents(self, *, attempts: bool = True) -> dict[str, list[Any]]:
        """Every row of every table; without attempts to sign in, if they are not asked for."""
        if self.memory is not None:
            rows = {f.name: getattr(self.memory.tables, f.name) for f in fields(Tables)[:-1]}
            contents = {name: list(table.items()) for name, table in rows.items()}
        else:
            async with self.sql.read.connect() as connection:
                contents = {
                    table.name: sorted(
                        map(tuple, await connection.execute(select(table))), key=repr
                    )
                    for table in tables.metadata.sorted_tables
                }
        return {
            name: rows
            for name, rows in contents.items()
            if attempts or not name.endswith("attempts")
        }

    async def count(self, table: str) -> int:
        """How many rows a table has, by its name in memory."""
        if self.memory is not None:
            return len(getattr(self.memory.tables, table))
        sql = {
            "tokens": tables.refresh_tokens,
            "families": tables.session_families,
            "attempts": tables.sign_in_attempts,
            "leases": tables.leases,
            "products": tables.products,
        }[table]
        async with self.sql.read.connect() as connection:
            return await connection.scalar(select(func.count()).select_from(sql)) or 0

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """What is sent to the database in the block, but for a transaction's begin and end.

        A statement for many rows counts once.
        """
        sent: list[str] = []
        with self._noting(lambda sql, _: sent.append(sql)):
            yield sent

    @contextmanager
    def statements_and_arguments(self) -> Iterator[list[tuple[str, Sequence[Any]]]]:
        """The same, with the arguments of each."""
        sent: list[tuple[str, Sequence[Any]]] = []
        with self._noting(lambda sql, arguments: sent.append((sql, arguments))):
            yield sent

    @contextmanager
    def _noting(self, note: Callable[[str, Sequence[Any]], None]) -> Iterator[None]:
        """Some statements go through SQLAlchemy, some to the driver."""

        def note_some(sql: str, arguments: Sequence[Any]) -> None:
            if not sql.startswith(("BEGIN", "ROLLBACK", "COMMIT")):
                note(sql, arguments)

        def from_sqlalchemy(
            _connection: Connection, _cursor: object, sql: str, arguments: Any, *_: object
        ) -> None:
            note_some(sql, arguments)

        def noted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(connection: object, sql: str, *arguments: Any, **options: Any) -> Any:
                note_some(sql, arguments)
                return real(connection, sql, *arguments, **options)

            return call

        # A set: SQLite's intake and its other writers have one engine.
        engines = {e.sync_engine for e in (self.sql.read, self.sql.write, self.sql.intake)}
        for engine in engines:
            event.listen(engine, "before_cursor_execute", from_sqlalchemy)
        with pytest.MonkeyPatch.context() as patch:
            for driver, method in (
                (asyncpg.Connection, "execute"),
                (asyncpg.Connection, "fetch"),
                (aiosqlite.Connection, "executemany"),
                (aiosqlite.Connection, "execute_fetchall"),
                (Trip, "fetch"),
                (Trip, "send_each"),
            ):
                patch.setattr(driver, method, noted(getattr(driver, method)))
            try:
                yield
            finally:
                for engine in engines:
                    event.remove(engine, "before_cursor_execute", from_sqlalchemy)

    async def archive_product(self, product_id: int) -> None:
        if self.memory is not None:
            products = self.memory.tables.products
            products[product_id] = replace(products[product_id], archived=True)
        else:
            async with self.sql.patient.begin() as connection:
                change = update(tables.products).where(tables.products.c.id == product_id)
                await connection.execute(change.values(archived=True))


def memory_store() -> Store:
    database = MemoryDatabase()
    return Store(
        name="memory", unit_of_work=partial(MemoryUnitOfWork, database=database), memory=database
    )


@asynccontextmanager
async def sql_store(
    url: str,
    options: DatabaseOptions | None = None,
    *,
    observers: Sequence[StatementObserver] = (),
) -> AsyncIterator[Store]:
    """Over a database that is migrated."""
    engines = create_engines(url, options, observers=observers)
    try:
        yield Store(
            name=engines.write.dialect.name,
            unit_of_work=partial(_UNITS_OF_WORK[engines.write.dialect.name], engines=engines),
            engines=engines,
        )
    finally:
        await engines.dispose()


def migrate(url: str) -> None:
    """Bring an empty database to the newest schema; inside and outside of an event loop."""

    async def upgrade() -> None:
        engines = create_engines(url)
        await SqlSchema(engines=engines).upgrade()
        await engines.dispose()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(upgrade())).result()
