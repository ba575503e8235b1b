"""Many rows at once over HTTP: `/api/products/bulk/` and `/api/stock/changes/`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from shop.domain import bulk
from shop.domain.bulk import ROWS_MAX, Policy, RefusedRow, RowAnswer
from shop.domain.errors import InvalidFields
from shop.domain.money import Money
from shop.domain.products import NO_MAX
from shop.domain.services.save_products import SaveProducts
from shop.domain.stock import StockChange, wrong_together
from shop.domain.users import Caller
from shop.entrypoints.http.access import STAFF
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api import products
from shop.entrypoints.http.api.bodies import RowsJSON
from shop.entrypoints.http.api.idempotency import Once
from shop.entrypoints.http.api.problems import RowOut, problems
from shop.entrypoints.settings import Settings

T = TypeVar("T")

ROWS_BODY_MAX = 1_048_576
"""Bytes."""


class RowStock(products.StockChange, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Either `delta`, or `quantity` with what it is `expected` to be now, or `absolute`."""

    absolute: Annotated[
        bool,
        Meta(
            description="True: whatever is there now. It overwrites what was sold meanwhile.",
            examples=[True],
            extra_json_schema={"extra": {"const": True}},
        ),
    ] = False

    @staticmethod
    def wrong_together(given: Mapping[str, Any]) -> list[tuple[str, str]]:
        kinds = {name: given.get(name) for name in ("delta", "quantity", "expected")}
        return wrong_together(**kinds, absolute=given.get("absolute", False))

    def change(self) -> StockChange:
        """Raises `InvalidField`."""
        return StockChange(
            reason=self.reason,
            delta=self.delta,
            quantity=self.quantity,
            expected=self.expected,
            absolute=self.absolute,
        )


class StockRow(RowStock, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A change of the stock of a product by its SKU."""

    sku: products.Sku

    def read(self, _currency: str) -> bulk.StockRow | RefusedRow:
        try:
            return bulk.StockRow(sku=self.sku, stock=self.change())
        except InvalidFields as error:
            return RefusedRow(sku=self.sku, error=error)


class ProductRow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A product as it is to be, there or not. What is left out stays as it is."""

    sku: products.Sku
    name: products.Name | msgspec.UnsetType = msgspec.UNSET
    price: products.Price | msgspec.UnsetType = msgspec.UNSET
    description: products.Description | msgspec.UnsetType = msgspec.UNSET
    max_per_order: products.MaxPerOrder | msgspec.UnsetType | None = msgspec.UNSET
    """Null takes the limit away."""
    archived: (
        Annotated[bool, Meta(description="Whether it is for sale no more.", examples=[False])]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    stock: (
        Annotated[
            RowStock,
            Meta(
                description="How its stock changes.",
                examples=[{"quantity": 40, "expected": 68, "reason": "correction"}],
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET

    def read(self, currency: str) -> bulk.ProductRow | RefusedRow:
        price, stock, most = self.price, self.stock, self.max_per_order
        try:
            return bulk.ProductRow(
                sku=self.sku,
                name=None if self.name is msgspec.UNSET else self.name,
                price=None if price is msgspec.UNSET else Money.parse(price, currency),
                description=None if self.description is msgspec.UNSET else self.description,
                max_per_order=None if most is msgspec.UNSET else most or NO_MAX,
                archived=None if self.archived is msgspec.UNSET else self.archived,
                stock=None if stock is msgspec.UNSET else _inside("stock", stock.change),
            )
        except InvalidFields as error:
            return RefusedRow(sku=self.sku, error=error)


def _inside(name: str, read: Callable[[], T]) -> T:
    """What is read; wrong fields of it are named by their paths."""
    try:
        return read()
    except InvalidFields as error:
        wrong = [(f"{name}.{each['field']}", each["message"]) for each in error.context["errors"]]
        raise InvalidFields(wrong) from None


PolicyIn = Annotated[
    Literal["all", "each"],
    Meta(
        description="When a row is refused: `all` writes nothing and answers 409 `rows_refused`, "
        "`each` writes the others.",
        examples=["each"],
    ),
]


class ProductRows(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Products by SKU."""

    rows: Annotated[
        list[ProductRow],
        Meta(
            min_length=1,
            max_length=ROWS_MAX,
            description="A SKU has one row at most.",
            examples=[[{"sku": "BLA-1-000001", "max_per_order": 10}]],
        ),
    ]
    policy: PolicyIn = "all"


class StockRows(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Changes of stock by SKU."""

    rows: Annotated[
        list[StockRow],
        Meta(
            min_length=1,
            max_length=ROWS_MAX,
            description="A SKU has one row at most.",
            examples=[[{"sku": "BLA-1-000001", "delta": 5, "reason": "restock"}]],
        ),
    ]
    policy: PolicyIn = "all"


class RowsOut(msgspec.Struct):
    """What became of rows."""

    rows: Annotated[list[RowOut], Meta(description="One for each row, in their order.")]


_post_rows = partial(
    post,
    status_code=200,
    tags=["Bulk"],
    opt=STAFF,
    dto=RowsJSON,
    request_max_body_size=ROWS_BODY_MAX,
    responses=problems(401, 403, 406, 408, 409, 413, 415, 422, 503),
)


@_post_rows(
    "/api/products/bulk",
    operation_id="saveProducts",
    summary="Create and change many products by SKU (staff)",
)
async def save_products(
    request: Request[Caller, str, Any],
    data: JSONBody[ProductRows],
    settings: NamedDependency[Settings],
    save_products: NamedDependency[SaveProducts],
    once: NamedDependency[Once],
) -> Response[RowsOut]:
    rows = [row.read(settings.currency) for row in data.rows]
    change = partial(save_products, caller=request.user, rows=rows, policy=Policy(data.policy))
    return await once(change, _respond)


@_post_rows(
    "/api/stock/changes",
    operation_id="changeStocks",
    summary="Change the stock of many products by SKU (staff)",
)
async def change_stocks(
    request: Request[Caller, str, Any],
    data: JSONBody[StockRows],
    settings: NamedDependency[Settings],
    save_products: NamedDependency[SaveProducts],
    once: NamedDependency[Once],
) -> Response[RowsOut]:
    rows = [row.read(settings.currency) for row in data.rows]
    change = partial(save_products, caller=request.user, rows=rows, policy=Policy(data.policy))
    return await once(change, _respond)


def _respond(answers: list[RowAnswer]) -> Response[RowsOut]:
    return JSONAnswer(RowsOut([RowOut.of(answer) for answer in answers]), status_code=200)
