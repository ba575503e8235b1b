"""What is stored of an object is every column of its table: none is forgotten by one store only."""

from collections.abc import Mapping

import pytest
from sqlalchemy import Table

from shop.adapters.sql import tables
from shop.adapters.sql.orders import line_rows, order_row
from shop.adapters.sql.products import new_product_row
from shop.adapters.sql.rows import written_columns
from tests.builders import order, product


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (tables.products, new_product_row(product())),
        (tables.orders, order_row(order())),
        *((tables.order_lines, row) for row in line_rows(order())),
    ],
    ids=str,
)
def test_a_row_has_every_column_that_the_shop_fills_in(
    table: Table, row: Mapping[str, object]
) -> None:
    # Some rows have their ids already, others get them from the database.
    assert set(row) | {"id"} == {column.name for column in written_columns(table)} | {"id"}
