"""Builders with defaults: a test names what it is about, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from shop.domain.money import Money
from shop.domain.orders import Order, OrderItem, OrderLine, OrderRequest, OrderStatus
from shop.domain.ports import PasswordHasher
from shop.domain.products import Product
from shop.domain.users import Caller, Role

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


class FakeClock:
    """Stands still until it is moved on."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, by: timedelta) -> None:
        self.now += by
        self.seconds += by.total_seconds()

    def set_back(self, by: timedelta) -> None:
        """As somebody does who sets the clock of a host."""
        self.now -= by


class PlainHasher(PasswordHasher):
    """Costs nothing, and remembers how often it was asked to verify something.

    A hash of the old kind is `old:` and the password.
    """

    waiting = 0

    def __init__(self) -> None:
        self.verified = 0

    async def hash(self, password: str) -> str:
        return f"plain:{password}"

    async def verify(self, password: str, password_hash: str | None) -> bool:
        self.verified += 1
        return password_hash in (f"plain:{password}", f"old:{password}")

    def is_outdated(self, password_hash: str) -> bool:
        return password_hash.startswith("old:")

    def is_readable(self, password_hash: str) -> bool:
        return password_hash.startswith(("plain:", "old:"))


def order_id(number: int) -> UUID:
    """Order ids that sort by their number, of version 7 as the real ones."""
    return UUID(int=number << 80 | 0x7 << 76 | 0b10 << 62)


def numbered_ids(start: int) -> Callable[[], UUID]:
    numbers = count(start)
    return lambda: order_id(next(numbers))


def numbered_codes(start: int) -> Callable[[], str]:
    numbers = count(start)
    return lambda: f"{next(numbers):012d}"


def numbered_secrets(start: int) -> Callable[[], str]:
    numbers = count(start)
    return lambda: f"secret-{next(numbers)}"


def money(amount: int = 1200, currency: str = "EUR") -> Money:
    return Money(amount=amount, currency=currency)


def product(
    id: int = 1,  # noqa: A002 - the field's name
    *,
    sku: str | None = None,
    name: str = "Teapot",
    description: str = "",
    price: Money | None = None,
    stock: int = 10,
    archived: bool = False,
    created_at: datetime = NOON,
    max_per_order: int | None = None,
) -> Product:
    return Product(
        id=id,
        sku=sku or f"SKU-{id}",
        name=name,
        description=description,
        price=price or money(),
        stock=stock,
        archived=archived,
        version=1,
        created_at=created_at,
        modified_at=created_at,
        max_per_order=max_per_order,
    )


def items(*wanted: tuple[int, int]) -> tuple[OrderItem, ...]:
    """Pairs of product id and quantity."""
    return tuple(
        OrderItem(product_id=product_id, quantity=quantity) for product_id, quantity in wanted
    )


def request(
    *wanted: tuple[int, int], number: int = 1, user_id: int = 1, keyed: bool = False
) -> OrderRequest:
    return OrderRequest(
        order_id=order_id(number), user_id=user_id, items=items(*wanted or ((1, 1),)), keyed=keyed
    )


def order(
    number: int = 1,
    *,
    user_id: int = 1,
    status: OrderStatus = OrderStatus.PLACED,
    lines: tuple[OrderLine, ...] | None = None,
    code: str | None = None,
    created_at: datetime = NOON,
) -> Order:
    return Order(
        id=order_id(number),
        code=code or f"{number:012d}",
        user_id=user_id,
        status=status,
        lines=lines or (order_line(),),
        currency="EUR",
        digest=request().digest,
        version=1,
        created_at=created_at,
        modified_at=created_at,
    )


def order_line(product_id: int = 1, *, quantity: int = 1, price: Money | None = None) -> OrderLine:
    return OrderLine(
        product_id=product_id, name="Teapot", price=price or money(), quantity=quantity
    )


def customer(user_id: int = 1) -> Caller:
    return Caller(user_id=user_id, role=Role.CUSTOMER)


def staff(user_id: int = 99) -> Caller:
    return Caller(user_id=user_id, role=Role.STAFF)
