"""Orders over HTTP: `/api/orders/`."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from shop.domain.orders import (
    IDEMPOTENCY_KEY_LENGTH_MAX,
    LINES_MAX,
    PAYMENT_REFERENCE_LENGTH_MAX,
    QUANTITY_MAX,
    Order,
    OrderEvent,
    OrderItem,
    OrderLine,
    OrderQuery,
    OrderStatus,
    Placed,
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
from shop.entrypoints.http.errors import problems
from shop.entrypoints.http.pagination import (
    KeyNumber,
    KeyTime,
    PageLinks,
    PageOut,
    PageRequest,
)
from shop.entrypoints.http.parameters import (
    ETAG,
    ID_MAX,
    LINE_PATTERN,
    LOCATION,
    TEXT_PATTERN,
    IfMatch,
    Time,
    parse_if_match,
    parse_time,
)
from shop.entrypoints.settings import Settings

OrderId = Annotated[UUID, PathParameter(description="The order's id, a UUID.")]


class NewItem(msgspec.Struct, forbid_unknown_fields=True):
    product_id: Annotated[int, Meta(ge=1, le=ID_MAX, examples=[1])]
    quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX, examples=[2])]


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[
        list[NewItem],
        Meta(
            min_length=1,
            max_length=LINES_MAX,
            description="Lines for the same product are added up.",
        ),
    ]

    def order_items(self) -> tuple[OrderItem, ...]:
        return _order_items(self.items)


def _order_items(items: list[NewItem]) -> tuple[OrderItem, ...]:
    return tuple(OrderItem(product_id=item.product_id, quantity=item.quantity) for item in items)


Note = Annotated[
    str,
    Meta(
        max_length=NOTE_LENGTH_MAX,
        description="For the history and the ledger.",
        extra_json_schema={"extra": {"pattern": TEXT_PATTERN}},
    ),
]


class Move(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    note: Note = ""


class Payment(Move, forbid_unknown_fields=True, kw_only=True):
    reference: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=PAYMENT_REFERENCE_LENGTH_MAX,
                description="What the payment is called where it was made; unique.",
                extra_json_schema={"extra": {"pattern": LINE_PATTERN}},
            ),
        ]
        | None
    ) = None


class Cancellation(Move, forbid_unknown_fields=True, kw_only=True):
    restock: Annotated[
        bool, Meta(description="Staff: false writes off what comes back instead.")
    ] = True


class Return(Cancellation, forbid_unknown_fields=True, kw_only=True):
    items: (
        Annotated[
            list[NewItem],
            Meta(min_length=1, max_length=LINES_MAX, description="All that is out, if left out."),
        ]
        | None
    ) = None


class OrderEventOut(msgspec.Struct, rename={"from_status": "from", "to_status": "to"}):
    from_status: OrderStatus
    to_status: OrderStatus
    by: int | None
    """The user's id; null for an operator."""
    note: str
    at: datetime

    @classmethod
    def of(cls, event: OrderEvent) -> "OrderEventOut":
        return cls(
            from_status=event.from_status,
            to_status=event.to_status,
            by=event.actor_id,
            note=event.note,
            at=event.at,
        )


class OrderedProduct(msgspec.Struct):
    """The product as it was when it was ordered."""

    id: int
    name: str
    price: Annotated[str, Meta(examples=["12.00"])]


class OrderLineOut(msgspec.Struct):
    product: OrderedProduct
    quantity: int
    total: Annotated[str, Meta(examples=["24.00"])]

    @classmethod
    def of(cls, line: OrderLine) -> "OrderLineOut":
        return cls(
            product=OrderedProduct(id=line.product_id, name=line.name, price=str(line.price)),
            quantity=line.quantity,
            total=str(line.total),
        )


class OrderOut(msgspec.Struct):
    id: UUID
    code: Annotated[str, Meta(min_length=12, max_length=12)]
    user: int
    status: OrderStatus
    items: list[OrderLineOut]
    total: Annotated[str, Meta(examples=["24.00"])]
    currency: Annotated[str, Meta(examples=["EUR"])]
    created: datetime
    modified: datetime

    @classmethod
    def of(cls, order: Order) -> "OrderOut":
        return cls(
            id=order.id,
            code=order.code,
            user=order.user_id,
            status=order.status,
            items=[OrderLineOut.of(line) for line in order.lines],
            total=str(order.total),
            currency=order.currency,
            created=order.created_at,
            modified=order.modified_at,
        )


