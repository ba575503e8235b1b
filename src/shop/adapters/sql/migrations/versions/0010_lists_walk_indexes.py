"""lists walk indexes: what products are listed by in a table of its own, orders by status.

Triggers keep `listings`, so that whatever writes to products and stock need not know of it, a shop
of the version before least of all. On PostgreSQL whoever changes a row of it holds the product's
row in `stock`: a batch of orders then never waits for one of them but where it waits for the stock.

Revision: 0010, after 0009.
"""

# ruff: noqa: S608 - the names in these statements are our own

import sqlalchemy as sa
from alembic import op

from shop.adapters.sql.migrations.online import create_index, drop_index, execute, is_postgresql

revision = "0010"
down_revision: str | None = "0009"
branch_labels = None
depends_on = None
compatible_with = "0007"

_BY = {
    "listings_by_name": ["archived", "search_key", "product_id", "price"],
    "listings_by_price": ["archived", "price", "product_id"],
    "listings_by_created": ["archived", "created_at", "product_id", "price"],
    "listings_by_modified": ["archived", "modified_at", "product_id", "price"],
    "listings_by_stock_and_name": ["archived", "in_stock", "search_key", "product_id", "price"],
    "listings_by_stock_and_price": ["archived", "in_stock", "price", "product_id"],
    "listings_by_stock_and_created": [
        *("archived", "in_stock", "created_at", "product_id", "price")
    ],
    "listings_by_stock_and_modified": [
        *("archived", "in_stock", "modified_at", "product_id", "price")
    ],
}
_OF_ORDERS = {
    "orders_by_status": ["status", "created_at", "id"],
    "orders_by_user_and_status": ["user_id", "status", "created_at", "id"],
}
_OF_PRODUCTS = {
    "products_by_created": ["created_at", "id"],
    "products_by_price": ["price", "id"],
    "products_by_name": ["search_key", "id"],
}

_LISTED = "archived, search_key, price, created_at, modified_at"
_LIST = f"INSERT INTO listings (product_id, in_stock, {_LISTED})"
_CHANGED = " OR ".join(f"OLD.{name} <> NEW.{name}" for name in _LISTED.split(", "))
_CHANGE = "UPDATE listings SET " + ", ".join(f"{name} = NEW.{name}" for name in _LISTED.split(", "))
_CROSSED = "(OLD.on_hand > 0) <> (NEW.on_hand > 0)"
_CROSS = "UPDATE listings SET in_stock = NEW.on_hand > 0 WHERE product_id = NEW.product_id"

