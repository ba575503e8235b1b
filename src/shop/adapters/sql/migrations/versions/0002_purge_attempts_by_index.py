"""purge attempts by index.

Revision: 0002, after 0001.
"""

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("sign_in_attempts_purge_idx", "sign_in_attempts", ["is_known", "seen_at"])
    op.drop_index("sign_in_attempts_seen_at_idx", "sign_in_attempts")


def downgrade() -> None:
    op.create_index("sign_in_attempts_seen_at_idx", "sign_in_attempts", ["seen_at"])
    op.drop_index("sign_in_attempts_purge_idx", "sign_in_attempts")
