"""Moving in: what a shop that ran on Django has, and what becomes of each part of it here."""

import hashlib
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum, unique
from uuid import UUID

from shop.domain.errors import InvalidField
from shop.domain.money import Money
from shop.domain.orders import (
    CODE_LENGTH,
    MOVED_NUMBER_MAX,
    QUANTITY_MAX,
    Order,
    OrderLine,
    OrderStatus,
    moved_order_id,
)
from shop.domain.products import NAME_LENGTH_MAX, STOCK_MAX, Offer, Product
from shop.domain.text import folded
from shop.domain.users import (
    USERNAME_FOLDED_LENGTH_MAX,
    USERNAME_LENGTH_MAX,
    Role,
    User,
    normal_username,
)

UNUSABLE_HASH = "!"
"""In the place of a password hash: no password fits it."""
STATUSES = (OrderStatus.PLACED, OrderStatus.PAID, OrderStatus.SHIPPED, OrderStatus.DELIVERED)
"""Those that an order may arrive in: what it took is out."""
_CODE_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class OldUser:
    id: int
    username: str
    password_hash: str
    is_active: bool
    is_staff: bool
    created_at: datetime | None
    """None of all times and numbers here: what is stored there cannot be read as one."""
    rest: Mapping[str, str]
    """What else there is, by its column: it has no place here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldProduct:
    id: int
    name: str
    price: Decimal | None
    """In the currency's own units."""
    stock: int | None
    created_at: datetime | None
    modified_at: datetime | None
    rest: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldItem:
    id: int
    product_id: int | None
    quantity: int | None
    rest: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldOrder:
    id: int
    code: str
    user_id: int | None
    created_at: datetime | None
    modified_at: datetime | None
    items: Sequence[OldItem]
    rest: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCounts:
    users: int
    products: int
    orders: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """From the one after `after` to `last`."""

    after: int
    last: int

    def __contains__(self, number: int) -> bool:
        return self.after < number <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedProduct:
    """What was last moved of a product."""

    product_id: int
    digest: bytes
    stock_there: int
    stock: int
    """What would be on hand here if nobody but the move had changed it."""


class Kind(StrEnum):
    USER = "user"
    PRODUCT = "product"
    ORDER = "order"
    ITEM = "item"


