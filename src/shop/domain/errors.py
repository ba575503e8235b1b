"""What can go wrong, by category; each concrete error has a stable `code` clients may rely on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from uuid import UUID


class ShopError(Exception):
    """An expected failure: `detail` is a sentence for a person, `context` is for a program."""

    code: ClassVar[str] = "shop_error"
    title: ClassVar[str] = "The request could not be served"

    def __init__(self, detail: str, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context: Mapping[str, Any] = context


class NotFound(ShopError):
    """Not there, or not the caller's: the two look the same."""

    code = "not_found"
    title = "Not found"


class Conflict(ShopError):
    """At odds with what is stored."""

    code = "conflict"
    title = "Conflict"


class Invalid(ShopError):
    """Wrong in itself, whatever is stored."""

    code = "invalid"
    title = "Invalid request"


class Forbidden(ShopError):
    """The caller is known and may not do this."""

    code = "forbidden"
    title = "Not allowed"


class Unauthenticated(ShopError):
    """The caller is not known."""

    code = "unauthenticated"
    title = "Not signed in"


class Unavailable(ShopError):
    """Cannot be served now; the same request may succeed after `retry_after` seconds."""

    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OutcomeUnknown(ShopError):
    """The change was sent to the store, and whether it was done cannot be told now.

    It is not `Unavailable`: who simply tries again may do it twice.
    """

    code = "outcome_unknown"
    title = "It is not known whether it was done"

    def __init__(self) -> None:
        super().__init__(
            "The change was sent to the database and its answer was lost. With an order id of your "
            "own or an Idempotency-Key, repeat the request: that is safe. Without one, read what "
            "you wanted to change, or your list of orders, before you repeat it."
        )


class Overloaded(Unavailable):
    """More is waiting than can be served in time."""

    code = "overloaded"
    title = "Too busy"


class StoreUnavailable(Unavailable):
    """The database cannot be reached, or did not answer in time; its cause says more."""

    code = "database_unavailable"
    title = "The database is away"


class LockTimeout(StoreUnavailable):
    """Somebody else holds what this needs, and held it for too long."""

    def __init__(self) -> None:
        super().__init__("Another change holds what this one needs; try again shortly.")


class Busy(Unavailable):
    """Somebody else holds just now what this needs."""

    held: int | UUID | tuple[int, str]
    """A product or an order by its id, or a user's idempotency key."""


class StockBusy(Busy):
    """Somebody else holds the stock of this product just now."""

    code = "stock_busy"
    title = "The stock is being changed"

    def __init__(self, product_id: int) -> None:
        super().__init__(f"The stock of product {product_id} is being changed; try again shortly.")
        self.held = product_id


class OrderBusy(Busy):
    """Somebody else changes this order just now."""

    code = "order_busy"
    title = "The order is being changed"

    def __init__(self, order_id: UUID) -> None:
        super().__init__(f"The order {order_id} is being changed; try again shortly.")
        self.held = order_id


class KeyBusy(Busy):
    """The same request, or another under the same idempotency key, is under way elsewhere."""

    code = "key_busy"
    title = "The idempotency key is in use"

    def __init__(self, place: tuple[int, str]) -> None:
        super().__init__("A request under this Idempotency-Key is under way; try again shortly.")
        self.held = place


class StoreUnfit(StoreUnavailable):
    """The database answers, but this program cannot work on it as it is; its detail says why."""


class OtherCurrency(StoreUnfit):
    def __init__(self, *, stored: str, given: str) -> None:
        super().__init__(
            f"The prices of this shop are in {stored}, and SHOP_CURRENCY says {given}: set it to "
            f"{stored}, or give a shop with {given} a database of its own."
        )


class StoreTooNew(StoreUnfit):
    def __init__(self) -> None:
        super().__init__(
            "The database is newer than this program, which cannot work on it; run the newer one."
        )


class WriteConflict(Unavailable):
    """Another transaction won a race (deadlock, serialization, unique key); a new try is safe."""

    code = "write_conflict"
    title = "Lost a race"


class StaleProducts(WriteConflict):
    """A product was changed after it was read for the orders that are to be written.

    `product_ids` are all that were read for them.
    """

    def __init__(self, product_ids: Collection[int]) -> None:
        super().__init__("A product was changed meanwhile; try again.")
        self.product_ids = product_ids


class TooManyRequests(ShopError):
    """The caller has to wait `retry_after` seconds."""

    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.")
        self.retry_after = retry_after


class TooManyAttempts(TooManyRequests):
    """Says nothing of whether the user exists or the password was right."""

    code = "too_many_attempts"
    title = "Too many attempts to sign in"


