"""Products, orders and the stock's ledger as rows of a file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Generic, TypeVar

from shop.domain.orders import Order
from shop.domain.products import Product
from shop.domain.services.export import Moved
from shop.entrypoints.files.cells import COMMA, POINT
from shop.entrypoints.files.sources import Format
from shop.entrypoints.files.writing import CsvWriter, JsonLinesWriter

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a file is to be written; all but the format is about CSV."""

    format: Format
    delimiter: str = ","
    decimal: str = POINT
    mark: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported(Generic[T]):
    """What a kind of things looks like in files."""

    columns: Sequence[str]
    texts: Sequence[str]
    """The columns in which anything may stand."""
    amounts: Sequence[str]
    """The columns of money."""
    rows: Callable[[T], Iterator[list[Any]]]
    """Of a step: cells in the order of the columns."""
    objects: Callable[[T], Iterable[Mapping[str, Any]]]

    def writer(self, file: BinaryIO, writing: Writing) -> Callable[[T], None]:
        """What writes a step."""
        if writing.format is Format.JSON_LINES:
            lines = JsonLinesWriter(file)
            return lambda step: lines.write(self.objects(step))
        cells = CsvWriter(
            file,
            self.columns,
            texts=self.texts,
            delimiter=writing.delimiter,
            mark=writing.mark,
            raw=writing.raw,
        )
        if writing.decimal == POINT:
            return lambda step: cells.write(self.rows(step))
        places = [self.columns.index(name) for name in self.amounts]
        return lambda step: cells.write(_with_commas(self.rows(step), places))


def _with_commas(rows: Iterator[list[Any]], places: Sequence[int]) -> Iterator[list[Any]]:
    for row in rows:
        for place in places:
            row[place] = row[place].replace(POINT, COMMA)
        yield row


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


# --- products ---

_PRODUCT = (
    "sku",
    "name",
    "description",
    "price",
    "currency",
    "stock",
    "max_per_order",
    "archived",
)


def _product_rows(products: Sequence[Product]) -> Iterator[list[Any]]:
    for product in products:
        yield [
            product.sku,
            product.name,
            product.description,
            str(product.price),
            product.price.currency,
            product.stock,
            product.max_per_order,
            "true" if product.archived else "false",
        ]


def _product_objects(products: Sequence[Product]) -> Iterator[Mapping[str, Any]]:
    for product in products:
        yield {
            "sku": product.sku,
            "name": product.name,
            "description": product.description,
            "price": str(product.price),
            "currency": product.price.currency,
            "stock": product.stock,
            "max_per_order": product.max_per_order,
            "archived": product.archived,
        }


PRODUCTS: Exported[Sequence[Product]] = Exported(
    columns=_PRODUCT,
    texts=("sku", "name", "description"),
    amounts=("price",),
    rows=_product_rows,
    objects=_product_objects,
)


# --- orders: CSV has a row for each line, JSON Lines an object for each order ---

_ORDER = ("id", "code", "user", "status", "currency", "payment_reference", "created", "modified")
_LINE = ("line", "product", "name", "price", "quantity", "returned", "total")


def _order_rows(orders: Sequence[Order]) -> Iterator[list[Any]]:
    for order in orders:
        of_order = [
            str(order.id),
            order.code,
            order.user_id,
            order.status.value,
            order.currency,
            order.payment_reference,
            _time(order.created_at),
            _time(order.modified_at),
        ]
        for number, line in enumerate(order.lines, 1):
            yield [
                *of_order,
                number,
                line.product_id,
                line.name,
                str(line.price),
                line.quantity,
                line.returned,
                str(line.total),
            ]


def order_object(order: Order) -> Mapping[str, Any]:
    return {
        "id": order.id,
        "code": order.code,
        "user": order.user_id,
        "status": order.status,
        "total": str(order.total),
        "kept_total": str(order.kept_total),
        "currency": order.currency,
        "payment_reference": order.payment_reference,
        "created": order.created_at,
        "modified": order.modified_at,
        "lines": [
            {
                "product": line.product_id,
                "name": line.name,
                "price": str(line.price),
                "quantity": line.quantity,
                "returned": line.returned,
                "total": str(line.total),
            }
            for line in order.lines
        ],
    }


ORDERS: Exported[Sequence[Order]] = Exported(
    columns=(*_ORDER, *_LINE),
    texts=("payment_reference", "name"),
    amounts=("price", "total"),
    rows=_order_rows,
    objects=lambda orders: map(order_object, orders),
)


# --- the ledger ---

_MOVEMENT = (
    "id",
    "product",
    "sku",
    "quantity",
    "balance",
    "reason",
    "order",
    "user",
    "note",
    "at",
)


def _movement_rows(step: Moved) -> Iterator[list[Any]]:
    for movement in step.movements:
        yield [
            movement.id,
            movement.product_id,
            step.skus.get(movement.product_id),
            movement.quantity,
            movement.balance,
            movement.reason.value,
            movement.order_id,
            movement.actor_id,
            movement.note,
            _time(movement.at),
        ]


def _movement_objects(step: Moved) -> Iterator[Mapping[str, Any]]:
    for movement in step.movements:
        yield {
            "id": movement.id,
            "product": movement.product_id,
            "sku": step.skus.get(movement.product_id),
            "quantity": movement.quantity,
            "balance": movement.balance,
            "reason": movement.reason,
            "order": movement.order_id,
            "user": movement.actor_id,
            "note": movement.note,
            "at": movement.at,
        }


LEDGER: Exported[Moved] = Exported(
    columns=_MOVEMENT,
    texts=("sku", "note"),
    amounts=(),
    rows=_movement_rows,
    objects=_movement_objects,
)
