"""pending attempts to sign in, and when refresh tokens were issued.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # With defaults: a shop of the version before, which knows neither column, goes on serving.
    op.add_column(
        "sign_in_attempts",
        sa.Column("pending", sa.Text(), server_default="", nullable=False),
    )
    # SQLite adds no column whose default is a moment; it copies the table. The tokens that are
    # there count as issued now, and so as issued together.
    with op.batch_alter_table("refresh_tokens") as table:
        table.add_column(
            sa.Column(
                "issued_at",
                sa.DateTime(timezone=True),
                server_default=sa.func.now(),
                nullable=False,
            )
        )


def downgrade() -> None:
    with op.batch_alter_table("refresh_tokens") as table:
        table.drop_column("issued_at")
    op.drop_column("sign_in_attempts", "pending")