def order_etag(order: Order) -> str:
    return f'"{order.version}"'


def _respond(order: Order, *, status_code: int = 200, **headers: str) -> Response[OrderOut]:
    return JSONAnswer(
        OrderOut.of(order),
        status_code=status_code,
        headers={"ETag": order_etag(order), **headers},
    )


def _respond_placed(placed: Placed) -> Response[OrderOut]:
    order = placed.order
    return _respond(order, status_code=placed_status(placed), Location=order_address(order))


def placed_status(placed: Placed) -> int:
    return 201 if placed.created else 200


def order_address(order: Order) -> str:
    return f"/api/orders/{order.id}/"


# For `PlaceDirectly`: it may answer plain requests in the place of the handler.
DIRECT = {"direct": True}

_PLACING = problems(401, 406, 408, 409, 413, 415, 429, 503) | {
    200: ResponseSpec(
        OrderOut, generate_examples=False, description="The order as it is stored, placed before"
    )
}


_MOVING = problems(401, 403, 404, 406, 408, 409, 413, 415, 503)


class OrderController(Controller):
    path = "/api/orders"
    tags = ("Orders",)

    @get(
        operation_id="listOrders",
        summary="A page of orders, the newest first: one's own; for staff, everybody's",
        responses=problems(401, 404, 406, 503),
    )
    async def list_orders(
        self,
        request: Request[Caller, str, Any],
        settings: NamedDependency[Settings],
        list_orders: NamedDependency[ListOrders],
        page_request: NamedDependency[PageRequest],
        status: Annotated[OrderStatus | None, QueryParameter()] = None,
        created_after: Time = None,
        created_before: Time = None,
        code: Annotated[str | None, QueryParameter(pattern="^[0-9A-Za-z]{12}$")] = None,
        user: Annotated[
            int | None,
            QueryParameter(ge=1, le=ID_MAX, description="Staff: only this user's orders."),
        ] = None,
    ) -> PageOut[OrderOut]:
        query = OrderQuery(
            user_id=user,
            status=status,
            created_after=parse_time("created_after", created_after),
            created_before=parse_time("created_before", created_before),
            code=code and code.upper(),
        )
        links = PageLinks(
            key=lambda order: order.key,
            key_type=tuple[KeyTime, UUID],
            out=OrderOut.of,
            public_url=settings.public_url,
        )
        return await links(
            request, page_request, partial(list_orders, caller=request.user, query=query)
        )

    @get(
        "/{order_id:str}",
        operation_id="readOrder",
        summary="One order, for its owner and staff",
        responses=problems(401, 404, 406, 503),
        response_headers=[ETAG],
    )
    async def read_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        read_order: NamedDependency[ReadOrder],
    ) -> Response[OrderOut]:
        return _respond(await read_order(caller=request.user, order_id=order_id))

    @post(
        operation_id="placeOrder",
        summary="Place an order, all or nothing; the server makes its id",
        description=(
            "With an `Idempotency-Key`, repeating the request answers 200 with the first order; "
            "another body under that key is refused with 422."
        ),
        opt=DIRECT,
        responses=_PLACING | problems(422),
        response_headers=[ETAG, LOCATION],
    )
    async def place_order(
        self,
        request: Request[Caller, str, Any],
        data: JSONBody[NewOrder],
        place_order: NamedDependency[PlaceOrder],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                min_length=1,
                max_length=IDEMPOTENCY_KEY_LENGTH_MAX,
                pattern="^[ -~]+$",
            ),
        ] = None,
    ) -> Response[OrderOut]:
        placed = await place_order(
            caller=request.user, items=data.order_items(), idempotency_key=idempotency_key
        )
        return _respond_placed(placed)

    @post(
        "/{order_id:str}",
        operation_id="placeOrderWithId",
        summary="Place an order under an id that the client makes: exactly once by nature",
        description=(
            "Repeating the request answers 200 with the stored order; an id that is taken by "
            "anything else is refused with 409. Ids of UUID version 8 are kept for the server."
        ),
        opt=DIRECT,
        responses=_PLACING,
        response_headers=[ETAG, LOCATION],
    )
    async def place_order_with_id(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        data: JSONBody[NewOrder],
        place_order: NamedDependency[PlaceOrder],
    ) -> Response[OrderOut]:
        placed = await place_order(caller=request.user, items=data.order_items(), order_id=order_id)
        return _respond_placed(placed)

    @post(
        "/{order_id:str}/cancel",
        status_code=200,
        operation_id="cancelOrder",
        summary="Cancel an order (the owner while placed, staff until shipped)",
        description=(
            "Its stock comes back, exactly once. Cancelling a cancelled order answers 200 with it."
        ),
        responses=_MOVING,
        response_headers=[ETAG],
    )
    async def cancel_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        cancel_order: NamedDependency[CancelOrder],
        data: JSONBody[Cancellation | None] = None,
    ) -> Response[OrderOut]:
        wanted = data or Cancellation()
        order = await cancel_order(
            caller=request.user, order_id=order_id, restock=wanted.restock, note=wanted.note
        )
        return _respond(order)

    @patch(
        "/{order_id:str}",
        operation_id="amendOrder",
        summary="Replace the lines of a placed order (its owner, staff)",
        description=(
            "Stock moves by the difference, all or nothing. Products that were on the order keep "
            "their price, new ones have today's."
        ),
        responses=problems(401, 404, 406, 408, 409, 412, 413, 415, 503),
        response_headers=[ETAG],
    )
    async def amend_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        data: JSONBody[NewOrder],
        amend_order: NamedDependency[AmendOrder],
        if_match: IfMatch = None,
    ) -> Response[OrderOut]:
        order = await amend_order(
            caller=request.user,
            order_id=order_id,
            items=data.order_items(),
            expected_versions=parse_if_match(if_match),
        )
        return _respond(order)

    @post(
        "/{order_id:str}/pay",
        status_code=200,
        operation_id="payOrder",
        summary="Record that an order is paid (staff)",
        opt=STAFF,
        responses=_MOVING,
        response_headers=[ETAG],
    )
    async def pay_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        pay_order: NamedDependency[PayOrder],
        data: JSONBody[Payment | None] = None,
    ) -> Response[OrderOut]:
        payment = data or Payment()
        order = await pay_order(
            caller=request.user,
            order_id=order_id,
            reference=payment.reference,
            note=payment.note,
        )
        return _respond(order)

    @post(
        "/{order_id:str}/ship",
        status_code=200,
        operation_id="shipOrder",
        summary="Record that an order is shipped (staff)",
        opt=STAFF,
        responses=_MOVING,
        response_headers=[ETAG],
    )
    async def ship_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        advance_order: NamedDependency[AdvanceOrder],
        data: JSONBody[Move | None] = None,
    ) -> Response[OrderOut]:
        order = await advance_order(
            caller=request.user,
            order_id=order_id,
            to=OrderStatus.SHIPPED,
            note=data.note if data else "",
        )
        return _respond(order)

    @post(
        "/{order_id:str}/deliver",
        status_code=200,
        operation_id="deliverOrder",
        summary="Record that an order is delivered (staff)",
        opt=STAFF,
        responses=_MOVING,
        response_headers=[ETAG],
    )
    async def deliver_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        advance_order: NamedDependency[AdvanceOrder],
        data: JSONBody[Move | None] = None,
    ) -> Response[OrderOut]:
        order = await advance_order(
            caller=request.user,
            order_id=order_id,
            to=OrderStatus.DELIVERED,
            note=data.note if data else "",
        )
        return _respond(order)

    @post(
        "/{order_id:str}/return",
        status_code=200,
        operation_id="returnOrder",
        summary="Take a shipped order back, whole or in part (staff)",
        description="It is `returned` when nothing of it is out any more.",
        opt=STAFF,
        responses=_MOVING | problems(412),
        response_headers=[ETAG],
    )
    async def return_order(
        self,
        request: Request[Caller, str, Any],
        order_id: OrderId,
        return_order: NamedDependency[ReturnOrder],
        data: JSONBody[Return | None] = None,
        if_match: IfMatch = None,
    ) -> Response[OrderOut]:
        wanted = data or Return()
        order = await return_order(
            caller=request.user,
            order_id=order_id,
            items=None if wanted.items is None else _order_items(wanted.items),
            restock=wanted.restock,
            note=wanted.note,
            expected_versions=parse_if_match(if_match),
        )
        return _respond(order)

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
        settings: NamedDependency[Settings],
        read_history: NamedDependency[ReadHistory],
        page_request: NamedDependency[PageRequest],
    ) -> PageOut[OrderEventOut]:
        links = PageLinks(
            key=lambda event: (event.id,),
            key_type=tuple[KeyNumber],
            out=OrderEventOut.of,
            public_url=settings.public_url,
        )
        read = partial(read_history, caller=request.user, order_id=order_id)
        return await links(request, page_request, read)
