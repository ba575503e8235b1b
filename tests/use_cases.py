"""The use cases over a store, wired by hand as the container does it."""

from functools import partial
from itertools import count
from uuid import UUID

from shop.adapters.intake import Intake
from shop.domain.errors import ShopError
from shop.domain.orders import OrderEvent, OrderRequest, Placed
from shop.domain.pages import Part
from shop.domain.ports import Audit, UnitOfWorkFactory
from shop.domain.products import Product
from shop.domain.services.amend_order import AmendOrder
from shop.domain.services.cancel_order import CancelOrder
from shop.domain.services.check_user import CheckUser
from shop.domain.services.keep_catalogue import (
    AddProducts,
    ArchiveProduct,
    ChangeProduct,
    ChangeStock,
    CreateProduct,
    FindProduct,
    ListProducts,
    ReadMovements,
    ReadProduct,
)
from shop.domain.services.keep_users import (
    ChangePassword,
    CreateUser,
    ListUsers,
    ReadUser,
    RegisterUser,
    SetPassword,
    SwitchUser,
)
from shop.domain.services.move_order import MoveOrder, PayOrder
from shop.domain.services.place_orders import PlaceOrder, PlaceOrders
from shop.domain.services.purge_attempts import PurgeAttempts
from shop.domain.services.read_orders import ListOrders, ReadHistory, ReadOrder
from shop.domain.services.refresh_session import RefreshSession
from shop.domain.services.return_order import ReturnOrder
from shop.domain.services.sign_in import SignIn
from shop.domain.services.sign_out import (
    ListSessions,
    PurgeSessions,
    SignOut,
    SignOutEverywhere,
)
from shop.domain.services.verify_stock import RepairStock, VerifyStock
from shop.domain.sessions import SessionLifetimes
from shop.domain.stock import OrderAudit, StockAudit
from shop.domain.users import Caller, Role
from tests.builders import (
    PASSWORD,
    FakeClock,
    PlainHasher,
    money,
    numbered_codes,
    numbered_ids,
    numbered_secrets,
)

ADDRESS = "192.0.2.1"
OPERATOR = Caller(user_id=0, role=Role.STAFF)


def unlimited(user_id: int) -> None: ...


def is_common(password: str) -> bool:
    return password == "password1"


class RecordedAudit(Audit):
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, str | int | None]]] = []

    def __call__(self, event: str, **fields: str | int | None) -> None:
        self.events.append((event, fields))


