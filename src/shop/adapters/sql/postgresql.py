"""PostgreSQL's own way of placing orders: the driver's connection, two statements for any batch.

Through SQLAlchemy a batch of orders costs about 0.2 ms of Python for each order, nearly all of it
spent on one parameter set for each row. Here the rows go as JSON, one parameter for each table: of
the ways tried it asks least of Python and as much of PostgreSQL as an array for each column does,
which the driver looks through element by element. See docs/decisions/0002. The statements are
those of `postgresql_statements.py`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import Table

from shop.adapters.sql import postgresql_statements as sql
from shop.adapters.sql import tables
from shop.adapters.sql.connections import PooledConnection
from shop.adapters.sql.errors import refusing
from shop.adapters.sql.history import event_row
from shop.adapters.sql.marks import note_mark
from shop.adapters.sql.orders import line_rows, order_row, orders_from
from shop.adapters.sql.products import (
    by_folded_sku,
    changed_row,
    new_product_row,
    offer_from,
    product_from,
    stock_row,
)
from shop.adapters.sql.rows import Columns, Row, types_of, written_columns
from shop.adapters.sql.stock import last_balances, movement_row
from shop.adapters.sql.unit_of_work import SqlUnitOfWork
from shop.domain.errors import (
    InvalidToken,
    OutcomeUnknown,
    SkuTaken,
    StaleProducts,
    StoreUnavailable,
    WriteConflict,
)
from shop.domain.keys import KeyedAnswer, KeyedRequest, Place
from shop.domain.orders import Order
from shop.domain.ports import Batch, BatchRepository, Changes
from shop.domain.products import Offer, Product
from shop.domain.stock import StockMovement
from shop.domain.text import folded
from shop.domain.users import Role

# Seconds; asyncpg takes None for its default.
_FOREVER = 86_400.0 * 365


class PostgresUnitOfWork(SqlUnitOfWork):
    async def _send_commit(self, lent: PooledConnection) -> None:
        driver = lent.postgresql
        if driver.is_closed():
            raise StoreUnavailable("The database has ended the connection; nothing was done.")
        lent.warnings.clear()
        # No timeout of the driver's: it would send a cancellation. The server's statement timeout
        # ends by itself before a COMMIT, and so before the wait for a standby.
        done = await driver.execute(self._chained("COMMIT", lent), timeout=_FOREVER)
        if done != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError("it was rolled back, since it had failed")
        if lent.warnings:
            # Somebody broke off the wait for the standby: committed here, and there perhaps not.
            raise OutcomeUnknown

    @property
    def postgresql(self) -> "asyncpg.Connection[asyncpg.Record]":
        return self._open.postgresql

    @property
    def batch(self) -> BatchRepository:
        return PostgresBatch(self)


_EVENT = Columns(types_of(written_columns(tables.order_events)), sql.DIALECT)
_CHANGED = Columns(types_of(sql.CHANGED), sql.DIALECT)


class PostgresBatch(BatchRepository):
    def __init__(self, unit_of_work: PostgresUnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    async def lock(
        self,
        *,
        order_ids: Collection[UUID],
        product_ids: Collection[int],
        user_ids: Collection[int],
        changing: Collection[UUID] | None = None,
        keys: Collection[KeyedRequest] = (),
        wait_for: Collection[int | UUID | Place] | None = None,
    ) -> Batch:
        for held in wait_for or ():
            await self._wait(held)
        claimed, answers = await self._claim(keys) if keys else (frozenset(), {})
        ids = [_array(order_ids), _array(product_ids), _array(user_ids)]
        marking = self._unit_of_work.is_marking
        way = wait_for is not None, marking
        read: Callable[[asyncpg.Record], Offer]
        if changing is None:
            read = offer_from
            rows = await self._driver.fetch(sql.LOCKS[way], *ids)
        else:
            read = product_from
            rows = await self._driver.fetch(sql.LOCKS_CHANGED[way], *ids, list(changing))
        if marking:
            note_mark(rows[0])
        known = rows[0]["order_ids"]
        found = [row for row in rows if row["id"] is not None]
        batch = Batch(
            # Nearly always there is none: only repeated requests have one.
            orders=await self._unit_of_work.orders.find(known) if known else {},
            products={row["id"]: read(row) for row in found if row["on_hand"] is not None},
            busy=[row["id"] for row in found if row["on_hand"] is None],
            disabled=rows[0]["disabled"] or (),
        )
        if changing is None:
            return batch
        batch = replace(batch, claimed=claimed, answers=answers)
        return _with_changed(batch, rows[0], changing)

    async def _wait(self, held: int | UUID | Place) -> None:
        if isinstance(held, tuple):
            await self._driver.fetch(sql.WAIT_FOR_KEY, *held)
        else:
            statement = sql.WAIT_FOR_ORDER if isinstance(held, UUID) else sql.WAIT
            await self._driver.fetch(statement, held)

    async def _claim(
        self, keys: Collection[KeyedRequest]
    ) -> tuple[Collection[Place], Mapping[Place, KeyedAnswer]]:
        """The keys that are this transaction's, and what is stored under others."""
        wanted = {key.place: key for key in keys}
        columns = [(k.user_id, k.key, k.route, k.digest, k.at) for k in wanted.values()]
        try:
            rows = await self._driver.fetch(sql.CLAIM, *map(list, zip(*columns, strict=True)))
        except asyncpg.LockNotAvailableError as error:
            # There is no going around it. It may be one's key only: in halves it fails alone.
            raise WriteConflict("Another change has this Idempotency-Key; try again.") from error
        claimed = {(row["user_id"], row["key"]) for row in rows}
        if not (others := wanted.keys() - claimed):
            return claimed, {}
        stored = await self._driver.fetch(sql.STORED, *map(list, zip(*others, strict=True)))
        return claimed, {(row["user_id"], row["key"]): KeyedAnswer(**row) for row in stored}

    async def add(
        self,
        orders: Sequence[Order],
        movements: Sequence[StockMovement],
        *,
        products: Mapping[int, Offer],
        changes: Changes | None = None,
    ) -> None:
        balances = last_balances(movements)
        relined = changes.relined if changes else ()
        with refusing(InvalidToken()):
            done = await self._driver.execute(
                sql.ADD_AND_CHANGE if changes else sql.ADD,
                _json([order_row(order) for order in orders]),
                _json([row for order in (*orders, *relined) for row in line_rows(order)]),
                # As they are: their fields are the columns.
                _json(movements),
                _array(balances.keys()),
                _array(balances.values()),
                _array([products[product_id].version for product_id in balances]),
                *(_arguments(changes) if changes else ()),
            )
        if done != f"UPDATE {len(balances)}":
            raise StaleProducts(list(products))

    async def new_product_ids(self, count: int) -> Sequence[int]:
        marking = self._unit_of_work.is_marking
        rows = await self._driver.fetch(sql.NEW_PRODUCT_IDS[marking], count)
        if marking and rows:
            note_mark(rows[0])
        return [row["new_id"] for row in rows]

    async def add_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        with refusing(SkuTaken()):
            await self._copy(tables.products, map(new_product_row, products))
        await self._copy(tables.stock, map(stock_row, products))
        await self._copy(tables.stock_movements, map(movement_row, movements))

    async def lock_alike(self, skus: Collection[str]) -> Mapping[str, Sequence[Product]]:
        keys = {folded(sku) for sku in skus}
        [[locked]] = await self._driver.fetch(sql.LOCK_ALIKE, _json([*keys]), _json([*skus]))
        marking = self._unit_of_work.is_marking
        rows = await self._driver.fetch(sql.READ_LOCKED[marking], locked)
        if marking and rows:
            note_mark(rows[0])
        return by_folded_sku(map(product_from, rows))

    async def change_products(
        self, products: Sequence[Product], movements: Sequence[StockMovement]
    ) -> None:
        done = await self._driver.execute(
            sql.CHANGE_PRODUCTS,
            _json([changed_row(product) for product in products]),
            # As they are: their fields are the columns.
            _json(movements),
        )
        assert done == f"UPDATE {len(movements)}", "each is of a locked product, and its only one"

    async def _copy(self, table: Table, rows: Iterable[Row]) -> None:
        """By COPY: for many rows no INSERT is as fast."""
        to_copy = list(rows)
        if to_copy:
            await self._driver.copy_records_to_table(
                table.name, columns=list(to_copy[0]), records=[(*row.values(),) for row in to_copy]
            )

    @property
    def _driver(self) -> "asyncpg.Connection[asyncpg.Record]":
        return self._unit_of_work.postgresql


