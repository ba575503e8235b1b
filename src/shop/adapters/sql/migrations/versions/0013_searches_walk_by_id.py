"""searches walk by id: of what fits a search no better than others the list is ordered by id.

Names are ordered as they are found, so the keys of those that had been folded by case only are made
anew with their search texts: see `SqlSchema.upgrade`.

Revision: 0013, after 0012.
"""

from alembic import op

from shop.adapters.sql.migrations.online import create_index, drop_index

revision = "0013"
down_revision: str | None = "0012"
branch_labels = None
depends_on = None
compatible_with = "0007"

_BY = {
    "listings_by_id": ["archived", "product_id"],
    "listings_by_stock_and_id": ["archived", "in_stock", "product_id"],
}
# A product of which only this is new is not modified.
_KEYS_ANEW = (
    "UPDATE products SET search_version = 0 WHERE search_version = version "
    "AND ({bytes} <> length(search_key) OR search_key LIKE '%  %')"
)
_BYTES = {
    "postgresql": "octet_length(search_key)",
    "sqlite": "length(CAST(search_key AS blob))",
}


def upgrade() -> None:
    op.execute(_KEYS_ANEW.format(bytes=_BYTES[op.get_bind().dialect.name]))
    for name, columns in _BY.items():
        create_index(name, "listings", columns)


def downgrade() -> None:
    for name in _BY:
        drop_index(name, "listings")
