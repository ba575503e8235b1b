"""say who may serve: the schema names the oldest program that it is compatible with.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None
compatible_with = "0007"


def upgrade() -> None:
    op.create_table(
        "schema_compatibility",
        sa.Column("oldest_program", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest_program", name=op.f("schema_compatibility_pkey")),
    )


def downgrade() -> None:
    op.drop_table("schema_compatibility")