def _with_changed(batch: Batch, row: asyncpg.Record, changing: Collection[UUID]) -> Batch:
    """With the orders that are to be changed, of which those are busy that were not locked."""
    is_held: dict[UUID, bool] = {}
    lines = [values[1:] for values in row["changed"] if is_held.setdefault(values[1], values[0])]
    changed = orders_from(_CHANGED.read(lines))
    orders = {**batch.orders, **{order.id: order for order in changed}}
    # One that was placed a moment ago is known, and was not there to be locked.
    busy = [id_ for id_ in changing if not is_held.get(id_, id_ not in orders)]
    roles = {user_id: Role(role) for user_id, role in row["users"]}
    return replace(batch, orders=orders, busy_orders=busy, roles=roles)


def _arguments(changes: Changes) -> Sequence[object]:
    """Of `ADD_AND_CHANGE`, besides those of `ADD`."""
    orders, relined, answers = changes.orders, changes.relined, changes.answers
    return (
        [order.id for order in orders],
        [order.status for order in orders],
        [order.version for order in orders],
        [order.modified_at for order in orders],
        [order.id for order in relined],
        [len(order.lines) for order in relined],
        _json([_EVENT.store_row(event_row(entry)) for entry in changes.history]),
        [answer.user_id for answer in answers],
        [answer.key for answer in answers],
        [answer.route for answer in answers],
        [answer.digest for answer in answers],
        [answer.answer for answer in answers],
        [user_id for user_id, _ in changes.unused],
        [key for _, key in changes.unused],
    )


def _array(values: Iterable[int | UUID]) -> str:
    """As PostgreSQL writes it: made in a fraction of the time that the driver takes for a list."""
    return f"{{{_json(list(values))[1:-1]}}}"


def _json(rows: Sequence[object]) -> str:
    return msgspec.json.encode(rows).decode()
