"""Orders over HTTP: `/api/orders/`."""

import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from shop.adapters.work import work_under_way
from shop.domain.orders import (
    LINES_MAX,
    MOVED_NUMBER_MAX,
    PAYMENT_REFERENCE_LENGTH_MAX,
    QUANTITY_MAX,
    HistoryEntry,
    Order,
    OrderItem,
    OrderLine,
    OrderQuery,
    OrderStatus,
    moved_order_id,
)
from shop.domain.services.advance_order import AdvanceOrder, PayOrder
from shop.domain.services.amend_order import AmendOrder
from shop.domain.services.cancel_order import CancelOrder
from shop.domain.services.place_order import PlaceOrder
from shop.domain.services.read_orders import ListOrders, ReadHistory, ReadOrder
from shop.domain.services.return_order import ReturnOrder
from shop.domain.stock import NOTE_LENGTH_MAX
from shop.domain.users import Caller
from shop.entrypoints.http.access import STAFF
from shop.entrypoints.http.answers import JSONAnswer
from shop.entrypoints.http.api.etags import versions_in
from shop.entrypoints.http.api.fields import Rule, Words
from shop.entrypoints.http.api.idempotency import Change, IdempotencyKey, Once
from shop.entrypoints.http.api.pagination import (
    KeyNumber,
    KeyTime,
    Listing,
    PageOut,
    Paging,
)
from shop.entrypoints.http.api.parameters import (
    ETAG,
    ID_MAX,
    LINE_PATTERN,
    LOCATION,
    MONEY,
    MONEY_FORMAT,
    NOT_MODIFIED,
    TEXT_PATTERN,
    TOTAL_PATTERN,
    ActorOut,
    CreatedOut,
    CurrencyOut,
    IfMatch,
    IfNoneMatch,
    ModifiedOut,
    MomentOut,
    NoteOut,
    PriceOut,
    Time,
    TotalOut,
    parse_time,
    parse_total,
    text,
)
from shop.entrypoints.http.api.plain_details import Shown, plain_detail, respond_shown
from shop.entrypoints.http.api.problems import problems
from shop.entrypoints.http.api.shared_answers import own_for_each_customer, shared_by
from shop.entrypoints.http.edge import REVALIDATED_BY_CALLER
from shop.entrypoints.settings import Settings

OrderId = Annotated[
    UUID,
    PathParameter(
        description="The order's id, a UUID.",
        examples=[Example(value="6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50")],
    ),
]


