"""The composition root: it alone knows every layer, and it alone imports dependency_injector."""

from datetime import timedelta

from dependency_injector import containers, providers

from shop.adapters import system
from shop.adapters.audit import LogAudit
from shop.adapters.background import Background, BackgroundTimes, PeriodicTask
from shop.adapters.intake import Intake, IntakeLimits
from shop.adapters.memory.database import MemoryDatabase
from shop.adapters.memory.schema import MemorySchema
from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.passwords import Argon2Hasher, is_common_password
from shop.adapters.rates import PerMinute
from shop.adapters.sql.engine import DatabaseOptions, create_engines
from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.sqlite import SqliteUnitOfWork
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
from shop.domain.services.sign_out import ListSessions, PurgeSessions, SignOut, SignOutEverywhere
from shop.domain.services.verify_stock import RepairStock, VerifyStock
from shop.domain.sessions import SessionLifetimes
from shop.entrypoints.keys import load_keys
from shop.entrypoints.metrics import Metrics
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
    is_common_password = providers.Object(is_common_password)
    audit = providers.Singleton(LogAudit)

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
    metrics = providers.Singleton(Metrics)
    intake = providers.Singleton(
        Intake, handle=place_orders, limits=intake_limits, observer=metrics
    )
    order_limit = providers.Singleton(PerMinute, settings.provided.orders_per_minute)
    place_order = providers.Singleton(PlaceOrder, intake=intake, new_id=new_id, limit=order_limit)
    cancel_order = providers.Singleton(
        CancelOrder, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    amend_order = providers.Singleton(
        AmendOrder, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    move_order = providers.Singleton(
        MoveOrder, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    pay_order = providers.Singleton(
        PayOrder, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    return_order = providers.Singleton(
        ReturnOrder, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    read_history = providers.Singleton(ReadHistory, unit_of_work=unit_of_work.provider)
    read_order = providers.Singleton(ReadOrder, unit_of_work=unit_of_work.provider)
    list_orders = providers.Singleton(ListOrders, unit_of_work=unit_of_work.provider)

    list_products = providers.Singleton(ListProducts, unit_of_work=unit_of_work.provider)
    read_product = providers.Singleton(ReadProduct, unit_of_work=unit_of_work.provider)
    create_product = providers.Singleton(
        CreateProduct, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    add_products = providers.Singleton(AddProducts, unit_of_work=unit_of_work.provider)
    change_stock = providers.Singleton(
        ChangeStock, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    change_product = providers.Singleton(
        ChangeProduct, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    archive_product = providers.Singleton(
        ArchiveProduct, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    find_product = providers.Singleton(FindProduct, unit_of_work=unit_of_work.provider)
    read_movements = providers.Singleton(ReadMovements, unit_of_work=unit_of_work.provider)
    verify_stock = providers.Singleton(VerifyStock, unit_of_work=unit_of_work.provider)
    repair_stock = providers.Singleton(
        RepairStock, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )

    lifetimes = providers.Singleton(
        SessionLifetimes,
        refresh=providers.Factory(timedelta, seconds=settings.provided.refresh_token_lifetime),
        family=providers.Factory(timedelta, seconds=settings.provided.session_lifetime),
    )
    sign_in = providers.Singleton(
        SignIn,
        audit=audit,
        unit_of_work=unit_of_work.provider,
        hasher=hasher,
        clock=clock,
        new_id=new_id,
        new_refresh_token=new_refresh_token,
        lifetimes=lifetimes,
    )
    refresh_limit = providers.Singleton(PerMinute, settings.provided.refreshes_per_minute)
    refresh_session = providers.Singleton(
        RefreshSession,
        limit=refresh_limit,
        audit=audit,
        unit_of_work=unit_of_work.provider,
        clock=clock,
        new_refresh_token=new_refresh_token,
        lifetimes=lifetimes,
    )
    sign_out = providers.Singleton(
        SignOut, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    sign_out_everywhere = providers.Singleton(
        SignOutEverywhere, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    list_sessions = providers.Singleton(
        ListSessions, unit_of_work=unit_of_work.provider, clock=clock
    )
    purge_sessions = providers.Singleton(
        PurgeSessions, unit_of_work=unit_of_work.provider, clock=clock
    )
    purge_attempts = providers.Singleton(
        PurgeAttempts, unit_of_work=unit_of_work.provider, clock=clock
    )
    create_user = providers.Singleton(
        CreateUser,
        unit_of_work=unit_of_work.provider,
        hasher=hasher,
        is_common_password=is_common_password,
        clock=clock,
        audit=audit,
    )
    register_user = providers.Singleton(
        RegisterUser,
        unit_of_work=unit_of_work.provider,
        create_user=create_user,
        clock=clock,
        audit=audit,
        is_open=settings.provided.registration,
    )
    read_user = providers.Singleton(ReadUser, unit_of_work=unit_of_work.provider)
    list_users = providers.Singleton(ListUsers, unit_of_work=unit_of_work.provider)
    set_password = providers.Singleton(
        SetPassword,
        unit_of_work=unit_of_work.provider,
        hasher=hasher,
        is_common_password=is_common_password,
        clock=clock,
        audit=audit,
    )
    change_password = providers.Singleton(
        ChangePassword,
        unit_of_work=unit_of_work.provider,
        hasher=hasher,
        is_common_password=is_common_password,
        clock=clock,
        audit=audit,
    )
    switch_user = providers.Singleton(
        SwitchUser, unit_of_work=unit_of_work.provider, clock=clock, audit=audit
    )
    check_user = providers.Singleton(CheckUser, unit_of_work=unit_of_work.provider, clock=clock)
    signing_keys = providers.Singleton(load_keys, settings)
    access_tokens = providers.Singleton(
        AccessTokens,
        keys=signing_keys,
        issuer=settings.provided.issuer,
        audience=settings.provided.audience,
        lifetime=settings.provided.access_token_lifetime,
        leeway=settings.provided.token_leeway,
    )

    # What a process does again and again while it serves: `shop.adapters.background`.
    background_tasks = providers.List(
        providers.Factory(PeriodicTask, name="purge_sessions", every=600.0, run=purge_sessions),
        providers.Factory(PeriodicTask, name="purge_attempts", every=600.0, run=purge_attempts),
    )
    background_times = providers.Singleton(BackgroundTimes)
    background = providers.Singleton(
        Background,
        tasks=background_tasks,
        unit_of_work=unit_of_work.provider,
        clock=clock,
        new_id=new_id,
        times=background_times,
        observer=metrics,
    )


def build_container(settings: Settings) -> Container:
    return Container(settings=settings)