class AlreadyDone(Exception):
    """A change was made before for the same idempotency key: no failure, and nothing to do."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("done before for the same idempotency key")
        self.answer = answer


# --- products and stock ---


class MixedCurrencies(Conflict):
    code = "mixed_currencies"
    title = "Prices in several currencies"

    def __init__(self, *currencies: str) -> None:
        super().__init__(
            f"Prices in {' and '.join(sorted(currencies))} cannot be added up; "
            "all prices of a shop are in one currency."
        )


class ProductNotFound(NotFound):
    code = "product_not_found"
    title = "No such product"

    def __init__(self, product: int | str) -> None:
        super().__init__(f"There is no product {product}.")


class ProductArchived(ProductNotFound):
    """Said to staff, who can bring it back; to others an archived product is simply not there."""

    def __init__(self, product_id: int) -> None:
        ShopError.__init__(
            self,
            f"Product {product_id} is archived; restore it first, by "
            f"`POST /api/products/{product_id}/restore/` or `shop products restore`.",
            product_id=product_id,
            archived=True,
        )


class SkuTaken(Conflict):
    code = "sku_taken"
    title = "The SKU is taken"

    def __init__(
        self, sku: str | None = None, *, product_id: int | None = None, archived: bool = False
    ) -> None:
        """The SKU and whose it is, as far as they are known."""
        which = "one of these SKUs" if sku is None else f"the SKU {sku!r}"
        if product_id is None:
            super().__init__(f"Another product has {which}.")
        elif archived:
            super().__init__(
                f"The archived product {product_id} has {which}; restore it, or take another SKU.",
                product_id=product_id,
                archived=True,
            )
        else:
            super().__init__(f"Product {product_id} has {which}.", product_id=product_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A line that cannot be served: how many were asked for, and how many are there."""

    product_id: int
    requested: int
    available: int


class OutOfStock(Conflict):
    code = "out_of_stock"
    title = "Out of stock"

    def __init__(self, shortages: Sequence[Shortage]) -> None:
        super().__init__(
            f"Not enough stock for {_products_of(shortages)}.",
            lines=[asdict(shortage) for shortage in shortages],
        )


def _products_of(shortages: Sequence[Shortage]) -> str:
    return ", ".join(f"product {shortage.product_id}" for shortage in shortages)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverMax(Shortage):
    """A line that asks for more than one order may have of a product."""

    max_per_order: int


class OverMaxPerOrder(Conflict):
    code = "over_max_per_order"
    title = "More than one order may have"

    def __init__(self, lines: Sequence[OverMax]) -> None:
        limits = ", ".join(f"{line.max_per_order} of product {line.product_id}" for line in lines)
        super().__init__(
            f"An order may have at most {limits}.", lines=[asdict(line) for line in lines]
        )


class StockChanged(Conflict):
    code = "stock_changed"
    title = "The stock is not what was expected"

    def __init__(self, *, expected: int, actual: int) -> None:
        super().__init__(
            f"The stock is {actual}, not the expected {expected}; nothing was changed.",
            expected=expected,
            actual=actual,
        )


class RowsRefused(Conflict):
    """Of rows that are written all or none, some were refused."""

    code = "rows_refused"
    title = "Some rows were refused"

    def __init__(self, answers: Sequence[Any], *, refused: int) -> None:
        """An answer for each row, of which so many are refusals."""
        super().__init__(f"Refused rows: {refused:,} of {len(answers):,}; nothing was written.")
        self.answers = answers


# --- orders ---


class OrderNotFound(NotFound):
    code = "order_not_found"
    title = "No such order"

    def __init__(self, order: object) -> None:
        super().__init__(f"There is no order {order}.")


class OrderIdTaken(Conflict):
    code = "order_id_taken"
    title = "The order id is taken"

    def __init__(self, order_id: object) -> None:
        super().__init__(f"The order id {order_id} is taken by something else; use a new UUID.")


class IdempotencyKeyReused(Conflict):
    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another request; use a new key for a new one."
        )


class TransitionNotAllowed(Conflict):
    code = "move_not_allowed"
    title = "The order cannot be moved there"

    def __init__(self, *, status: str, to: str, allowed: Sequence[str]) -> None:
        open_moves = ", ".join(allowed) or "none"
        super().__init__(
            f"An order that is {status} cannot become {to}; open to you: {open_moves}.",
            order_status=status,
            allowed=list(allowed),
        )


class NotAmendable(Conflict):
    code = "order_not_amendable"
    title = "The order cannot be amended any more"

    def __init__(self, *, status: str) -> None:
        super().__init__(
            f"Only a placed order can be amended; this one is {status}.", order_status=status
        )


