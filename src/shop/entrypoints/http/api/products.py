"""Products over HTTP: `/api/products/`."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from shop.domain.money import Money
from shop.domain.products import (
    DESCRIPTION_LENGTH_MAX,
    NAME_LENGTH_MAX,
    NO_MAX,
    SEARCH_LENGTH_MAX,
    SKU_LENGTH_MAX,
    SKUS_MAX,
    STOCK_MAX,
    Product,
    ProductQuery,
    ProductSort,
    clean_sku,
)
from shop.domain.services.keep_catalogue import (
    ArchiveProduct,
    ChangeProduct,
    ChangeStock,
    CreateProduct,
    ListProducts,
    ReadMovements,
    ReadProduct,
    RestoreProduct,
)
from shop.domain.stock import NOTE_LENGTH_MAX, Reason, StockMovement, wrong_together
from shop.domain.users import Caller
from shop.entrypoints.http.access import STAFF
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.etags import versions_in
from shop.entrypoints.http.api.fields import Rule, Words
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
    MONEY,
    NOT_MODIFIED,
    PRICE,
    PRICE_PATTERN,
    TEXT_PATTERN,
    ActorOut,
    CreatedOut,
    CurrencyOut,
    IfMatch,
    IfNoneMatch,
    ModifiedOut,
    MomentOut,
    NoteOut,
    PriceOut,
    ProductId,
    Time,
    parse_time,
    text,
)
from shop.entrypoints.http.api.plain_details import Shown, plain_detail, respond_shown
from shop.entrypoints.http.api.problems import problems
from shop.entrypoints.http.api.shared_answers import same_for_each_role, shared_by
from shop.entrypoints.http.edge import REVALIDATED
from shop.entrypoints.http.requests import null_is_text
from shop.entrypoints.settings import Settings

Price = Annotated[
    str,
    Meta(
        description="In the shop's currency.",
        examples=["12.00"],
        extra_json_schema={"extra": {"pattern": PRICE_PATTERN, "format": MONEY}},
    ),
    PRICE,
]

# The minimum stands here twice, because Litestar leaves a minimum of 0 out of the document.
_FROM_0 = {"extra": {"minimum": 0}}
Stock = Annotated[
    int,
    Meta(
        ge=0,
        le=STOCK_MAX,
        description="How many are there.",
        examples=[40],
        extra_json_schema=_FROM_0,
    ),
]


class ProductOut(msgspec.Struct):
    """A product of the catalogue."""

    id: Annotated[int, Meta(description="What orders name it by.", examples=[1])]
    sku: Annotated[
        str, Meta(description="What the shop calls it; unique.", examples=["BLA-1-000001"])
    ]
    name: Annotated[
        str, Meta(description="What customers read.", examples=["Everyday Bamboo Blanket"])
    ]
    description: Annotated[
        str, Meta(description="More about it; may be empty.", examples=["Of bamboo."])
    ]
    price: PriceOut
    currency: CurrencyOut
    stock: Annotated[int, Meta(description="How many are there.", examples=[63])]
    max_per_order: Annotated[
        int | None,
        Meta(
            description="How many one order may have; null: as many as there are.", examples=[None]
        ),
    ]
    archived: Annotated[bool, Meta(description="Whether it is for sale no more.", examples=[False])]
    created: CreatedOut
    modified: ModifiedOut

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
            max_per_order=product.max_per_order,
            archived=product.archived,
            created=product.created_at,
            modified=product.modified_at,
        )


Sku = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=SKU_LENGTH_MAX,
        examples=["TEA-1"],
        description="What the shop calls it; unique, whatever the case. Letters and digits of any "
        "script, spaces, and `. - _ / + # & ( )`.",
        # The domain knows letters; a pattern that all readers of the document understand does not.
        extra_json_schema={"extra": {"pattern": r"^[^\x00-\x1f!\x22$%'*,:-@\[-^`{-\x9f]+$"}},
    ),
    Rule(lambda sku, _: clean_sku(sku)),
]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_LENGTH_MAX,
        description="What customers read.",
        examples=["Green tea"],
        extra_json_schema={"extra": {"pattern": LINE_PATTERN}},
    ),
    text(NAME_LENGTH_MAX, length_min=1),
]
Description = Annotated[
    str,
    Meta(
        max_length=DESCRIPTION_LENGTH_MAX,
        description="More about it, in several lines if need be.",
        examples=["Of the first harvest."],
        extra_json_schema={"extra": {"pattern": LINES_PATTERN}},
    ),
    text(DESCRIPTION_LENGTH_MAX, lines=True),
]


MaxPerOrder = Annotated[
    int, Meta(ge=1, le=STOCK_MAX, examples=[10], description="How many one order may have.")
]


class NewProduct(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A product to be made."""

    sku: Sku
    name: Name
    price: Price
    description: Description = ""
    stock: Stock = 0
    max_per_order: MaxPerOrder | None = None


class ProductChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to change; one that is left out stays as it is."""

    sku: Sku | msgspec.UnsetType = msgspec.UNSET
    name: Name | msgspec.UnsetType = msgspec.UNSET
    price: Price | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    max_per_order: MaxPerOrder | msgspec.UnsetType | None = msgspec.UNSET
    """Null takes the limit away."""


class MovementOut(msgspec.Struct):
    """A line of a product's stock ledger."""

    quantity: Annotated[
        int, Meta(description="Signed: what left the shelf is negative.", examples=[-2])
    ]
    balance: Annotated[int, Meta(description="The stock after it.", examples=[61])]
    reason: Annotated[Reason, Meta(description="Why it moved.", examples=["order"])]
    order: Annotated[
        UUID | None,
        Meta(
            description="The order that moved it, if one did.",
            examples=["6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50"],
        ),
    ]
    actor: ActorOut
    note: NoteOut
    at: MomentOut

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
        text(NOTE_LENGTH_MAX, length_min=1),
    ]
    delta: (
        Annotated[
            int,
            Meta(
                ge=-STOCK_MAX,
                le=STOCK_MAX,
                description="How many came (or left, if negative); not 0.",
                examples=[5],
                extra_json_schema={"extra": {"not": {"const": 0}}},
            ),
        ]
        | None
    ) = None
    quantity: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=STOCK_MAX,
                description="How many are there by now.",
                examples=[40],
                extra_json_schema=_FROM_0,
            ),
        ]
        | None
    ) = None
    expected: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=STOCK_MAX,
                description="How many the shop is believed to say; 409 if it says otherwise.",
                examples=[68],
                extra_json_schema=_FROM_0,
            ),
        ]
        | None
    ) = None

    @staticmethod
    def wrong_together(given: Mapping[str, Any]) -> list[tuple[str, str]]:
        """For `fields`, which names all that is wrong with a body."""
        kinds = {name: given.get(name) for name in ("delta", "quantity", "expected")}
        return wrong_together(**kinds)


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
PriceLimit = Annotated[
    str | None,
    QueryParameter(
        description="Inclusive; in the shop's currency.",
        schema_extra={"pattern": PRICE_PATTERN, "format": MONEY, "examples": ["20.00"]},
    ),
    PRICE,
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


async def show_product(read_product: ReadProduct, caller: Caller, product_id: int) -> Shown:
    product = await read_product(caller=caller, product_id=product_id)
    return Shown(ProductOut.of(product), product_etag(product))


_PLAIN_ID = re.compile("[1-9][0-9]{0,14}")


def show_plain_product(
    read_product: Callable[[], ReadProduct], caller: Caller, named: Mapping[str, str]
) -> Awaitable[Shown] | None:
    product_id = named["product_id"]
    if not _PLAIN_ID.fullmatch(product_id):
        return None
    return show_product(read_product(), caller, int(product_id))


def _created(product: Product) -> Response[ProductOut]:
    return _respond(product, status_code=201, Location=f"/api/products/{product.id}/")


def _archived(_: None) -> Response[None]:
    return JSONAnswer(None, status_code=204)


class ProductController(Controller):
    path = "/api/products"
    tags = ("Products",)
    opt = REVALIDATED

    @get(
        operation_id="listProducts",
        summary="A page of products",
        opt=null_is_text("search", "sku") | shared_by(same_for_each_role),
        responses=problems(401, 403, 404, 406, 503) | NOT_MODIFIED,
        response_headers=[ETAG],
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
                schema_extra={"examples": ["bamboo blanket"]},
            ),
            Words(f"must be {SEARCH_LENGTH_MAX} characters at most, and no control characters"),
        ] = "",
        ordering: Annotated[
            Ordering,
            QueryParameter(
                description="A `-` in front reverses. By `relevance` the product whose SKU was "
                "searched for comes first, then those whose names begin with the search, by name, "
                "then the others, the first created first.",
                schema_extra={"examples": ["-price"]},
            ),
        ] = "created",
        in_stock: Annotated[
            bool | None,
            QueryParameter(
                description="Only with, or without, stock.", schema_extra={"examples": [True]}
            ),
        ] = None,
        archived: Annotated[
            bool,
            QueryParameter(
                description="Staff: those that are archived, in place of the others.",
                schema_extra={"examples": [False]},
            ),
        ] = False,
        price_min: PriceLimit = None,
        price_max: PriceLimit = None,
        sku: Annotated[
            list[str] | None,
            QueryParameter(
                max_items=SKUS_MAX,
                description="Only products with this SKU, whatever the case; repeat it for more.",
                schema_extra={"examples": [["BLA-1-000001"]]},
            ),
        ] = None,
        created_after: Time = None,
        modified_after: Time = None,
        if_none_match: IfNoneMatch = None,  # `SharedAnswers` reads it
    ) -> PageOut[ProductOut]:
        query = ProductQuery(
            search=search,
            archived=archived,
            in_stock=in_stock,
            price_min=_minor_units("price_min", price_min, settings),
            price_max=_minor_units("price_max", price_max, settings),
            skus=sku,
            created_after=parse_time("created_after", created_after),
            modified_after=parse_time("modified_after", modified_after),
            sort=ProductSort(ordering.removeprefix("-")),
            descending=ordering.startswith("-"),
        )
        return await paging(
            _listing(query), partial(list_products, caller=request.user, query=query), query
        )

    @get(
        "/{product_id:str}",
        operation_id="readProduct",
        summary="One product",
        opt=plain_detail("product"),
        responses=problems(401, 404, 406, 503) | NOT_MODIFIED,
        response_headers=[ETAG],
    )
    async def read_product(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        read_product: NamedDependency[ReadProduct],
        if_none_match: IfNoneMatch = None,
    ) -> Response[ProductOut]:
        product = await show_product(read_product, request.user, product_id)
        return respond_shown(product, if_none_match)

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
            max_per_order=data.max_per_order,
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
            max_per_order=None
            if data.max_per_order is msgspec.UNSET
            else data.max_per_order or NO_MAX,
            expected_versions=versions_in(if_match),
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
            expected_versions=versions_in(if_match),
        )
        return await once(change, _archived)

    @post(
        "/{product_id:str}/restore",
        status_code=200,
        operation_id="restoreProduct",
        summary="Bring an archived product back (staff), as it was",
        opt=STAFF,
        responses=problems(401, 403, 404, 406, 409, 412, 422, 503),
        response_headers=[ETAG],
    )
    async def restore_product(
        self,
        request: Request[Caller, str, Any],
        product_id: ProductId,
        restore_product: NamedDependency[RestoreProduct],
        once: NamedDependency[Once],
        if_match: IfMatch = None,
    ) -> Response[ProductOut]:
        change = partial(
            restore_product,
            caller=request.user,
            product_id=product_id,
            expected_versions=versions_in(if_match),
        )
        return await once(change, _respond)

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
