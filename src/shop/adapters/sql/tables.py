"""The tables, and the rules that the database itself stands behind, each by name."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.types import TypeEngine

from shop.domain.orders import OrderStatus
from shop.domain.stock import Reason
from shop.domain.users import Role


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times in UTC: SQLite forgets zones, so they are put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value)


# SQLite numbers rows by itself only in a column declared exactly INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")


def ordered_text(length: int) -> TypeEngine[str]:
    """Text that sorts by code point, as Python sorts it, whatever the database's locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _id() -> Column[int]:
    return Column("id", RowId, Identity(always=False), primary_key=True)


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)

# One row, written with each migration: the oldest program, by the newest revision that it knows,
# which may serve the schema as it is.
schema_compatibility = Table(
    "schema_compatibility", metadata, Column("oldest_program", String(32), primary_key=True)
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("username", ordered_text(150), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint(_one_of("role", Role), name="role_known"),
)

session_families = Table(
    "session_families",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", ForeignKey(users.c.id), nullable=False, index=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("client", String(200), nullable=False),
    Column("ended_at", UtcDateTime),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("family_id", ForeignKey(session_families.c.id), nullable=False, index=True),
    Column("predecessor", LargeBinary(32)),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("retired", Boolean, nullable=False),
)

# Keys are hashes: what was typed as a user name is stored nowhere.
sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("is_known", Boolean, nullable=False),
    # For the purge: what is known stays much longer, and is not to be walked past.
    Index("sign_in_attempts_purge_idx", "is_known", "seen_at"),
)

products = Table(
    "products",
    metadata,
    _id(),
    Column("sku", ordered_text(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("search_key", ordered_text(1000), nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    CheckConstraint("price >= 0", name="price_not_negative"),
    Index("products_by_created", "created_at", "id"),
    Index("products_by_price", "price", "id"),
    Index("products_by_name", "search_key", "id"),
)

# Apart from `products`, so that a sale rewrites and locks a narrow row and no index.
stock = Table(
    "stock",
    metadata,
    Column("product_id", ForeignKey(products.c.id), primary_key=True, autoincrement=False),
    Column("on_hand", BigInteger, nullable=False),
    CheckConstraint("on_hand >= 0", name="on_hand_not_negative"),
    # Room on each page for the next version of a row: a sale then touches no index.
    postgresql_with={"fillfactor": 50},
)

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("code", String(12), nullable=False, unique=True),
    Column("user_id", ForeignKey(users.c.id), nullable=False),
    Column("status", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    Column("payment_reference", String(100)),
    CheckConstraint(_one_of("status", OrderStatus), name="status_known"),
    # Partial, so that placing an order, which is not paid yet, does not touch it.
    Index(
        "orders_payment_reference_key",
        "payment_reference",
        unique=True,
        postgresql_where=text("payment_reference IS NOT NULL"),
        sqlite_where=text("payment_reference IS NOT NULL"),
    ),
    Index("orders_by_created", "created_at", "id"),
    Index("orders_by_user", "user_id", "created_at", "id"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", ForeignKey(orders.c.id), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("product_id", ForeignKey(products.c.id), nullable=False),
    Column("name", String(200), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    CheckConstraint("price >= 0", name="price_not_negative"),
    # A default, so that placing an order need not say that nothing came back yet.
    Column("returned", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("returned BETWEEN 0 AND quantity", name="returned_within_quantity"),
)

order_events = Table(
    "order_events",
    metadata,
    _id(),
    Column("order_id", ForeignKey(orders.c.id), nullable=False),
    Column("from_status", String(16), nullable=False),
    Column("to_status", String(16), nullable=False),
    Column("actor_id", BigInteger),
    Column("note", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint(_one_of("from_status", OrderStatus), name="from_status_known"),
    CheckConstraint(_one_of("to_status", OrderStatus), name="to_status_known"),
    Index("order_events_by_order", "order_id", "id"),
)

stock_movements = Table(
    "stock_movements",
    metadata,
    _id(),
    Column("product_id", ForeignKey(products.c.id), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("order_id", ForeignKey(orders.c.id)),
    Column("actor_id", BigInteger),
    Column("note", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint("quantity <> 0", name="quantity_not_zero"),
    CheckConstraint("balance >= 0", name="balance_not_negative"),
    CheckConstraint(_one_of("reason", Reason), name="reason_known"),
    Index("stock_movements_by_product", "product_id", "id"),
    Index("stock_movements_by_order", "order_id"),
)