class NotOut(Conflict):
    """More is given back than is out, which is what is available here."""

    code = "not_out"
    title = "Not that many are out"

    def __init__(self, shortages: Sequence[Shortage]) -> None:
        super().__init__(
            f"More would come back than is out for {_products_of(shortages)}.",
            lines=[asdict(shortage) for shortage in shortages],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLine:
    """A line of an order that was not placed, or not amended, with its price of today."""

    product_id: int
    quantity: int
    price: str
    total: str


class PriceChanged(Conflict):
    code = "price_changed"
    title = "The total is not what was expected"

    def __init__(self, lines: Sequence[PricedLine], *, total: str, currency: str) -> None:
        super().__init__(
            f"The order would come to {total} {currency}; nothing was done.",
            items=[asdict(line) for line in lines],
            total=total,
            currency=currency,
        )


class PaymentReferenceTaken(Conflict):
    code = "payment_reference_taken"
    title = "The payment reference is taken"

    def __init__(self, reference: str) -> None:
        super().__init__(f"The payment {reference!r} stands for another order or payment.")


class PreconditionFailed(Conflict):
    """What `If-Match` expected is not what is stored."""

    code = "precondition_failed"
    title = "Changed in the meantime"


class OrderChanged(PreconditionFailed):
    code = "order_changed"

    def __init__(self) -> None:
        super().__init__("The order was changed in the meantime; read it again and decide anew.")


class ProductChanged(PreconditionFailed):
    code = "product_changed"

    def __init__(self) -> None:
        super().__init__("The product was changed in the meantime; read it again and decide anew.")


# --- moving in, at the command line alone: no client is told of these ---


class OldShopUnreadable(Unavailable):
    """The database of the shop that is to be moved in is not there, or not as it should be."""


class ShopInUse(Conflict):
    """A shop has users or products of its own, and another one's cannot have their ids as well."""

    def __init__(self) -> None:
        super().__init__(
            "This shop has users or products of its own, and the ids of those to be moved in could "
            "be theirs: move into a new database, and make further users afterwards."
        )


class MoveUnderWay(Conflict):
    def __init__(self) -> None:
        super().__init__("Another process is moving a shop in; try again when it is done.")


# --- fields ---


class InvalidFields(Invalid):
    """Names each wrong field by its dotted path, such as `items.0.quantity`."""

    code = "invalid_fields"
    title = "Invalid fields"

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(
            "; ".join(f"{field}: {message}" for field, message in problems) + ".",
            errors=[{"field": field, "message": message} for field, message in problems],
        )


class InvalidField(InvalidFields):
    def __init__(self, field: str, message: str) -> None:
        super().__init__([(field, message)])


class SearchTooBroad(Invalid):
    """What is looked for may be there, and finding it would take too long."""

    code = "search_too_broad"
    title = "Too much to look through"

    def __init__(self, looked_at: int) -> None:
        super().__init__(
            f"Of the first {looked_at:,} in this order too few fit to fill the page, if any do, "
            "and to look through the others would take too long. Narrow it down: by a word that "
            "fewer have, of three letters or more, by a smaller range of prices or by other "
            "filters; or order by what they are about, such as the price."
        )


# --- users and sessions ---


class UserNotFound(NotFound):
    code = "user_not_found"
    title = "No such user"

    def __init__(self, user: int | str) -> None:
        super().__init__(f"There is no user {user}.")


class UsernameTaken(Conflict):
    code = "username_taken"
    title = "The user name is taken"

    def __init__(self, username: str) -> None:
        super().__init__(f"Another user is called {username!r}.")


class WrongCredentials(Unauthenticated):
    """The same words for an unknown user, a wrong password and a disabled user."""

    code = "wrong_credentials"
    title = "Sign-in failed"

    def __init__(self) -> None:
        super().__init__("No active user has this name and password.")


class InvalidToken(Unauthenticated):
    code = "invalid_token"
    title = "The token is not valid"

    def __init__(
        self, detail: str = "The token is not valid or has expired; sign in again."
    ) -> None:
        super().__init__(detail)


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    title = "Registration is closed"

    def __init__(self) -> None:
        super().__init__("This shop's users are created by its operators.")


class StaffOnly(Forbidden):
    code = "staff_only"
    title = "Staff only"

    def __init__(self) -> None:
        super().__init__("Only staff may do this.")


class OperatorOnly(Forbidden):
    code = "operator_only"
    title = "Operators only"

    def __init__(self) -> None:
        super().__init__("Only an operator may do this, at the command line.")
