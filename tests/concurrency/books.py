"""What a database says was sold, read in one moment and checked order by order."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select, text

from shop.adapters.sql import tables
from shop.domain.stock import Reason
from tests.stores import sql_store

_orders, _lines, _movements = tables.orders, tables.order_lines, tables.stock_movements


@dataclass(frozen=True, kw_only=True)
class StoredOrder:
    user_id: int
    status: str
    quantities: dict[int, int] = field(default_factory=dict)
    """By product."""
    moved: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """What its movements took (below zero) and gave back, by product."""
    amended: set[int] = field(default_factory=set)
    """The products of which movements are from amending it."""

    @property
    def is_whole(self) -> bool:
        """Whether its movements are exactly those of its lines: none is missing, none is double.

        Of what was amended their sum counts.
        """
        if self.amended:
            left = {} if self.status == "cancelled" else self.quantities
            sums = {product: -sum(moved) for product, moved in self.moved.items()}
            return bool(self.quantities) and {p: n for p, n in sums.items() if n} == left
        expected = {product: [-quantity] for product, quantity in self.quantities.items()}
        if self.status == "cancelled":
            expected = {product: [-n, n] for product, n in self.quantities.items()}
        return bool(self.quantities) and self.moved == expected


@dataclass(frozen=True, kw_only=True)
class Books:
    orders: dict[UUID, StoredOrder]
    on_hand: dict[int, int]
    movements: dict[int, list[tuple[int, int]]]
    """The ledger by product, oldest first: quantity, and the balance after it."""

    def taken(self, product_id: int) -> int:
        """By the orders that are not cancelled."""
        return sum(
            order.quantities.get(product_id, 0)
            for order in self.orders.values()
            if order.status != "cancelled"
        )

    def check(self) -> None:
        """Every order is whole, and the ledger of every product runs without a break."""
        broken = {order_id: o for order_id, o in self.orders.items() if not o.is_whole}
        assert not broken, broken
        for product_id, movements in self.movements.items():
            balance = 0
            for quantity, balance_after in movements:
                balance += quantity
                assert balance == balance_after >= 0, (product_id, movements)
            assert self.on_hand[product_id] == balance, product_id


async def read_books(database_url: str, product_ids: Collection[int]) -> Books:
    """Of these products, and of the orders that have any of them."""
    of_products = select(_lines.c.order_id).where(_lines.c.product_id.in_(product_ids))
    async with (
        sql_store(database_url) as store,
        store.sql.write.connect() as connection,
        connection.begin(),
    ):
        if store.name == "postgresql":
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        orders = {
            row.id: StoredOrder(user_id=row.user_id, status=row.status)
            for row in await connection.execute(
                select(_orders).where(_orders.c.id.in_(of_products))
            )
        }
        lines = select(_lines).where(_lines.c.order_id.in_(of_products))
        for row in await connection.execute(lines):
            orders[row.order_id].quantities[row.product_id] = row.quantity
        empty = select(_orders.c.id).where(_orders.c.id.not_in(select(_lines.c.order_id)))
        assert not (found := (await connection.scalars(empty)).all()), f"no lines: {found}"
        stock = select(tables.stock).where(tables.stock.c.product_id.in_(product_ids))
        on_hand = {row.product_id: row.on_hand for row in await connection.execute(stock)}
        movements: dict[int, list[tuple[int, int]]] = {product: [] for product in product_ids}
        ledger = select(_movements).where(_movements.c.product_id.in_(product_ids))
        for row in await connection.execute(ledger.order_by(_movements.c.id)):
            movements[row.product_id].append((row.quantity, row.balance))
            if row.order_id is not None:
                order = orders[row.order_id]
                order.moved[row.product_id].append(row.quantity)
                if row.reason is Reason.AMEND:
                    order.amended.add(row.product_id)
    return Books(orders=orders, on_hand=on_hand, movements=movements)
