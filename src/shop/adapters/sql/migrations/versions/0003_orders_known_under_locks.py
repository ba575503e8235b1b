"""orders known under locks.

Revision: 0003, after 0002.
"""

from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    # Volatile, so that it sees what was committed until it is called, not what was committed when
    # the statement around it began. Its second argument makes it wait for who computes that.
    op.execute(
        "CREATE FUNCTION known_orders(ids uuid[], locks bigint) RETURNS uuid[] "
        "LANGUAGE sql VOLATILE AS 'SELECT ARRAY(SELECT id FROM orders WHERE id = ANY(ids))'"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION known_orders(uuid[], bigint)")
