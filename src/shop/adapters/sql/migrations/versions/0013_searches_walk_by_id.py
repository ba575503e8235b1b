"""searches walk by id: of what fits a search no better than others the list is ordered by id.

Revision: 0013, after 0012.
"""

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


def upgrade() -> None:
    for name, columns in _BY.items():
        create_index(name, "listings", columns)


def downgrade() -> None:
    for name in _BY:
        drop_index(name, "listings")
