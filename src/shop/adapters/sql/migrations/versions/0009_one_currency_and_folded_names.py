"""one currency for a shop, SKUs and user names found however they are written, limits per order.

Revision: 0009, after 0008.
"""

import logging
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from shop.domain.errors import StoreUnfit
from shop.domain.text import folded

revision = "0009"
down_revision: str | None = "0008"
branch_labels = None
depends_on = None
# An older shop reads and writes none of the new columns. What it adds meanwhile is found by its
# exact name, until it is stored again by a newer one.
compatible_with = "0007"

logger = logging.getLogger("shop.migrations")

ROWS_PER_STEP = 10_000


def upgrade() -> None:
    op.create_table(
        "shop",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("shop_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("shop_pkey")),
    )
    _take_currency()
    # By hand: SQLite adds a rule with its column, and otherwise would have to copy the table.
    op.execute(
        "ALTER TABLE products ADD COLUMN max_per_order BIGINT"
        " CONSTRAINT products_max_per_order_positive CHECK (max_per_order > 0)"
    )
    _add_folded("products", "sku", length_max=128)
    _add_folded("users", "username", length_max=300)


def downgrade() -> None:
    for table, column in (("users", "username"), ("products", "sku")):
        op.drop_index(op.f(f"{table}_{column}_folded_key"), table_name=table)
        op.drop_column(table, f"{column}_clash")
        op.drop_column(table, f"{column}_folded")
    op.drop_column("products", "max_per_order")
    op.drop_table("shop")


def _take_currency() -> None:
    """The currency of a shop that has products is that of its prices."""
    products = sa.table("products", sa.column("id"), sa.column("currency"), sa.column("archived"))
    connection = op.get_bind()
    for which in ([sa.not_(products.c.archived)], []):
        counted = sa.select(products.c.currency, sa.func.count(), sa.func.min(products.c.id))
        rows = connection.execute(
            counted.where(*which).group_by(products.c.currency).order_by(products.c.currency)
        ).all()
        if len(rows) == 1:
            shop = sa.table("shop", sa.column("id"), sa.column("currency"))
            connection.execute(sa.insert(shop).values(id=1, currency=rows[0].currency))
            return
        if which and rows:
            found = ", ".join(f"{number} in {name} (such as {id_})" for name, number, id_ in rows)
            raise StoreUnfit(
                f"Products have prices in several currencies: {found}. A shop has one: with the "
                "version before, start it with SHOP_CURRENCY set to that one, give the other "
                "products a price in it or archive them, and migrate again."
            )


def _add_folded(table: str, column: str, *, length_max: int) -> None:
    text = sa.String(length_max).with_variant(sa.String(length_max, collation="C"), "postgresql")
    op.add_column(table, sa.Column(f"{column}_folded", text))
    op.add_column(
        table, sa.Column(f"{column}_clash", sa.Integer(), server_default="0", nullable=False)
    )
    _fold(table, column, length_max)
    _number_clashes(table, column)
    op.create_index(
        op.f(f"{table}_{column}_folded_key"),
        table,
        [f"{column}_folded", f"{column}_clash"],
        unique=True,
    )


def _fold(table: str, column: str, length_max: int) -> None:
    rows = sa.table(table, sa.column("id"), sa.column(column), sa.column(f"{column}_folded"))
    id_, name, key = rows.columns
    connection = op.get_bind()
    change = sa.update(rows).where(id_ == sa.bindparam("of")).values({key: sa.bindparam("key")})
    after = 0
    while True:
        step = sa.select(id_, name).where(id_ > after).order_by(id_).limit(ROWS_PER_STEP)
        found = connection.execute(step).all()
        if not found:
            return
        keys = [(of, folded(name)) for of, name in found]
        connection.execute(
            change, [{"of": of, "key": key if len(key) <= length_max else None} for of, key in keys]
        )
        after = found[-1].id


def _number_clashes(table: str, column: str) -> None:
    """Tell those apart that are the same once folded, and say which they are."""
    rows = sa.table(
        table,
        sa.column("id"),
        sa.column(column),
        sa.column(f"{column}_folded"),
        sa.column(f"{column}_clash"),
    )
    id_, name, key, clash = rows.columns
    alike = sa.select(key).where(key.is_not(None)).group_by(key).having(sa.func.count() > 1)
    connection = op.get_bind()
    clashing: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(sa.select(id_, name, key).where(key.in_(alike)).order_by(id_)):
        connection.execute(
            sa.update(rows).where(id_ == row[0]).values({clash: len(clashing[row[2]])})
        )
        clashing[row[2]].append(row[1])
    for names in clashing.values():
        logger.warning(
            "%s: %s are the same but for the way they are written; each is found by its exact "
            "spelling only.",
            table,
            " and ".join(map(repr, names)),
        )
