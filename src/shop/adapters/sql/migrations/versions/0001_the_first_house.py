"""the first house.

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

STATUSES = "('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'returned')"
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def ordered_text(length: int) -> sa.types.TypeEngine[str]:
    """Sorted by code point, whatever the database's locale."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
    op.create_table(
        "products",
        sa.Column("id", ROW_ID, sa.Identity(always=False), nullable=False),
        sa.Column("sku", ordered_text(64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("search_key", ordered_text(1000), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("products_price_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("products_pkey")),
        sa.UniqueConstraint("sku", name=op.f("products_sku_key")),
    )
    op.create_index("products_by_created", "products", ["created_at", "id"])
    op.create_index("products_by_name", "products", ["search_key", "id"])
    op.create_index("products_by_price", "products", ["price", "id"])

    op.create_table(
        "users",
        sa.Column("id", ROW_ID, sa.Identity(always=False), nullable=False),
        sa.Column("username", ordered_text(150), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("role IN ('customer', 'staff')", name=op.f("users_role_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("username", name=op.f("users_username_key")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=12), nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payment_reference", sa.String(length=100), nullable=True),
        sa.CheckConstraint(
            "status IN ('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'returned')",
            name=op.f("orders_status_known"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("orders_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("orders_pkey")),
        sa.UniqueConstraint("code", name=op.f("orders_code_key")),
    )
    op.create_index(
        "orders_payment_reference_key",
        "orders",
        ["payment_reference"],
        unique=True,
        postgresql_where=sa.text("payment_reference IS NOT NULL"),
        sqlite_where=sa.text("payment_reference IS NOT NULL"),
    )
    op.create_index("orders_by_created", "orders", ["created_at", "id"])
    op.create_index("orders_by_user", "orders", ["user_id", "created_at", "id"])

    op.create_table(
        "session_families",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", ROW_ID, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client", sa.String(length=200), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="session_families_user_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="session_families_pkey"),
    )
    op.create_index("session_families_user_id_idx", "session_families", ["user_id"])
    op.create_index("session_families_expires_at_idx", "session_families", ["expires_at"])
    op.create_table(
        "sign_in_attempts",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_known", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="sign_in_attempts_pkey"),
    )
    op.create_index("sign_in_attempts_seen_at_idx", "sign_in_attempts", ["seen_at"])

    op.create_table(
        "stock",
        sa.Column("product_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("on_hand", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("on_hand >= 0", name=op.f("stock_on_hand_not_negative")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("stock_product_id_fkey")
        ),
        sa.PrimaryKeyConstraint("product_id", name=op.f("stock_pkey")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("product_id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("returned", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("order_lines_price_not_negative")),
        sa.CheckConstraint("quantity > 0", name=op.f("order_lines_quantity_positive")),
        sa.CheckConstraint(
            "returned BETWEEN 0 AND quantity", name=op.f("order_lines_returned_within_quantity")
        ),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("order_lines_order_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="order_lines_product_id_fkey"
        ),
        sa.PrimaryKeyConstraint("order_id", "position", name=op.f("order_lines_pkey")),
    )
    op.create_table(
        "order_events",
        sa.Column("id", ROW_ID, sa.Identity(always=False), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("from_status", sa.String(length=16), nullable=False),
        sa.Column("to_status", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            f"from_status IN {STATUSES}", name=op.f("order_events_from_status_known")
        ),
        sa.CheckConstraint(f"to_status IN {STATUSES}", name=op.f("order_events_to_status_known")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("order_events_order_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("order_events_pkey")),
    )
    op.create_index("order_events_by_order", "order_events", ["order_id", "id"])
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("predecessor", sa.LargeBinary(length=32), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["family_id"], ["session_families.id"], name="refresh_tokens_family_id_fkey"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="refresh_tokens_pkey"),
    )
    op.create_index("refresh_tokens_family_id_idx", "refresh_tokens", ["family_id"])

    op.create_table(
        "stock_movements",
        sa.Column("id", ROW_ID, sa.Identity(always=False), nullable=False),
        sa.Column("product_id", ROW_ID, nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("balance", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "reason IN ('initial', 'order', 'amend', 'cancel', 'return', 'restock', 'correction',"
            " 'import', 'write_off')",
            name=op.f("stock_movements_reason_known"),
        ),
        sa.CheckConstraint("balance >= 0", name=op.f("stock_movements_balance_not_negative")),
        sa.CheckConstraint("quantity <> 0", name=op.f("stock_movements_quantity_not_zero")),
        sa.ForeignKeyConstraint(
            ["order_id"], ["orders.id"], name=op.f("stock_movements_order_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name="stock_movements_product_id_fkey"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("stock_movements_pkey")),
    )
    op.create_index("stock_movements_by_order", "stock_movements", ["order_id"])
    op.create_index("stock_movements_by_product", "stock_movements", ["product_id", "id"])
    forbid_change("stock_movements")
    forbid_change("order_events")


def forbid_change(table: str) -> None:
    """Rows are only ever added: the database refuses to change or delete one."""
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    else:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("order_events")
    op.drop_table("stock_movements")
    op.drop_table("refresh_tokens")
    op.drop_table("order_lines")
    op.drop_table("stock")
    op.drop_table("session_families")
    op.drop_table("sign_in_attempts")
    op.drop_table("orders")
    op.drop_table("users")
    op.drop_table("products")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")