class NewItem(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How many of a product."""

    product_id: Annotated[int, Meta(ge=1, le=ID_MAX, description="The product's id.", examples=[1])]
    quantity: Annotated[
        int, Meta(ge=1, le=QUANTITY_MAX, description="How many pieces.", examples=[2])
    ]


class NewOrder(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is ordered."""

    # Of PATCH the body as well: a field that cannot be amended needs a Struct of its own there.
    # `omit_defaults` is for `each_field_once`, here and in `NewItem`.
    items: Annotated[
        list[NewItem],
        Meta(
            min_length=1,
            max_length=LINES_MAX,
            description="Lines for the same product are added up.",
        ),
    ]
    expected_total: (
        Annotated[
            str,
            Meta(
                description="What it comes to as the buyer saw it; 409 if it is another sum.",
                examples=["43.80"],
                extra_json_schema={"extra": {"pattern": TOTAL_PATTERN, "format": MONEY}},
            ),
            Rule(parse_total),
        ]
        | None
    ) = None

    def order_items(self) -> tuple[OrderItem, ...]:
        return _order_items(self.items)

    def total(self, currency: str) -> Decimal | None:
        """Raises `InvalidField`."""
        return None if self.expected_total is None else parse_total(self.expected_total, currency)


def _order_items(items: list[NewItem]) -> tuple[OrderItem, ...]:
    return tuple(OrderItem(product_id=item.product_id, quantity=item.quantity) for item in items)


Note = Annotated[
    str,
    Meta(
        max_length=NOTE_LENGTH_MAX,
        description="For the history and the ledger.",
        examples=["as agreed on the phone"],
        extra_json_schema={"extra": {"pattern": TEXT_PATTERN}},
    ),
    text(NOTE_LENGTH_MAX),
]


class Move(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What may be said of a move."""

    note: Note = ""


class Payment(Move, forbid_unknown_fields=True, kw_only=True):
    """What may be said of a payment."""

    reference: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=PAYMENT_REFERENCE_LENGTH_MAX,
                description="What the payment is called where it was made; unique.",
                examples=["pi_3MtwBwLkdIwHu7ix"],
                extra_json_schema={"extra": {"pattern": LINE_PATTERN}},
            ),
            text(PAYMENT_REFERENCE_LENGTH_MAX, length_min=1),
        ]
        | None
    ) = None


class Cancellation(Move, forbid_unknown_fields=True, kw_only=True):
    """What may be said of a cancellation."""

    restock: Annotated[
        bool,
        Meta(description="Staff: false writes off what comes back instead.", examples=[True]),
    ] = True


class Return(Cancellation, forbid_unknown_fields=True, kw_only=True):
    """What may be said of a return."""

    items: (
        Annotated[
            list[NewItem],
            Meta(min_length=1, max_length=LINES_MAX, description="All that is out, if left out."),
        ]
        | None
    ) = None


class ReturnedOut(msgspec.Struct):
    """How many of a product came back."""

    product_id: Annotated[int, Meta(description="The product's id.", examples=[1])]
    quantity: Annotated[int, Meta(description="How many pieces.", examples=[1])]


class OrderEventOut(msgspec.Struct, rename={"from_status": "from", "to_status": "to"}):
    """What happened to an order."""

    from_status: Annotated[OrderStatus, Meta(description="The status before.", examples=["placed"])]
    to_status: Annotated[
        OrderStatus,
        Meta(description="The status after; the same for an amendment.", examples=["paid"]),
    ]
    by: ActorOut
    note: NoteOut
    at: MomentOut
    returned: Annotated[list[ReturnedOut], Meta(description="What came back.")]

    @classmethod
    def of(cls, event: HistoryEntry) -> "OrderEventOut":
        return cls(
            from_status=event.from_status,
            to_status=event.to_status,
            by=event.actor_id,
            note=event.note,
            at=event.at,
            returned=[
                ReturnedOut(product_id=item.product_id, quantity=item.quantity)
                for item in event.returned
            ],
        )


class OrderedProduct(msgspec.Struct):
    """The product as it was when it was ordered."""

    id: Annotated[int, Meta(description="The product's id.", examples=[1])]
    name: Annotated[str, Meta(description="Its name then.", examples=["Everyday Bamboo Blanket"])]
    price: PriceOut


class OrderLineOut(msgspec.Struct):
    """A line of an order."""

    product: OrderedProduct
    quantity: Annotated[int, Meta(description="How many pieces.", examples=[2])]
    returned: Annotated[int, Meta(description="How many of the quantity came back.", examples=[1])]
    total: TotalOut

    @classmethod
    def of(cls, line: OrderLine) -> "OrderLineOut":
        return cls(
            product=OrderedProduct(id=line.product_id, name=line.name, price=str(line.price)),
            quantity=line.quantity,
            returned=line.returned,
            total=str(line.total),
        )


class OrderOut(msgspec.Struct):
    """An order; a price is that of the moment when its pieces came onto it."""

    id: Annotated[
        UUID,
        Meta(
            description="Its UUID, in addresses.",
            examples=["6f1c2a9e-5b0d-4c7e-9a41-3d2f8e7b6c50"],
        ),
    ]
    code: Annotated[
        str,
        Meta(
            min_length=12,
            max_length=12,
            description="What people call it on the phone.",
            examples=["7GK2M9QXWB4T"],
        ),
    ]
    user: Annotated[int, Meta(description="The id of whose order it is.", examples=[1])]
    status: Annotated[OrderStatus, Meta(description="Where it stands.", examples=["placed"])]
    items: Annotated[list[OrderLineOut], Meta(description="Its lines.")]
    total: TotalOut
    kept_total: Annotated[
        str,
        Meta(
            description="Without what came back; nothing, once it is cancelled.",
            examples=["21.90"],
            extra_json_schema=MONEY_FORMAT,
        ),
    ]
    currency: CurrencyOut
    payment_reference: Annotated[
        str | None,
        Meta(
            description="What its payment is called where it was made, if known.",
            examples=["pi_3Nx"],
        ),
    ]
    created: CreatedOut
    modified: ModifiedOut

    @classmethod
    def of(cls, order: Order) -> "OrderOut":
        return cls(
            id=order.id,
            code=order.code,
            user=order.user_id,
            status=order.status,
            items=[OrderLineOut.of(line) for line in order.lines],
            total=str(order.total),
            kept_total=str(order.kept_total),
            currency=order.currency,
            payment_reference=order.payment_reference,
            created=order.created_at,
            modified=order.modified_at,
        )


_ORDERS = Listing(key=lambda order: order.key, key_type=tuple[KeyTime, UUID], out=OrderOut.of)
_HISTORY = Listing(key=lambda event: (event.id,), key_type=tuple[KeyNumber], out=OrderEventOut.of)


def _etag(order: Order) -> str:
    return f'"{order.version}"'


def _respond(order: Order) -> Response[OrderOut]:
    return JSONAnswer(OrderOut.of(order), headers={"ETag": _etag(order)})


async def show_order(read_order: ReadOrder, caller: Caller, order_id: UUID) -> Shown:
    order = await read_order(caller=caller, order_id=order_id)
    return Shown(OrderOut.of(order), _etag(order))


_PLAIN_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLAIN_NUMBER = re.compile("[1-9][0-9]{0,15}")


def show_plain_order(
    read_order: Callable[[], ReadOrder], caller: Caller, named: Mapping[str, str]
) -> Awaitable[Shown] | None:
    order_id = named["order_id"]
    if _PLAIN_ID.fullmatch(order_id):
        return show_order(read_order(), caller, UUID(order_id))
    if _PLAIN_NUMBER.fullmatch(order_id) and int(order_id) <= MOVED_NUMBER_MAX:
        # As clients of the shop that this one took over from know it.
        return show_order(read_order(), caller, moved_order_id(int(order_id)))
    return None


class PlacedAnswer(msgspec.Struct):
    """What is answered to a placed order, before it is known how it is sent."""

    content: OrderOut
    status_code: int
    etag: str
    location: str


async def place(
    place_order: PlaceOrder,
    *,
    caller: Caller,
    order: NewOrder,
    currency: str,
    order_id: UUID | None = None,
    idempotency_key: str | None = None,
) -> PlacedAnswer:
    """Place what the body asks for, for the handlers and for `PlainOrders`."""
    placed = await place_order(
        caller=caller,
        items=order.order_items(),
        order_id=order_id,
        idempotency_key=idempotency_key,
        expected_total=order.total(currency),
    )
    if (work := work_under_way.get()) is not None:
        work.order_id = placed.order.id
    return PlacedAnswer(
        OrderOut.of(placed.order),
        201 if placed.created else 200,
        _etag(placed.order),
        f"/api/orders/{placed.order.id}/",
    )


def _respond_placed(answer: PlacedAnswer) -> Response[OrderOut]:
    return JSONAnswer(
        answer.content,
        status_code=answer.status_code,
        headers={"ETag": answer.etag, "Location": answer.location},
    )


# Said by a route that `PlainOrders` may answer in the place of its handler.
SHORT_WAY = {"short_way": True}

_PLACING = problems(401, 406, 408, 409, 413, 415, 429, 503) | {
    200: ResponseSpec(
        OrderOut, generate_examples=False, description="The order as it is stored, placed before"
    )
}

# What the routes that change an order's status have in common.
_MOVING = problems(401, 403, 404, 406, 408, 409, 413, 415, 422, 503)
_change_status = partial(post, status_code=200, responses=_MOVING, response_headers=[ETAG])


def _advancing(
    advance_order: AdvanceOrder,
    caller: Caller,
    order_id: UUID,
    to: OrderStatus,
    move: Move | None,
) -> Change[Order]:
    note = (move or Move()).note
    return partial(advance_order, caller=caller, order_id=order_id, to=to, note=note)


class OrderController(Controller):
    path = "/api/orders"
    tags = ("Orders",)
    opt = REVALIDATED_BY_CALLER

    @get(
        operation_id="listOrders",
        summary="A page of orders, the newest first: one's own; for staff, everybody's",
        opt=shared_by(own_for_each_customer),
        responses=problems(401, 404, 406, 503) | NOT_MODIFIED,
        response_headers=[ETAG],
    )
    async def list_orders(
        self,
        request: Request[Caller, str, Any],
        list_orders: NamedDependency[ListOrders],
        paging: NamedDependency[Paging],
        status: Annotated[
            OrderStatus | None,
            QueryParameter(
                description="Only those that stand there.", schema_extra={"examples": ["placed"]}
            ),
        ] = None,
        created_after: Time = None,
        created_before: Time = None,
        code: Annotated[
            str | None,
            QueryParameter(
                pattern="^[0-9A-Za-z]{12}$",
                description="Only the order that is called so.",
                schema_extra={"examples": ["7GK2M9QXWB4T"]},
            ),
            Words("must be the 12 letters and digits that an order is called by"),
        ] = None,
        user: Annotated[
            int | None,
            QueryParameter(
                ge=1,
                le=ID_MAX,
                description="Staff: only this user's orders. Others are shown their own, whatever "
                "it says.",
                schema_extra={"examples": [1]},
            ),
        ] = None,
        if_none_match: IfNoneMatch = None,  # `SharedAnswers` reads it
    ) -> PageOut[OrderOut]:
        query = OrderQuery(
            user_id=user,
            status=status,
            created_after=parse_time("created_after", created_after),
            created_before=parse_time("created_before", created_before),
            code=code and code.upper(),
        )
        return await paging(_ORDERS, partial(list_orders, caller=request.user, query=query), query)

    @get(
        "/{order_id:str}",
        operation_id="readOrder",
        summary="One order, for its owner and staff",
        description=(
            "An order that was moved in from another shop is also found by its number there, in "
            "the place of the UUID."
        ),
        opt=plain_detail("order"),
        responses=problems(401, 404, 406, 503) | NOT_MODIFIED,
        response_headers=[ETAG],
    )
    async def read_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        read_order: NamedDependency[ReadOrder],
        if_none_match: IfNoneMatch = None,
    ) -> Response[OrderOut]:
        order = await show_order(read_order, request.user, order_id)
        return respond_shown(order, if_none_match)

    @post(
        operation_id="placeOrder",
        summary="Place an order, all or nothing; the server makes its id",
        description=(
            "With an `Idempotency-Key`, repeating the request answers 200 with the first order; "
            "another body under that key is refused with 422."
        ),
        opt=SHORT_WAY,
        responses=_PLACING | problems(422),
        response_headers=[ETAG, LOCATION],
    )
    async def place_order(
        self,
        request: Request[Caller, str, Any],
        data: JSONBody[NewOrder],
        settings: NamedDependency[Settings],
        place_order: NamedDependency[PlaceOrder],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[OrderOut]:
        answer = await place(
            place_order,
            caller=request.user,
            order=data,
            currency=settings.currency,
            idempotency_key=idempotency_key,
        )
        return _respond_placed(answer)

    @post(
        "/{order_id:str}",
        operation_id="placeOrderWithId",
        summary="Place an order under an id that the client makes: exactly once by nature",
        description=(
            "Repeating the request answers 200 with the stored order; an id that is taken by "
            "anything else is refused with 409. Ids of UUID version 8 are kept for the server."
        ),
        opt=SHORT_WAY,
        responses=_PLACING,
        response_headers=[ETAG, LOCATION],
    )
    async def place_order_with_id(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        data: JSONBody[NewOrder],
        settings: NamedDependency[Settings],
        place_order: NamedDependency[PlaceOrder],
    ) -> Response[OrderOut]:
        answer = await place(
            place_order,
            caller=request.user,
            order=data,
            currency=settings.currency,
            order_id=order_id,
        )
        return _respond_placed(answer)

    @_change_status(
        "/{order_id:str}/cancel",
        operation_id="cancelOrder",
        summary="Cancel an order (the owner while placed, staff until shipped)",
        description=(
            "Its stock comes back, exactly once. Cancelling a cancelled order answers 200 with it."
        ),
    )
    async def cancel_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        cancel_order: NamedDependency[CancelOrder],
        once: NamedDependency[Once],
        data: JSONBody[Cancellation | None] = None,
    ) -> Response[OrderOut]:
        wanted = data or Cancellation()
        change = partial(
            cancel_order,
            caller=request.user,
            order_id=order_id,
            restock=wanted.restock,
            note=wanted.note,
        )
        return await once(change, _respond)

    @patch(
        "/{order_id:str}",
        operation_id="amendOrder",
        summary="Replace the lines of a placed order (its owner, staff)",
        description=(
            "Stock moves by the difference, all or nothing. Pieces that were on the order keep "
            "their price, added ones have today's and are a line of their own where it differs; "
            "what is taken away are the pieces that were added last."
        ),
        responses=problems(401, 404, 406, 408, 409, 412, 413, 415, 422, 503),
        response_headers=[ETAG],
    )
    async def amend_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        data: JSONBody[NewOrder],
        settings: NamedDependency[Settings],
        amend_order: NamedDependency[AmendOrder],
        once: NamedDependency[Once],
        if_match: IfMatch = None,
    ) -> Response[OrderOut]:
        change = partial(
            amend_order,
            caller=request.user,
            order_id=order_id,
            items=data.order_items(),
            expected_total=data.total(settings.currency),
            expected_versions=versions_in(if_match),
        )
        return await once(change, _respond)

    @_change_status(
        "/{order_id:str}/pay",
        operation_id="payOrder",
        summary="Record that an order is paid (staff)",
        opt=STAFF,
    )
    async def pay_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        pay_order: NamedDependency[PayOrder],
        once: NamedDependency[Once],
        data: JSONBody[Payment | None] = None,
    ) -> Response[OrderOut]:
        payment = data or Payment()
        change = partial(
            pay_order,
            caller=request.user,
            order_id=order_id,
            reference=payment.reference,
            note=payment.note,
        )
        return await once(change, _respond)

    @_change_status(
        "/{order_id:str}/ship",
        operation_id="shipOrder",
        summary="Record that an order is shipped (staff)",
        opt=STAFF,
    )
    async def ship_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        advance_order: NamedDependency[AdvanceOrder],
        once: NamedDependency[Once],
        data: JSONBody[Move | None] = None,
    ) -> Response[OrderOut]:
        change = _advancing(advance_order, request.user, order_id, OrderStatus.SHIPPED, data)
        return await once(change, _respond)

    @_change_status(
        "/{order_id:str}/deliver",
        operation_id="deliverOrder",
        summary="Record that an order is delivered (staff)",
        opt=STAFF,
    )
    async def deliver_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        advance_order: NamedDependency[AdvanceOrder],
        once: NamedDependency[Once],
        data: JSONBody[Move | None] = None,
    ) -> Response[OrderOut]:
        change = _advancing(advance_order, request.user, order_id, OrderStatus.DELIVERED, data)
        return await once(change, _respond)

    @_change_status(
        "/{order_id:str}/return",
        operation_id="returnOrder",
        summary="Take a shipped order back, whole or in part (staff)",
        description="It is `returned` when nothing of it is out any more.",
        opt=STAFF,
        responses=_MOVING | problems(412),
    )
    async def return_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        return_order: NamedDependency[ReturnOrder],
        once: NamedDependency[Once],
        data: JSONBody[Return | None] = None,
        if_match: IfMatch = None,
    ) -> Response[OrderOut]:
        wanted = data or Return()
        change = partial(
            return_order,
            caller=request.user,
            order_id=order_id,
            items=None if wanted.items is None else _order_items(wanted.items),
            restock=wanted.restock,
            note=wanted.note,
            expected_versions=versions_in(if_match),
        )
        return await once(change, _respond)

    @get(
        "/{order_id:str}/history",
        operation_id="readOrderHistory",
        summary="An order's moves, amendments and returns, the oldest first",
        responses=problems(401, 404, 406, 503),
    )
    async def read_history(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        read_history: NamedDependency[ReadHistory],
        paging: NamedDependency[Paging],
    ) -> PageOut[OrderEventOut]:
        read = partial(read_history, caller=request.user, order_id=order_id)
        return await paging(_HISTORY, read)