@unique
class Finding(Enum):
    """What is to be told of a row, what was done, and whether somebody has to decide about it."""

    USER_ID = Kind.USER, "the id is no number from 1 to 2^53 - 1", "not moved", False
    USER_TAKEN = (
        Kind.USER,
        "the id is another user's here",
        "not moved, nor are the user's orders",
        True,
    )
    USERNAME_CHANGED = (
        Kind.USER,
        "the name has signs that no name has here",
        "stored with ? in their place; the old name still signs in",
        False,
    )
    USERNAME_REPLACED = (
        Kind.USER,
        "the name is empty, too long, or just another user's",
        "called django-<id>",
        False,
    )
    USERNAMES_CLASH = (
        Kind.USER,
        "the name is another user's but for case or the way of writing",
        "kept: each signs in by the exact spelling",
        False,
    )
    PASSWORD_UNREADABLE = (
        Kind.USER,
        "the password hash is none, or of a kind that is not read",
        "cannot sign in until an operator sets a password",
        False,
    )
    USER_TIME = Kind.USER, "the time cannot be read", "the time of the move is stored", False
    USER_CHANGED_TWICE = (
        Kind.USER,
        "changed both there and here since it was moved",
        "left as it is here",
        True,
    )
    USER_GONE = Kind.USER, "not there any more", "left as it is here", True
    USER_COLUMN = Kind.USER, "a column has no place here", "left out", False

    PRODUCT_ID = (
        Kind.PRODUCT,
        "the id is no number from 1 to 2^53 - 1",
        "not moved, nor are its orders",
        False,
    )
    PRODUCT_TAKEN = (
        Kind.PRODUCT,
        "the id or the SKU is another product's here",
        "not moved, nor are its orders",
        True,
    )
    PRICE = (
        Kind.PRODUCT,
        "the price is no price here (below zero, too high, or too fine)",
        "moved at a price of 0, and archived",
        False,
    )
    PRODUCT_NAME = (
        Kind.PRODUCT,
        "the name is empty, too long, or has control characters",
        "moved without them, cut, or called by its SKU",
        False,
    )
    PRODUCT_TIME = Kind.PRODUCT, "a time cannot be read", "the time of the move is stored", False
    STOCK_BELOW_ZERO = Kind.PRODUCT, "the stock is below zero", "0 here, by a correction", False
    STOCK = Kind.PRODUCT, "the stock is no number up to 10^12", "the nearest that is, or 0", False
    PRODUCT_CHANGED_TWICE = (
        Kind.PRODUCT,
        "changed both there and here since it was moved",
        "left as it is here",
        True,
    )
    STOCK_CHANGED_TWICE = (
        Kind.PRODUCT,
        "the stock was changed both there and here since it was moved",
        "left as it is here",
        True,
    )
    PRODUCT_GONE = Kind.PRODUCT, "not there any more", "left as it is here", True
    PRODUCT_COLUMN = Kind.PRODUCT, "a column has no place here", "left out", False

    ORDER_ID = Kind.ORDER, "the id is no number from 1 to 2^53 - 1", "not moved", False
    ORDER_EMPTY = Kind.ORDER, "no items, or none that can be moved", "not moved", False
    ORDER_USER = Kind.ORDER, "the user was not moved, or there is none", "not moved", False
    ORDER_PRODUCT = Kind.ORDER, "a product was not moved, or is not there", "not moved", False
    CODE = (
        Kind.ORDER,
        "the code is not of 12 letters and digits",
        "has a new code; its history names the old one",
        False,
    )
    CODE_TAKEN = (
        Kind.ORDER,
        "the code is another order's",
        "has a new code; its history names the old one",
        False,
    )
    CODE_CASE = Kind.ORDER, "the code has small letters", "stored in capitals", False
    ORDER_TIME = Kind.ORDER, "a time cannot be read", "the time of the move is stored", False
    ORDER_CHANGED = (
        Kind.ORDER,
        "changed there since it was moved",
        "left as it was moved",
        True,
    )
    ORDER_GONE = Kind.ORDER, "not there any more", "left as it is here", True
    ORDER_COLUMN = Kind.ORDER, "a column has no place here", "left out", False

    ITEM_QUANTITY = (
        Kind.ITEM,
        "the quantity is no number from 1 to 1,000,000",
        "left out of its order",
        False,
    )
    ITEM_STRAY = Kind.ITEM, "its order is not there", "not moved", False
    ITEM_COLUMN = Kind.ITEM, "a column has no place here", "left out", False

    def __init__(self, kind: Kind, found: str, done: str, is_open: bool) -> None:
        self.kind = kind
        self.found = found
        self.done = done
        self.is_open = is_open
        """Whether what is here and what is there differ, so that somebody has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    finding: Finding
    id: int
    """Of the row there."""
    column: str = ""
    value: str = ""
    """What stood there."""


def is_id(number: int) -> bool:
    """0 is the operator, and clients cannot read what is larger."""
    return 1 <= number <= MOVED_NUMBER_MAX


def columns_left_out(
    finding: Finding, row: OldUser | OldProduct | OldOrder | OldItem
) -> Iterator[Notice]:
    for column, value in row.rest.items():
        yield Notice(finding=finding, id=row.id, column=column, value=value)


# --- users ---


def user_from(
    old: OldUser, *, can_verify: Callable[[str], bool], at: datetime
) -> tuple[User, list[Notice]]:
    """The user as it would be here, whoever else has the name, and what is to be told of it."""
    notices = []
    name = normal_username(old.username)
    if name != unicodedata.normalize("NFKC", old.username).strip():
        notices.append(Notice(finding=Finding.USERNAME_CHANGED, id=old.id, value=old.username))
    user = User(
        id=old.id,
        username=name,
        password_hash=old.password_hash,
        role=Role.STAFF if old.is_staff else Role.CUSTOMER,
        disabled=not old.is_active,
        created_at=old.created_at or at,
    )
    if len(name) > USERNAME_LENGTH_MAX or not (
        1 <= len(folded(name)) <= USERNAME_FOLDED_LENGTH_MAX
    ):
        user, notice = renamed(user, old)
        notices = [notice]
    if not can_verify(old.password_hash):
        # What it is of is said; the hash itself is nobody's to read.
        scheme = old.password_hash.partition("$")[0][:20] if "$" in old.password_hash else ""
        user = replace(user, password_hash=UNUSABLE_HASH)
        notices.append(Notice(finding=Finding.PASSWORD_UNREADABLE, id=old.id, value=scheme))
    if old.created_at is None:
        notices.append(Notice(finding=Finding.USER_TIME, id=old.id))
    notices += columns_left_out(Finding.USER_COLUMN, old)
    return user, notices


def renamed(user: User, old: OldUser) -> tuple[User, Notice]:
    """Under a name that nobody else has."""
    notice = Notice(finding=Finding.USERNAME_REPLACED, id=old.id, value=old.username)
    return replace(user, username=f"django-{old.id}"), notice


def user_digest(user: User) -> bytes:
    """Of what is moved of a user: where it is another, the user was changed."""
    return _digest(user.username, user.password_hash, user.role, user.disabled)


# --- products ---


def product_from(
    old: OldProduct, *, currency: str, sku: str, at: datetime
) -> tuple[Product, list[Notice]]:
    """The product as it would be here, without its stock, and what is to be told of it."""
    notices: list[Notice] = []
    price = _price(old, currency)
    if price is None:
        notices.append(Notice(finding=Finding.PRICE, id=old.id, value=str(old.price)))
    name = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in old.name)
    name = name.strip()[:NAME_LENGTH_MAX].strip() or sku
    if name != old.name.strip():
        notices.append(Notice(finding=Finding.PRODUCT_NAME, id=old.id, value=old.name))
    if old.created_at is None or old.modified_at is None:
        notices.append(Notice(finding=Finding.PRODUCT_TIME, id=old.id))
    notices += columns_left_out(Finding.PRODUCT_COLUMN, old)
    product = Product.new(
        sku=sku,
        name=name,
        description="",
        price=price or Money(amount=0, currency=currency),
        stock=0,
        at=old.created_at or at,
    )
    moved = replace(product, id=old.id, archived=price is None, modified_at=old.modified_at or at)
    return moved, notices


def _price(old: OldProduct, currency: str) -> Money | None:
    if old.price is None or not old.price.is_finite() or old.price < 0:
        return None
    try:
        # Zeros beyond the currency's digits make no finer price.
        return Money.parse(f"{abs(old.price).normalize():f}", currency)
    except InvalidField:
        return None


def product_digest(product: Product) -> bytes:
    """Of what is moved of a product's entry. Its SKU and description are of this shop alone."""
    return _digest(product.name, product.price.amount, product.archived)


