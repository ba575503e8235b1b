"""known orders keep their plan: the function that looks for them is planned once a connection.

A function in SQL is planned each time that a statement calls it, which cost as much as a tenth of a
batch of orders.

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None
# It has the same name and says the same.
compatible_with = "0007"

_FUNCTION = "CREATE OR REPLACE FUNCTION known_orders(ids uuid[], locks bigint) RETURNS uuid[]"
_LOOK = "ARRAY(SELECT id FROM orders WHERE id = ANY(ids))"


# A statement looks up a function's language when it begins, and its body when it calls it, which
# may be later: it waits for locks on stock in between. So nobody may be between the two.
_NOBODY_IN_BETWEEN = "LOCK TABLE stock IN EXCLUSIVE MODE"


def upgrade() -> None:
    _replace(f"LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN {_LOOK}; END'")


def downgrade() -> None:
    _replace(f"LANGUAGE sql VOLATILE AS 'SELECT {_LOOK}'")


def _replace(definition: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_NOBODY_IN_BETWEEN)
        op.execute(f"{_FUNCTION} {definition}")