class UseCases:
    """One process of the shop: its clock, its intake, its use cases.

    Several of them may share a store if each has a `process` number of its own.
    """

    def __init__(self, unit_of_work: UnitOfWorkFactory, *, process: int = 1) -> None:
        start = process * 1_000_000
        self.clock = FakeClock()
        self.hasher = PlainHasher()
        self.lifetimes = SessionLifetimes()
        new_id = numbered_ids(start)
        uow, clock = unit_of_work, self.clock

        self.place_orders = PlaceOrders(
            unit_of_work=uow, clock=clock, new_order_code=numbered_codes(start)
        )
        self.intake = Intake[OrderRequest, Placed](handle=self.place_orders)
        self.place_order = PlaceOrder(intake=self.intake, new_id=new_id, limit=unlimited)
        audit = self.audit = RecordedAudit()
        self.amend_order = AmendOrder(unit_of_work=uow, clock=clock, audit=audit)
        self.cancel_order = CancelOrder(unit_of_work=uow, clock=clock, audit=audit)
        self.move_order = MoveOrder(unit_of_work=uow, clock=clock, audit=audit)
        self.pay_order = PayOrder(unit_of_work=uow, clock=clock, audit=audit)
        self.return_order = ReturnOrder(unit_of_work=uow, clock=clock, audit=audit)
        self.read_history = ReadHistory(unit_of_work=uow)
        self.read_order = ReadOrder(unit_of_work=uow)
        self.list_orders = ListOrders(unit_of_work=uow)

        self.create_product = CreateProduct(unit_of_work=uow, clock=clock, audit=audit)
        self.add_products = AddProducts(unit_of_work=uow)
        self.change_product = ChangeProduct(unit_of_work=uow, clock=clock, audit=audit)
        self.archive_product = ArchiveProduct(unit_of_work=uow, clock=clock, audit=audit)
        self.change_stock = ChangeStock(unit_of_work=uow, clock=clock, audit=audit)
        self.find_product = FindProduct(unit_of_work=uow)
        self.read_movements = ReadMovements(unit_of_work=uow)
        self.list_products = ListProducts(unit_of_work=uow)
        self.read_product = ReadProduct(unit_of_work=uow)
        self.verify_stock = VerifyStock(unit_of_work=uow)
        self.repair_stock = RepairStock(unit_of_work=uow, clock=clock, audit=audit)

        self.create_user = CreateUser(
            unit_of_work=uow,
            hasher=self.hasher,
            is_common_password=is_common,
            clock=clock,
            audit=audit,
        )
        self.register_user = RegisterUser(
            unit_of_work=uow,
            create_user=self.create_user,
            clock=clock,
            audit=audit,
            is_open=True,
        )
        self.read_user = ReadUser(unit_of_work=uow)
        self.list_users = ListUsers(unit_of_work=uow)
        self.set_password = SetPassword(
            unit_of_work=uow,
            hasher=self.hasher,
            is_common_password=is_common,
            clock=clock,
            audit=audit,
        )
        self.change_password = ChangePassword(
            unit_of_work=uow,
            hasher=self.hasher,
            is_common_password=is_common,
            clock=clock,
            audit=audit,
        )
        self.switch_user = SwitchUser(unit_of_work=uow, clock=clock, audit=audit)
        self.check_user = CheckUser(unit_of_work=uow, clock=clock)
        self.sign_in_from = SignIn(
            unit_of_work=uow,
            hasher=self.hasher,
            clock=clock,
            new_id=new_id,
            new_refresh_token=(new_refresh_token := numbered_secrets(start)),
            lifetimes=self.lifetimes,
            audit=audit,
        )
        self.sign_in = partial(self.sign_in_from, address=ADDRESS)
        self.refresh_session = RefreshSession(
            unit_of_work=uow,
            clock=clock,
            new_refresh_token=new_refresh_token,
            lifetimes=self.lifetimes,
            limit=unlimited,
            audit=audit,
        )
        self.sign_out = SignOut(unit_of_work=uow, clock=clock, audit=audit)
        self.sign_out_everywhere = SignOutEverywhere(unit_of_work=uow, clock=clock, audit=audit)
        self.list_sessions = ListSessions(unit_of_work=uow, clock=clock)
        self.purge_sessions = PurgeSessions(unit_of_work=uow, clock=clock)
        self.purge_attempts = PurgeAttempts(unit_of_work=uow, clock=clock)
        self._numbers = count(start)

    async def given_product(
        self, stock: int = 10, *, name: str = "Teapot", price: int = 1200, sku: str | None = None
    ) -> Product:
        return await self.create_product(
            actor_id=None,
            sku=sku or f"SKU-{next(self._numbers)}",
            name=name,
            price=money(price),
            stock=stock,
        )

    async def given_customer(self, username: str | None = None) -> Caller:
        return await self._given_user(username, Role.CUSTOMER)

    async def given_staff(self, username: str | None = None) -> Caller:
        return await self._given_user(username, Role.STAFF)

    async def _given_user(self, username: str | None, role: Role) -> Caller:
        username = username or f"user-{next(self._numbers)}"
        user = await self.create_user(username=username, password=PASSWORD, role=role)
        return Caller(user_id=user.id, role=role)

    async def stock_of(self, product: Product) -> int:
        return (await self.read_product(product_id=product.id)).stock

    async def audits(self) -> list[StockAudit]:
        """The products whose stock, movements and last balance differ."""
        return [a async for step in self.verify_stock.products() for a in step.differences]

    async def order_audits(self) -> list[OrderAudit]:
        """The orders that differ from their movements."""
        return [a async for step in self.verify_stock.orders() for a in step.differences]

    async def differences(self) -> list[StockAudit | OrderAudit]:
        return [*await self.audits(), *await self.order_audits()]

    async def history_of(self, order_id: UUID) -> list[OrderEvent]:
        part = Part(limit=1000)
        page = await self.read_history(caller=OPERATOR, order_id=order_id, part=part)
        return list(page.items)


def placed(answer: Placed | ShopError) -> Placed:
    """The answer, which must not be a refusal."""
    if isinstance(answer, ShopError):
        raise answer
    return answer
