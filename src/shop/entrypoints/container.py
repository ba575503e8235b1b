"""The composition root: it alone knows every layer, and it alone imports dependency_injector."""

from datetime import timedelta

from dependency_injector import containers, providers

from shop.adapters import system
from shop.adapters.intake import Intake, IntakeLimits
from shop.adapters.memory.database import MemoryDatabase
from shop.adapters.memory.schema import MemorySchema
from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.passwords import Argon2Hasher
from shop.adapters.sql.engine import DatabaseOptions, create_engines
from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.domain.services.amend_order import AmendOrder
from shop.domain.services.cancel_order import CancelOrder
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
from shop.domain.services.keep_users import CreateUser, SetPassword
from shop.domain.services.move_order import MoveOrder, PayOrder
from shop.domain.services.place_orders import PlaceOrder, PlaceOrders
from shop.domain.services.read_orders import ListOrders, ReadHistory, ReadOrder
from shop.domain.services.refresh_session import RefreshSession
from shop.domain.services.return_order import ReturnOrder
from shop.domain.services.sign_in import SignIn
from shop.domain.services.sign_out import SignOut
from shop.domain.services.verify_stock import RepairStock, VerifyStock
from shop.domain.sessions import SessionLifetimes
from shop.entrypoints.settings import Settings
from shop.entrypoints.tokens import AccessTokens


class Container(containers.DeclarativeContainer):
    """Tests override the leaves (`unit_of_work`, `clock`), never a use case."""

    settings = providers.Dependency(instance_of=Settings)

    clock = providers.Object(system.utc_now)
    new_id = providers.Object(system.new_id)
    new_order_code = providers.Object(system.new_order_code)
    new_refresh_token = providers.Object(system.new_refresh_token)
    hasher = providers.Singleton(Argon2Hasher)

    database_options = providers.Singleton(
        DatabaseOptions,
        pool_size=settings.provided.database_pool_size,
        pool_timeout=settings.provided.database_pool_timeout,
        connect_timeout=settings.provided.database_connect_timeout,
        statement_timeout=settings.provided.database_statement_timeout,
        lock_timeout=settings.provided.database_lock_timeout,
        application_name=settings.provided.database_application_name,
        pgbouncer=settings.provided.database_pgbouncer,
    )
    engines = providers.Singleton(create_engines, settings.provided.database_url, database_options)
    memory = providers.Singleton(MemoryDatabase)
    unit_of_work = providers.Selector(
        settings.provided.store,
        memory=providers.Factory(MemoryUnitOfWork, database=memory),
        sqlite=providers.Factory(SqliteUnitOfWork, engines=engines),
        postgresql=providers.Factory(PostgresUnitOfWork, engines=engines),
    )
    sql_schema = providers.Singleton(SqlSchema, engines=engines)
    schema = providers.Selector(
        settings.provided.store,
        memory=providers.Singleton(MemorySchema),
        sqlite=sql_schema,
        postgresql=sql_schema,
    )

    place_orders = providers.Singleton(
        PlaceOrders,
        unit_of_work=unit_of_work.provider,
        clock=clock,
        new_order_code=new_order_code,
    )
    intake_limits = providers.Singleton(
        IntakeLimits,
        batch_max=settings.provided.intake_batch_max,
        queue_max=settings.provided.intake_queue_max,
        deadline=settings.provided.intake_deadline,
    )
    intake = providers.Singleton(Intake, handle=place_orders, limits=intake_limits)
    place_order = providers.Singleton(PlaceOrder, intake=intake, new_id=new_id)
    cancel_order = providers.Singleton(CancelOrder, unit_of_work=unit_of_work.provider, clock=clock)
    amend_order = providers.Singleton(AmendOrder, unit_of_work=unit_of_work.provider, clock=clock)
    move_order = providers.Singleton(MoveOrder, unit_of_work=unit_of_work.provider, clock=clock)
    pay_order = providers.Singleton(PayOrder, unit_of_work=unit_of_work.provider, clock=clock)
    return_order = providers.Singleton(ReturnOrder, unit_of_work=unit_of_work.provider, clock=clock)
    read_history = providers.Singleton(ReadHistory, unit_of_work=unit_of_work.provider)
    read_order = providers.Singleton(ReadOrder, unit_of_work=unit_of_work.provider)
    list_orders = providers.Singleton(ListOrders, unit_of_work=unit_of_work.provider)

    list_products = providers.Singleton(ListProducts, unit_of_work=unit_of_work.provider)
    read_product = providers.Singleton(ReadProduct, unit_of_work=unit_of_work.provider)
    create_product = providers.Singleton(
        CreateProduct, unit_of_work=unit_of_work.provider, clock=clock
    )
    add_products = providers.Singleton(AddProducts, unit_of_work=unit_of_work.provider)
    change_stock = providers.Singleton(ChangeStock, unit_of_work=unit_of_work.provider, clock=clock)
    change_product = providers.Singleton(
        ChangeProduct, unit_of_work=unit_of_work.provider, clock=clock
    )
    archive_product = providers.Singleton(
        ArchiveProduct, unit_of_work=unit_of_work.provider, clock=clock
    )
    find_product = providers.Singleton(FindProduct, unit_of_work=unit_of_work.provider)
    read_movements = providers.Singleton(ReadMovements, unit_of_work=unit_of_work.provider)
    verify_stock = providers.Singleton(VerifyStock, unit_of_work=unit_of_work.provider)
    repair_stock = providers.Singleton(RepairStock, unit_of_work=unit_of_work.provider, clock=clock)

    lifetimes = providers.Singleton(
        SessionLifetimes,
        refresh=providers.Factory(timedelta, seconds=settings.provided.refresh_token_lifetime),
        family=providers.Factory(timedelta, seconds=settings.provided.session_lifetime),
    )
    sign_in = providers.Singleton(
        SignIn,
        unit_of_work=unit_of_work.provider,
        hasher=hasher,
        clock=clock,
        new_id=new_id,
        new_refresh_token=new_refresh_token,
        lifetimes=lifetimes,
    )
    refresh_session = providers.Singleton(
        RefreshSession,
        unit_of_work=unit_of_work.provider,
        clock=clock,
        new_refresh_token=new_refresh_token,
        lifetimes=lifetimes,
    )
    sign_out = providers.Singleton(SignOut, unit_of_work=unit_of_work.provider, clock=clock)
    create_user = providers.Singleton(
        CreateUser, unit_of_work=unit_of_work.provider, hasher=hasher, clock=clock
    )
    set_password = providers.Singleton(
        SetPassword, unit_of_work=unit_of_work.provider, hasher=hasher, clock=clock
    )
    access_tokens = providers.Singleton(
        AccessTokens,
        secret_key=settings.provided.secret_key,
        issuer=settings.provided.issuer,
        audience=settings.provided.audience,
        lifetime=settings.provided.access_token_lifetime,
    )


def build_container(settings: Settings) -> Container:
    return Container(settings=settings)
