"""search texts: what searching looks in, and its index in SQLite.

Revision: 0011, after 0010.

The texts are made by the program once the schema is there, and PostgreSQL's index after that: see
`SqlSchema.upgrade`.
"""

import sqlalchemy as sa
from alembic import op

from shop.adapters.sql.migrations.online import create_index, drop_index, is_postgresql

revision = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None
# It writes no search texts, and this program notices.
compatible_with = "0007"

_UNSEARCHABLE = sa.text("search_version <> version")

# The index has no texts of its own: `content` says where they are. What is to be taken out of it
# has to be named, and must be in it: a product without a text never was.
_PUT_IN = (
    "INSERT INTO products_search (rowid, search_text) "
    "SELECT new.id, new.search_text WHERE new.search_text <> '';"
)
_TAKE_OUT = (
    "INSERT INTO products_search (products_search, rowid, search_text) "
    "SELECT 'delete', old.id, old.search_text WHERE old.search_text <> '';"
)
_SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE products_search USING fts5 (search_text, content='products', "
    "content_rowid='id', detail='none', columnsize=0, tokenize='trigram case_sensitive 1')",
    f"CREATE TRIGGER products_search_insert AFTER INSERT ON products BEGIN {_PUT_IN} END",
    f"CREATE TRIGGER products_search_delete AFTER DELETE ON products BEGIN {_TAKE_OUT} END",
    "CREATE TRIGGER products_search_update AFTER UPDATE OF search_text ON products "
    "WHEN old.search_text <> new.search_text "
    f"BEGIN {_TAKE_OUT} {_PUT_IN} END",
)


def upgrade() -> None:
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("products")}
    if "search_text" not in columns:
        op.add_column(
            "products", sa.Column("search_text", sa.Text(), server_default="", nullable=False)
        )
        op.add_column(
            "products",
            sa.Column("search_version", sa.Integer(), server_default="0", nullable=False),
        )
        if not is_postgresql():
            for statement in _SQLITE_INDEX:
                op.execute(statement)
    create_index(
        "products_unsearchable",
        "products",
        ["id"],
        postgresql_where=_UNSEARCHABLE,
        sqlite_where=_UNSEARCHABLE,
    )


def downgrade() -> None:
    drop_index("products_unsearchable", "products")
    if is_postgresql():
        drop_index("products_search", "products")
    else:
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER products_search_{name}")
        op.execute("DROP TABLE products_search")
    op.drop_column("products", "search_version")
    op.drop_column("products", "search_text")
