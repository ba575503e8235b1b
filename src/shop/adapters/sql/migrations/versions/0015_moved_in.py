"""what was moved in from another shop.

Revision: 0015, after 0013.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0013"
branch_labels = None
depends_on = None
# Two new tables, which a shop that serves meanwhile knows nothing of.
compatible_with = "0007"


def upgrade() -> None:
    op.create_table(
        "moved_users",
        sa.Column("user_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("moved_users_user_id_fkey")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("moved_users_pkey")),
    )
    op.create_table(
        "moved_products",
        sa.Column("product_id", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("stock_there", sa.BigInteger(), nullable=False),
        sa.Column("stock", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("moved_products_product_id_fkey")
        ),
        sa.PrimaryKeyConstraint("product_id", name=op.f("moved_products_pkey")),
    )


def downgrade() -> None:
    op.drop_table("moved_products")
    op.drop_table("moved_users")


_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
