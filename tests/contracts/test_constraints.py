"""What the database itself refuses, by name, should the domain ever be gone around."""

import pytest
from sqlalchemy import CheckConstraint, text
from sqlalchemy.exc import IntegrityError

from shop.adapters.sql.tables import metadata
from tests.builders import items, order_id
from tests.stores import Store
from tests.use_cases import UseCases


def movement(
    *, product_id: int = 1, quantity: int = 1, balance: int = 1, reason: str = "restock"
) -> str:
    """The ledger refuses to be changed, so what is wrong has to be added."""
    return (
        "INSERT INTO stock_movements (product_id, quantity, balance, reason, note, at)"  # noqa: S608
        f" VALUES ({product_id}, {quantity}, {balance}, '{reason}', '', '2026-03-01 12:00')"
    )


def event(*, from_status: str = "placed", to_status: str = "paid", order: str = "id") -> str:
    return (
        "INSERT INTO order_events (order_id, from_status, to_status, note, at)"  # noqa: S608
        f" SELECT {order}, '{from_status}', '{to_status}', '', created_at FROM orders"
    )


CHECKS = {
    "stock_on_hand_not_negative": "UPDATE stock SET on_hand = -1",
    "products_price_not_negative": "UPDATE products SET price = -1",
    "products_max_per_order_positive": "UPDATE products SET max_per_order = 0",
    "shop_one_row": "INSERT INTO shop (id, currency) VALUES (2, 'EUR')",
    "orders_status_known": "UPDATE orders SET status = 'lost'",
    "order_lines_price_not_negative": "UPDATE order_lines SET price = -1",
    "order_lines_quantity_positive": "UPDATE order_lines SET quantity = 0",
    "order_lines_returned_within_quantity": "UPDATE order_lines SET returned = quantity + 1",
    "stock_movements_quantity_not_zero": movement(quantity=0),
    "stock_movements_balance_not_negative": movement(balance=-1),
    "stock_movements_reason_known": movement(reason="gift"),
    "order_events_from_status_known": event(from_status="lost"),
    "order_events_to_status_known": event(to_status="lost"),
    "users_role_known": "UPDATE users SET role = 'king'",
}


@pytest.fixture
async def trade(sql: Store) -> None:
    """One of everything, so that there is something to spoil."""
    shop = UseCases(sql.unit_of_work)
    buyer = await shop.given_customer()
    teapot = await shop.given_product(5)
    await shop.place_order(caller=buyer, items=items((teapot.id, 1)), order_id=order_id(1))
    await shop.intake.close()


@pytest.mark.usefixtures("trade")
@pytest.mark.parametrize("name", CHECKS)
async def test_a_rule_broken_around_the_domain_is_refused_by_name(sql: Store, name: str) -> None:
    async with sql.sql.write.connect() as connection:
        with pytest.raises(IntegrityError, match=name):
            await connection.execute(text(CHECKS[name]))


def test_every_check_of_the_tables_is_tried_here() -> None:
    names = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert names == set(CHECKS)


@pytest.mark.usefixtures("trade")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM products",
        "DELETE FROM users",
        "DELETE FROM orders",
        "UPDATE order_lines SET product_id = 404",
        movement(product_id=404),
        "UPDATE orders SET user_id = 404",
    ],
)
async def test_nothing_is_left_pointing_at_nothing(sql: Store, statement: str) -> None:
    async with sql.sql.write.connect() as connection:
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            await connection.execute(text(statement))
