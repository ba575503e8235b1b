"""searches walk by id: of what fits a search no better than others the list is ordered by id.

Names are ordered as they are found, so the keys of those that had been folded by case only are made
anew with their search texts: see `SqlSchema.upgrade`.

Revision: 0013, after 0012.
"""

from alembic import op

from shop.adapters.sql.migrations.online import create_index, drop_index, execute, is_postgresql

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
_ON_SQLITE = _KEYS_ANEW.format(bytes="length(CAST(search_key AS blob))")
# A thousand products at a time, in a transaction each: whoever changes one waits for no more.
_ON_POSTGRESQL = f"""
DO $$
DECLARE
    done bigint := 0;
    last bigint;
BEGIN
    LOOP
        SELECT max(id) INTO last FROM (
            SELECT id FROM products WHERE id > done ORDER BY id LIMIT 1000
        ) AS next_ones;
        EXIT WHEN last IS NULL;
        {_KEYS_ANEW.format(bytes="octet_length(search_key)")}
            AND id > done AND id <= last;
        done := last;
        COMMIT;
    END LOOP;
END $$
"""  # noqa: S608 - all of it stands here


def upgrade() -> None:
    if is_postgresql():
        execute(_ON_POSTGRESQL)
    else:
        op.execute(_ON_SQLITE)
    for name, columns in _BY.items():
        create_index(name, "listings", columns)


def downgrade() -> None:
    for name in _BY:
        drop_index(name, "listings")
