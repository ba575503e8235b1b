"""search texts: what searching looks in, and its index in SQLite.

Revision: 0011, after 0007.

The texts are made by the program once the schema is there, and PostgreSQL's index after that: see
`SqlSchema.upgrade`.
"""

import sqlalchemy as sa
from alembic import op

from shop.adapters.sql.tables import ordered_text

revision = "0011"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None
# It writes no search texts, and this program notices.
compatible_with = "0007"

_UNSEARCHABLE = sa.text("search_version <> version")

# The index has no texts of its own: `content` says where they are. What is to be taken out of it
# has to be named, and an UPDATE is both.
_PUT_IN = "INSERT INTO products_search (rowid, search_text) VALUES (new.id, new.search_text);"
_TAKE_OUT = (
    "INSERT INTO products_search (products_search, rowid, search_text) "
    "VALUES ('delete', old.id, old.search_text);"
)
_SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE products_search USING fts5 (search_text, content='products', "
    "content_rowid='id', detail='none', columnsize=0, tokenize='trigram case_sensitive 1')",
    "CREATE TRIGGER products_search_insert AFTER INSERT ON products "
    f"WHEN new.search_text <> '' BEGIN {_PUT_IN} END",
    "CREATE TRIGGER products_search_delete AFTER DELETE ON products "
    f"WHEN old.search_text <> '' BEGIN {_TAKE_OUT} END",
    "CREATE TRIGGER products_search_update AFTER UPDATE OF search_text ON products "
    "WHEN old.search_text <> new.search_text "
    f"BEGIN {_TAKE_OUT} {_PUT_IN} END",
)


def upgrade() -> None:
    op.add_column(
        "products", sa.Column("search_text", sa.Text(), server_default="", nullable=False)
    )
    op.add_column(
        "products", sa.Column("search_version", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("products", sa.Column("sku_folded", ordered_text(128)))
    op.create_index("products_sku_folded_key", "products", ["sku_folded"])
    op.create_index("products_by_modified", "products", ["modified_at", "id"])
    op.create_index(
        "products_unsearchable",
        "products",
        ["id"],
        postgresql_where=_UNSEARCHABLE,
        sqlite_where=_UNSEARCHABLE,
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in _SQLITE_INDEX:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER products_search_{name}")
        op.execute("DROP TABLE products_search")
    else:
        op.execute("DROP INDEX IF EXISTS products_search")
    op.drop_index("products_unsearchable", "products")
    op.drop_index("products_by_modified", "products")
    op.drop_index("products_sku_folded_key", "products")
    op.drop_column("products", "sku_folded")
    op.drop_column("products", "search_version")
    op.drop_column("products", "search_text")
