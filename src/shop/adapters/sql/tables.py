"""The tables, and the rules that the database itself stands behind, each by name."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Enum,
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
    func,
    text,
)
from sqlalchemy.types import TypeEngine

from shop.domain.orders import OrderItem, OrderStatus
from shop.domain.products import SKU_FOLDED_LENGTH_MAX
from shop.domain.stock import Reason
from shop.domain.users import USERNAME_FOLDED_LENGTH_MAX, Role


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times. SQLite has no type for them, so there they are text in UTC, which sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        return _text_of_time if dialect.name == "sqlite" else None

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        return _time_of_text if dialect.name == "sqlite" else None


# Cached, since what is stored at once is mostly of one moment.
@lru_cache(maxsize=64)
def _text_of_time(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _time_of_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


class Moments(TypeDecorator[tuple[datetime, ...]]):
    """A few aware times, one after the other."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[datetime, ...] | None, dialect: Dialect) -> str:
        return " ".join(moment.isoformat() for moment in value or ())

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[datetime, ...]:
        return tuple(datetime.fromisoformat(moment) for moment in (value or "").split())


class Items(TypeDecorator[tuple[OrderItem, ...]]):
    """Quantities of products, such as `7:2 9:1`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[OrderItem, ...] | None, dialect: Dialect) -> str:
        return " ".join(f"{item.product_id}:{item.quantity}" for item in value or ())

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[OrderItem, ...]:
        pairs = (pair.split(":") for pair in (value or "").split())
        return tuple(OrderItem(product_id=int(id_), quantity=int(many)) for id_, many in pairs)


# SQLite numbers rows by itself only in a column declared exactly INTEGER.
RowId = BigInteger().with_variant(Integer(), "sqlite")


def ordered_text(length: int) -> TypeEngine[str]:
    """Text that sorts by code point, as Python sorts it, whatever the database's locale."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _id() -> Column[int]:
    return Column("id", RowId, Identity(always=False), primary_key=True)


def _one_of(members: type[StrEnum], *, check: str) -> Enum:
    """A member of an enum, stored as its value; `check` names the rule that it is one."""
    return Enum(
        members,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
        create_constraint=True,
        name=check,
    )


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