_ON_POSTGRESQL = [
    f"""
    CREATE FUNCTION list_products() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {_LIST} SELECT product_id, on_hand > 0, {_LISTED}
        FROM new_stock JOIN products ON products.id = product_id;
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER stock_is_listed AFTER INSERT ON stock REFERENCING NEW TABLE AS new_stock "
    "FOR EACH STATEMENT EXECUTE FUNCTION list_products()",
    f"""
    CREATE FUNCTION list_crossing() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {_CROSS};
        RETURN NULL;
    END $$
    """,
    f"CREATE TRIGGER stock_crossing_is_listed AFTER UPDATE OF on_hand ON stock FOR EACH ROW "
    f"WHEN ({_CROSSED}) EXECUTE FUNCTION list_crossing()",
    # A shop takes this lock before, see `SqlProductRepository.lock`.
    f"""
    CREATE FUNCTION list_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM stock WHERE product_id = NEW.id FOR NO KEY UPDATE;
        {_CHANGE} WHERE product_id = NEW.id;
        RETURN NULL;
    END $$
    """,
    f"CREATE TRIGGER product_change_is_listed AFTER UPDATE OF {_LISTED} ON products "
    f"FOR EACH ROW WHEN ({_CHANGED}) EXECUTE FUNCTION list_change()",
]

_ON_SQLITE = [
    f"""
    CREATE TRIGGER stock_is_listed AFTER INSERT ON stock BEGIN
        {_LIST} SELECT id, NEW.on_hand > 0, {_LISTED} FROM products WHERE id = NEW.product_id;
    END
    """,
    f"""
    CREATE TRIGGER stock_crossing_is_listed AFTER UPDATE OF on_hand ON stock WHEN {_CROSSED} BEGIN
        {_CROSS};
    END
    """,
    f"""
    CREATE TRIGGER product_change_is_listed AFTER UPDATE OF {_LISTED} ON products WHEN {_CHANGED}
    BEGIN
        {_CHANGE} WHERE product_id = NEW.id;
    END
    """,
]

# Products that were there before the triggers: a thousand at a time, in a transaction each. The
# locks come first, and then a statement of its own, which sees what those who held them did.
_LIST_ALL = f"""
DO $$
DECLARE
    done bigint := 0;
    last bigint;
BEGIN
    LOOP
        SELECT max(product_id) INTO last FROM (
            SELECT product_id FROM stock WHERE product_id > done ORDER BY product_id LIMIT 1000
        ) AS next_ones;
        EXIT WHEN last IS NULL;
        PERFORM FROM stock WHERE product_id > done AND product_id <= last
            ORDER BY product_id FOR NO KEY UPDATE;
        {_LIST} SELECT product_id, on_hand > 0, {_LISTED}
            FROM stock JOIN products ON products.id = product_id
            WHERE product_id > done AND product_id <= last
            ON CONFLICT DO NOTHING;
        done := last;
        COMMIT;
    END LOOP;
END $$
"""


def upgrade() -> None:
    if not sa.inspect(op.get_bind()).has_table("listings"):
        _create_tables()
        for trigger in _ON_POSTGRESQL if is_postgresql() else _ON_SQLITE:
            op.execute(trigger)
    if is_postgresql():
        execute(_LIST_ALL)
    else:
        op.execute(
            f"{_LIST} SELECT id, on_hand > 0, {_LISTED} FROM products JOIN stock ON product_id = id"
        )
    for name, columns in _OF_ORDERS.items():
        create_index(name, "orders", columns)
    for name in _OF_PRODUCTS:
        drop_index(name, "products")


def downgrade() -> None:
    for name, columns in _OF_PRODUCTS.items():
        create_index(name, "products", columns)
    for name in _OF_ORDERS:
        drop_index(name, "orders")
    if is_postgresql():
        op.execute("DROP TRIGGER IF EXISTS product_change_is_listed ON products")
        op.execute("DROP TRIGGER IF EXISTS stock_crossing_is_listed ON stock")
        op.execute("DROP TRIGGER IF EXISTS stock_is_listed ON stock")
        for function in ("list_products", "list_crossing", "list_change"):
            op.execute(f"DROP FUNCTION IF EXISTS {function}()")
    else:
        for trigger in ("product_change", "stock_crossing", "stock"):
            op.execute(f"DROP TRIGGER {trigger}_is_listed")
    op.drop_table("list_lengths")
    op.drop_table("listings")


def _create_tables() -> None:
    in_c = sa.String(length=1000).with_variant(sa.String(length=1000, collation="C"), "postgresql")
    # SQLite stores times as text, see `tables.UtcDateTime`.
    time = sa.DateTime(timezone=True)
    op.create_table(
        "listings",
        sa.Column("product_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("in_stock", sa.Boolean(), nullable=False),
        sa.Column("search_key", in_c, nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("modified_at", time, nullable=False),
        sa.PrimaryKeyConstraint("product_id", name=op.f("listings_pkey")),
    )
    for name, columns in _BY.items():
        op.create_index(name, "listings", columns)
    op.create_table(
        "list_lengths",
        sa.Column("list", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", time, nullable=False),
        sa.PrimaryKeyConstraint("list", "user_id", name=op.f("list_lengths_pkey")),
    )
