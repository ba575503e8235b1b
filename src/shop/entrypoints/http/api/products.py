"""Products over HTTP: `/api/products/`."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from msgspec import Meta

from shop.domain.money import Money
from shop.domain.products import (
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    SEARCH_LENGTH_MAX,
    SKU_PATTERN,
    SKUS_MAX,
    STOCK_MAX,
    Product,
    ProductQuery,
    ProductSort,
)
from shop.domain.services.keep_catalogue import (
    ArchiveProduct,
    ChangeProduct,
    ChangeStock,
    CreateProduct,
    ListProducts,
    ReadMovements,
    ReadProduct,
)
from shop.domain.stock import NOTE_LENGTH_MAX, Reason, StockMovement
from shop.domain.users import Caller
from shop.entrypoints.http.access import STAFF
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.idempotency import Once
from shop.entrypoints.http.api.pagination import (
    KeyNumber,
    KeyText,
    KeyTime,
    Listing,
    PageOut,
    Paging,
)
from shop.entrypoints.http.api.parameters import (
    ETAG,
    LINE_PATTERN,
    LINES_PATTERN,
    LOCATION,
    PRICE_PATTERN,
    TEXT_PATTERN,
    IfMatch,
    ProductId,
    Time,
    parse_if_match,
    parse_time,
)
from shop.entrypoints.http.api.problems import problems
from shop.entrypoints.http.requests import null_is_text
from shop.entrypoints.settings import Settings

Price = Annotated[
    str,
    Meta(
        pattern=PRICE_PATTERN,
        description="In the shop's currency.",
        examples=["12.00"],
    ),
]

# The minimum stands here twice, because Litestar leaves a minimum of 0 out of the document.
Quantity = Annotated[int, Meta(ge=0, le=STOCK_MAX, extra_json_schema={"extra": {"minimum": 0}})]


class ProductOut(msgspec.Struct):
    id: int
    sku: str
    name: str
    description: str
    price: Annotated[str, Meta(examples=["12.00"])]
    currency: Annotated[str, Meta(examples=["EUR"])]
    stock: int
    created: datetime
    modified: datetime

    @classmethod
    def of(cls, product: Product) -> "ProductOut":
        return cls(
            id=product.id,
            sku=product.sku,
            name=product.name,
            description=product.description,
            price=str(product.price),
            currency=product.price.currency,
            stock=product.stock,
            created=product.created_at,
            modified=product.modified_at,
        )


Sku = Annotated[str, Meta(pattern=SKU_PATTERN, examples=["TEA-1"])]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_LENGTH_MAX,
        examples=["Green tea"],
        extra_json_schema={"extra": {"pattern": LINE_PATTERN}},
    ),
]
Description = Annotated[
    str,
    Meta(
        max_length=DESCRIPTION_LENGTH_MAX,
        extra_json_schema={"extra": {"pattern": LINES_PATTERN}},
    ),
]


class NewProduct(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    sku: Sku
    name: Name
    price: Price
    description: Description = ""
    stock: Quantity = 0


class ProductChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to change; one that is left out stays as it is."""

    sku: Sku | msgspec.UnsetType = msgspec.UNSET
    name: Name | msgspec.UnsetType = msgspec.UNSET
    price: Price | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET


class MovementOut(msgspec.Struct):
    quantity: int
    """Signed: what left the shelf is negative."""
    balance: int
    """The stock after it."""
    reason: Reason
    order: UUID | None
    actor: int | None
    """The user's id; null for an operator."""
    note: str
    at: datetime

    @classmethod
    def of(cls, movement: StockMovement) -> "MovementOut":
        return cls(
            quantity=movement.quantity,
            balance=movement.balance,
            reason=movement.reason,
            order=movement.order_id,
            actor=movement.actor_id,
            note=movement.note,
            at=movement.at,
        )


class StockChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Either `delta`, or `quantity` with what it is `expected` to be now."""

    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=NOTE_LENGTH_MAX,
            examples=["restock"],
            extra_json_schema={
                "description": "`restock`, `correction`, or your own words, which become the note.",
                "extra": {"pattern": LINE_PATTERN},
            },
        ),
    ]
    delta: Annotated[int, Meta(ge=-STOCK_MAX, le=STOCK_MAX, examples=[5])] | None = None
    quantity: Quantity | None = None
    expected: Quantity | None = None


Ordering = Literal[
    "name",
    "-name",
    "price",
    "-price",
    "created",
    "-created",
    "modified",
    "-modified",
    "relevance",
]

_LISTINGS = {
    sort: Listing(key=ProductQuery(sort=sort).key, key_type=key_type, out=ProductOut.of)
    for sort, key_type in (
        (ProductSort.NAME, tuple[KeyText, KeyNumber]),
        (ProductSort.PRICE, tuple[KeyNumber, KeyNumber]),
        (ProductSort.CREATED, tuple[KeyTime, KeyNumber]),
        (ProductSort.MODIFIED, tuple[KeyTime, KeyNumber]),
    )
}


def _listing(query: ProductQuery) -> Listing[Product, ProductOut]:
    """How well a product fits depends on what is searched for; the rest of a key does not."""
    if query.sort is not ProductSort.RELEVANCE:
        return _LISTINGS[query.sort]
    return Listing(key=query.key, key_type=_RELEVANCE_KEY, out=ProductOut.of)


_RELEVANCE_KEY = tuple[KeyNumber, KeyText, KeyNumber]
_MOVEMENTS = Listing(
    key=lambda movement: (movement.id,), key_type=tuple[KeyNumber], out=MovementOut.of
)


def product_etag(product: Product) -> str:
    return f'"{product.version}-{product.stock}"'


def _respond(product: Product, *, status_code: int = 200, **headers: str) -> Response[ProductOut]:
    return JSONAnswer(
        ProductOut.of(product),
        status_code=status_code,
        headers={"ETag": product_etag(product), **headers},
    )


def _created(product: Product) -> Response[ProductOut]:
    return _respond(product, status_code=201, Location=f"/api/products/{product.id}/")


def _archived(_: None) -> Response[None]:
    return JSONAnswer(None, status_code=204)


class ProductController(Controller):
    path = "/api/products"
    tags = ("Products",)

    @get(
        operation_id="listProducts",
        summary="A page of products",
        opt=null_is_text("search", "sku"),
        responses=problems(401, 404, 406, 503),
    )
    async def list_products(
        self,
        request: Request[Caller, str, Any],
        settings: NamedDependency[Settings],
        list_products: NamedDependency[ListProducts],
        paging: NamedDependency[Paging],
        search: Annotated[
            str,
            QueryParameter(
                max_length=SEARCH_LENGTH_MAX,
                pattern=TEXT_PATTERN,
                description="Words, each of which is found anywhere in name, SKU or description; "
                "one of fewer than three characters where a word begins. Case makes no difference, "
                "and accents need not be typed.",
                schema_extra={"examples": ["green tea"]},
            ),
        ] = "",
        ordering: Annotated[
            Ordering,
            QueryParameter(
                description="A `-` in front reverses. By `relevance` the product whose SKU was "
                "searched for comes first, then those whose names begin with the search, by name, "
                "then the others, the first created first."
            ),
        ] = "created",
        in_stock: Annotated[
            Literal["true", "false"] | None,
            QueryParameter(description="Only with, or without, stock."),
        ] = None,
        price_min: Annotated[str | None, QueryParameter(pattern=PRICE_PATTERN)] = None,
        price_max: Annotated[str | None, QueryParameter(pattern=PRICE_PATTERN)] = None,
        sku: Annotated[
            list[str] | None,
            QueryParameter(
                max_items=SKUS_MAX,
                description="Only products with this SKU, whatever the case; repeat it for more.",
            ),
        ] = None,
        created_after: Time = None,
        modified_after: Time = None,
    ) -> PageOut[ProductOut]:
        query = ProductQuery(
            search=search,
            in_stock=None if in_stock is None else in_stock == "true",
            price_min=_minor_units("price_min", price_min, settings),
            price_max=_minor_units("price_max", price_max, settings),
            skus=sku,
            created_after=parse_time("created_after", created_after),
            modified_after=parse_time("modified_after", modified_after),
            sort=ProductSort(ordering.removeprefix("-")),
            descending=ordering.startswith("-"),
        )
        return await paging(
            _listing(query), partial(list_products, caller=request.user, query=query)
        )

    @get(
        "/{product_id:str}",
        operation_id="readProduct",
        summary="One product",
        responses=problems(401, 404, 406, 503)
        | {304: ResponseSpec(None, description="It is still what `If-None-Match` names")},
        response_headers=[ETAG],
    )
    async def read_product(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        read_product: NamedDependency[ReadProduct],
        if_none_match: Annotated[
            str | None,
            HeaderParameter(name="If-None-Match", description="Answers 304 to this `ETag`."),
        ] = None,
    ) -> Response[ProductOut]:
        product = await read_product(caller=request.user, product_id=product_id)
        tag = product_etag(product)
        if if_none_match is not None and (tag in if_none_match or if_none_match.strip() == "*"):
            return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]
        return _respond(product)

    @post(
        operation_id="createProduct",
        summary="Create a product (staff)",
        opt=STAFF,
        responses=problems(401, 403, 406, 408, 409, 413, 415, 422, 503),
        response_headers=[ETAG, LOCATION],
    )
    async def create_product(
        self,
        request: Request[Caller, str, Any],
        data: JSONBody[NewProduct],
        settings: NamedDependency[Settings],
        create_product: NamedDependency[CreateProduct],
        once: NamedDependency[Once],
    ) -> Response[ProductOut]:
        change = partial(
            create_product,
            caller=request.user,
            sku=data.sku,
            name=data.name,
            price=Money.parse(data.price, settings.currency),
            description=data.description,
            stock=data.stock,
        )
        return await once(change, _created)

    @patch(
        "/{product_id:str}",
        operation_id="changeProduct",
        summary="Change fields of a product (staff); placed orders keep the old ones",
        opt=STAFF,
        responses=problems(401, 403, 404, 406, 408, 409, 412, 413, 415, 422, 503),
        response_headers=[ETAG],
    )
    async def change_product(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        data: JSONBody[ProductChange],
        settings: NamedDependency[Settings],
        change_product: NamedDependency[ChangeProduct],
        once: NamedDependency[Once],
        if_match: IfMatch = None,
    ) -> Response[ProductOut]:
        price = _given(data.price)
        change = partial(
            change_product,
            caller=request.user,
            product_id=product_id,
            sku=_given(data.sku),
            name=_given(data.name),
            description=_given(data.description),
            price=price if price is None else Money.parse(price, settings.currency),
            expected_versions=parse_if_match(if_match),
        )
        return await once(change, _respond)

    @delete(
        "/{product_id:str}",
        status_code=204,
        operation_id="archiveProduct",
        summary="Archive a product (staff): gone from lists, old orders keep it",
        opt=STAFF,
        responses=problems(401, 403, 404, 406, 412, 422, 503)
        | {204: ResponseSpec(None, description="It is archived, now or before")},
    )
    async def archive_product(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        archive_product: NamedDependency[ArchiveProduct],
        once: NamedDependency[Once],
        if_match: IfMatch = None,
    ) -> Response[None]:
        change = partial(
            archive_product,
            caller=request.user,
            product_id=product_id,
            expected_versions=parse_if_match(if_match),
        )
        return await once(change, _archived)

    @get(
        "/{product_id:str}/movements",
        operation_id="listMovements",
        summary="A product's stock ledger, the newest movement first (staff)",
        opt=STAFF,
        responses=problems(401, 403, 404, 406, 503),
    )
    async def list_movements(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        read_movements: NamedDependency[ReadMovements],
        paging: NamedDependency[Paging],
    ) -> PageOut[MovementOut]:
        read = partial(read_movements, caller=request.user, product_id=product_id)
        return await paging(_MOVEMENTS, read)

    @post(
        "/{product_id:str}/stock",
        status_code=200,
        operation_id="changeStock",
        summary="Change a product's stock, by a difference or by compare-and-set (staff)",
        opt=STAFF,
        responses=problems(401, 403, 404, 406, 408, 409, 413, 415, 422, 503),
        response_headers=[ETAG],
    )
    async def change_stock(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        data: JSONBody[StockChange],
        change_stock: NamedDependency[ChangeStock],
        once: NamedDependency[Once],
    ) -> Response[ProductOut]:
        change = partial(
            change_stock,
            caller=request.user,
            product_id=product_id,
            reason=data.reason,
            delta=data.delta,
            quantity=data.quantity,
            expected=data.expected,
        )
        return await once(change, _respond)


def _given(value: str | msgspec.UnsetType) -> str | None:
    return None if value is msgspec.UNSET else value


def _minor_units(field: str, price: str | None, settings: Settings) -> int | None:
    return None if price is None else Money.parse(price, settings.currency, field=field).amount