def merged(product: Product, moved: Product) -> Product:
    """The product as it is here, with what is moved of it."""
    return replace(
        product,
        name=moved.name,
        price=moved.price,
        archived=moved.archived,
        version=product.version + 1,
        modified_at=moved.modified_at,
    )


def stock_from(old: OldProduct) -> tuple[int, list[Notice]]:
    """How many there are there, within limits; below zero, if that shop sold more than it had."""
    stock = max(-STOCK_MAX, min(old.stock or 0, STOCK_MAX))
    if stock != old.stock:
        return stock, [Notice(finding=Finding.STOCK, id=old.id, value=str(old.stock))]
    if stock < 0:
        return stock, [Notice(finding=Finding.STOCK_BELOW_ZERO, id=old.id, value=str(stock))]
    return stock, []


# --- orders ---


def wanted_by(old: OldOrder) -> dict[int, int]:
    """Quantity by product of the items that can be moved."""
    wanted: dict[int, int] = {}
    for item in old.items:
        if item.product_id is not None and _fits(item):
            wanted[item.product_id] = wanted.get(item.product_id, 0) + (item.quantity or 0)
    return wanted


def _fits(item: OldItem) -> bool:
    return item.quantity is not None and 1 <= item.quantity <= QUANTITY_MAX


def refusal_of(
    old: OldOrder, *, users: Collection[int], products: Collection[int]
) -> Finding | None:
    """Why an order cannot be moved; None if it can. The users and products are those moved."""
    if not is_id(old.id):
        return Finding.ORDER_ID
    if old.user_id not in users:
        return Finding.ORDER_USER
    if any(_fits(item) and item.product_id not in products for item in old.items):
        return Finding.ORDER_PRODUCT
    return None if wanted_by(old) else Finding.ORDER_EMPTY


