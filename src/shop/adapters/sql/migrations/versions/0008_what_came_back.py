"""what came back: the history of orders says it in numbers.

Revision: 0008, after 0007.

An order may have several lines of one product from here on, at different prices. Programs of
before count only the last of them when the order is cancelled or returned, so they must not serve
any more: there is no `compatible_with`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "order_events", sa.Column("returned", sa.Text(), server_default="", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("order_events", "returned")