# One row: what holds for the whole shop.
shop = Table(
    "shop",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("currency", String(3), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("username", ordered_text(150), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("role", _one_of(Role, check="role_known"), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # For finding a name however it is written. NULL only where an older program wrote the row.
    Column("username_folded", ordered_text(USERNAME_FOLDED_LENGTH_MAX)),
    # 0, but for names that were there and clashed when names were first folded.
    Column("username_clash", Integer, nullable=False, server_default="0"),
    Index("users_username_folded_key", "username_folded", "username_clash", unique=True),
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
    # A default, for a shop of the version before that serves meanwhile.
    Column("issued_at", UtcDateTime, nullable=False, server_default=func.now()),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("retired", Boolean, nullable=False),
)

# Keys are hashes: what was typed as a user name is stored nowhere.
sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    # A default, for a shop of the version before that serves meanwhile.
    Column("pending", Moments, nullable=False, server_default=""),
    Column("blocked_until", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("is_known", Boolean, nullable=False),
    # For the purge: what is known stays much longer, and is not to be walked past.
    Index("sign_in_attempts_purge_idx", "is_known", "seen_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
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
    # For the order by name.
    Column("search_key", ordered_text(1000), nullable=False),
    # What searching looks in, and of which version of the product it was made. A shop of the
    # version before, which may serve meanwhile, writes neither: then the versions differ.
    Column("search_text", Text, nullable=False, server_default=""),
    Column("search_version", Integer, nullable=False, server_default="0"),
    Column("archived", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    # As for user names.
    Column("sku_folded", ordered_text(SKU_FOLDED_LENGTH_MAX)),
    Column("sku_clash", Integer, nullable=False, server_default="0"),
    Column("max_per_order", BigInteger),
    CheckConstraint("price >= 0", name="price_not_negative"),
    CheckConstraint("max_per_order > 0", name="max_per_order_positive"),
    Index("products_sku_folded_key", "sku_folded", "sku_clash", unique=True),
    # Empty most of the time.
    Index(
        "products_unsearchable",
        "id",
        postgresql_where=text("search_version <> version"),
        sqlite_where=text("search_version <> version"),
    ),
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

# What lists of products are ordered by and filtered by, in one narrow table: triggers of `stock`
# and `products` keep it (migration 0010). An index for each ordering, with and without the filter
# by stock. The price ends the others, so that a walk filters by it without reading the row.
listings = Table(
    "listings",
    metadata,
    # Not `RowId`: SQLite compares rows by a whole index only if the id is a column of its own.
    Column("product_id", BigInteger, primary_key=True, autoincrement=False),
    Column("archived", Boolean, nullable=False),
    Column("in_stock", Boolean, nullable=False),
    Column("search_key", ordered_text(1000), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    Index("listings_by_id", "archived", "product_id"),
    Index("listings_by_name", "archived", "search_key", "product_id", "price"),
    Index("listings_by_price", "archived", "price", "product_id"),
    Index("listings_by_created", "archived", "created_at", "product_id", "price"),
    Index("listings_by_modified", "archived", "modified_at", "product_id", "price"),
    Index("listings_by_stock_and_id", "archived", "in_stock", "product_id"),
    Index(
        "listings_by_stock_and_name", "archived", "in_stock", "search_key", "product_id", "price"
    ),
    Index("listings_by_stock_and_price", "archived", "in_stock", "price", "product_id"),
    Index(
        "listings_by_stock_and_created",
        *("archived", "in_stock", "created_at", "product_id", "price"),
    ),
    Index(
        "listings_by_stock_and_modified",
        *("archived", "in_stock", "modified_at", "product_id", "price"),
    ),
)

# How long the longest lists are, as counted in the background: of products, and of orders by user
# (0: everybody's).
list_lengths = Table(
    "list_lengths",
    metadata,
    Column("list", String(32), primary_key=True),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("length", BigInteger, nullable=False),
    Column("counted_at", UtcDateTime, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("code", String(12), nullable=False, unique=True),
    Column("user_id", ForeignKey(users.c.id), nullable=False),
    Column("status", _one_of(OrderStatus, check="status_known"), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
    Column("payment_reference", String(100)),
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
    Index("orders_by_status", "status", "created_at", "id"),
    Index("orders_by_user_and_status", "user_id", "status", "created_at", "id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", ordered_text(255), primary_key=True),
    Column("route", String(300), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
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
    # The default is for an older version of the shop, which may still run during an upgrade.
    Column("returned", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("returned BETWEEN 0 AND quantity", name="returned_within_quantity"),
)

order_events = Table(
    "order_events",
    metadata,
    _id(),
    Column("order_id", ForeignKey(orders.c.id), nullable=False),
    Column("from_status", _one_of(OrderStatus, check="from_status_known"), nullable=False),
    Column("to_status", _one_of(OrderStatus, check="to_status_known"), nullable=False),
    Column("actor_id", BigInteger),
    Column("note", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    # For what was written before there was this column.
    Column("returned", Items, nullable=False, server_default=""),
    Index("order_events_by_order", "order_id", "id"),
)

stock_movements = Table(
    "stock_movements",
    metadata,
    _id(),
    Column("product_id", ForeignKey(products.c.id), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("reason", _one_of(Reason, check="reason_known"), nullable=False),
    Column("order_id", ForeignKey(orders.c.id)),
    Column("actor_id", BigInteger),
    Column("note", String(200), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint("quantity <> 0", name="quantity_not_zero"),
    CheckConstraint("balance >= 0", name="balance_not_negative"),
    Index("stock_movements_by_product", "product_id", "id"),
    Index("stock_movements_by_order", "order_id"),
)

# What was moved in from another shop, as it was last moved: see `shop.domain.moving`.
moved_users = Table(
    "moved_users",
    metadata,
    Column("user_id", ForeignKey(users.c.id), primary_key=True, autoincrement=False),
    Column("digest", LargeBinary(32), nullable=False),
)

moved_products = Table(
    "moved_products",
    metadata,
    Column("product_id", ForeignKey(products.c.id), primary_key=True, autoincrement=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("stock_there", BigInteger, nullable=False),
    Column("stock", BigInteger, nullable=False),
)