def described(old: OldOrder) -> str:
    """What stays behind of an order that cannot be moved."""
    items = ", ".join(f"{item.quantity} of product {item.product_id}" for item in old.items)
    return f"code {old.code}, user {old.user_id}: {items or 'nothing'}"


def code_of(old: OldOrder) -> str | None:
    """The order's code as it can be kept: 12 letters and digits, in capitals."""
    fits = len(old.code) == CODE_LENGTH and old.code.isascii() and old.code.isalnum()
    return old.code.upper() if fits else None


def new_code_of(old: OldOrder) -> str:
    """The same for every move of this order."""
    signs, number = "", old.id
    for _ in range(CODE_LENGTH - 1):
        number, sign = divmod(number, len(_CODE_SIGNS))
        signs = _CODE_SIGNS[sign] + signs
    return f"D{signs}"


def order_from(
    old: OldOrder,
    products: Mapping[int, Offer],
    *,
    code: str,
    status: OrderStatus,
    at: datetime,
) -> Order:
    """The order at the prices of now: that shop kept none."""
    lines = tuple(
        OrderLine.of(products[product_id], quantity)
        for product_id, quantity in wanted_by(old).items()
    )
    assert old.user_id is not None, "see `refusal_of`"
    return Order(
        id=moved_order_id(old.id),
        code=code,
        user_id=old.user_id,
        status=status,
        lines=lines,
        currency=lines[0].price.currency,
        digest=order_digest(old),
        version=1,
        created_at=old.created_at or at,
        modified_at=old.modified_at or old.created_at or at,
    )


def note_of(old: OldOrder, *, has_its_code: bool) -> str:
    """For the order's history."""
    code = "" if has_its_code else f", code {_printable(old.code)[:60]!r}"
    return f"moved in: order {old.id} of the Django shop{code}; prices are those of this moment"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def notices_of(old: OldOrder) -> Iterator[Notice]:
    """What is to be told of an order that can be moved."""
    if old.created_at is None or old.modified_at is None:
        yield Notice(finding=Finding.ORDER_TIME, id=old.id)
    code = code_of(old)
    if code != old.code:
        finding = Finding.CODE if code is None else Finding.CODE_CASE
        yield Notice(finding=finding, id=old.id, value=old.code)
    yield from columns_left_out(Finding.ORDER_COLUMN, old)
    for item in old.items:
        if not _fits(item):
            yield Notice(
                finding=Finding.ITEM_QUANTITY,
                id=item.id,
                value=f"{item.quantity} in order {old.id}",
            )
        yield from columns_left_out(Finding.ITEM_COLUMN, item)


def order_digest(old: OldOrder) -> bytes:
    """Of what is moved of an order: where it is another, the order was changed there."""
    items = [(item.id, item.product_id, item.quantity) for item in old.items]
    return _digest(old.code, old.user_id, old.created_at, *items)


def moved_order_ids(ids: IdRange) -> tuple[UUID, UUID]:
    """The first and the last that an order in this range may have."""
    first = max(ids.after, 0) + 1
    return moved_order_id(min(first, MOVED_NUMBER_MAX)), moved_order_id(
        min(max(ids.last, 1), MOVED_NUMBER_MAX)
    )


def _digest(*values: object) -> bytes:
    return hashlib.sha256("\x00".join(map(str, values)).encode(errors="surrogatepass")).digest()
