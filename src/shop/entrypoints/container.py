"""The composition root: it alone knows every layer, and it alone imports dependency_injector."""

import platform
import time
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from dependency_injector import containers, providers

import shop
from shop.adapters import system
from shop.adapters.attempt_queue import ProcessAttemptQueue
from shop.adapters.audit import LogAudit
from shop.adapters.background import Background, BackgroundTimes, PeriodicTask
from shop.adapters.intake import Intake, IntakeLimits, IntakeObservers
from shop.adapters.memory.database import MemoryDatabase
from shop.adapters.memory.schema import MemorySchema
from shop.adapters.memory.unit_of_work import MemoryUnitOfWork
from shop.adapters.passwords import Argon2Hasher, is_common_password
from shop.adapters.rates import PerMinute
from shop.adapters.shared_reads import ReadLimits, ReadObservers, SharedReads, once_for_all
from shop.adapters.sql.engine import DatabaseOptions, create_engines
from shop.adapters.sql.postgresql import PostgresUnitOfWork
from shop.adapters.sql.replicas import create_replicas
from shop.adapters.sql.schema import SqlSchema
from shop.adapters.sql.sqlite import SqliteUnitOfWork
from shop.adapters.turns import Turns
from shop.adapters.work import for_use_case
from shop.domain.services.advance_order import AdvanceOrder, PayOrder
from shop.domain.services.amend_order import AmendOrder
from shop.domain.services.cancel_order import CancelOrder
from shop.domain.services.cancel_unpaid import CancelUnpaid
from shop.domain.services.check_user import CheckUser
from shop.domain.services.count_lists import CountLists
from shop.domain.services.count_stock import CountStock, ReadCounts, RecordDifferences
from shop.domain.services.decide_orders import DecideOrders, mark_lost
from shop.domain.services.export import ExportLedger, ExportOrders, ExportProducts
from shop.domain.services.import_products import ImportProducts
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
    RestoreProduct,
)
from shop.domain.services.keep_users import (
    ChangePassword,
    CreateUser,
    DisableUser,
    EnableUser,
    ListUsers,
    ReadUser,
    RegisterUser,
    SetPassword,
    SetRole,
)
from shop.domain.services.look_up import LookUpOrders, LookUpProducts
from shop.domain.services.make_searchable import MakeSearchable
from shop.domain.services.move_in import MoveIn
from shop.domain.services.place_order import PlaceOrder
from shop.domain.services.purge import PurgeAttempts, PurgeKeys, PurgeSessions
from shop.domain.services.read_orders import ListOrders, ReadHistory, ReadOrder
from shop.domain.services.refresh_session import RefreshSession
from shop.domain.services.return_order import ReturnOrder
from shop.domain.services.save_products import SaveProducts
from shop.domain.services.sign_in import SignIn
from shop.domain.services.sign_out import ListSessions, SignOut, SignOutEverywhere
from shop.domain.services.throttle_sign_in import ThrottleSignIn
from shop.domain.services.verify_stock import RepairStock, SampleStock, VerifyStock
from shop.domain.sessions import SessionLifetimes
from shop.domain.users import OPERATOR
from shop.entrypoints.exposition import Exposition
from shop.entrypoints.health import Drain, Health
from shop.entrypoints.keys import load_keys
from shop.entrypoints.marks import SeenMarks
from shop.entrypoints.metrics import Metrics
from shop.entrypoints.settings import Settings
from shop.entrypoints.tokens import AccessTokens
from shop.entrypoints.vitals import Vitals


def _every(seconds: float, name: str, use_case: providers.Provider[Any]) -> providers.Factory[Any]:
    """A task that the shop itself does again and again."""
    run = providers.Factory(partial, use_case, caller=OPERATOR)
    return providers.Factory(PeriodicTask, name=name, every=seconds, run=run)


class Container(containers.DeclarativeContainer):
    """Tests override the leaves (`unit_of_work`, `clock`), never a use case."""

    settings = providers.Dependency(instance_of=Settings)

    clock = providers.Object(system.utc_now)
    monotonic = providers.Object(time.monotonic)
    new_id = providers.Object(system.new_id)
    new_order_code = providers.Object(system.new_order_code)
    new_refresh_token = providers.Object(system.new_refresh_token)
    hasher = providers.Singleton(Argon2Hasher)
    is_common_password = providers.Object(is_common_password)
    audit = providers.Singleton(LogAudit)
    metrics = providers.Singleton(
        Metrics, version=shop.__version__, python=platform.python_version()
    )
    drain = providers.Singleton(Drain)
    # Where they are switched on, in a process that serves: `trace` and `report_errors`, below.
    traces: providers.Provider[Any] = providers.Object(None)
    error_reports: providers.Provider[Any] = providers.Object(None)

    database_options = providers.Singleton(
        DatabaseOptions,
        pool_size=settings.provided.database_pool_size,
        read_pool_size=settings.provided.database_read_pool_size,
        pool_timeout=settings.provided.database_pool_timeout,
        connect_timeout=settings.provided.database_connect_timeout,
        statement_timeout=settings.provided.database_statement_timeout,
        read_statement_timeout=settings.provided.database_read_statement_timeout,
        lock_timeout=settings.provided.database_lock_timeout,
        application_name=settings.provided.database_application_name,
        pgbouncer=settings.provided.database_pgbouncer,
        marking=settings.provided.has_replicas,
    )
    statement_observers = providers.List(metrics)
    engines = providers.Singleton(
        create_engines,
        settings.provided.database_url,
        database_options,
        observers=statement_observers,
    )
    replicas = providers.Singleton(
        create_replicas,
        engines,
        settings.provided.database_read_url,
        database_options,
        lag_max=settings.provided.database_read_lag_max,
        observer=metrics,
        statement_observers=statement_observers,
    )
    # Of changes of many rows: one at a time has its locks.
    turns_of_many = providers.Singleton(
        Turns, at_once=1, seconds_max=settings.provided.database_pool_timeout
    )
    memory = providers.Singleton(MemoryDatabase)
    listeners = providers.List(audit.provided.listen, metrics.provided.events_happened)
    unit_of_work = providers.Selector(
        settings.provided.store,
        memory=providers.Factory(MemoryUnitOfWork, database=memory, listeners=listeners),
        sqlite=providers.Factory(
            SqliteUnitOfWork, engines=engines, listeners=listeners, turns_of_many=turns_of_many
        ),
        postgresql=providers.Factory(
            PostgresUnitOfWork,
            engines=engines,
            replicas=replicas,
            listeners=listeners,
            turns_of_many=turns_of_many,
        ),
    )
    sql_schema = providers.Singleton(SqlSchema, engines=engines)
    schema = providers.Selector(
        settings.provided.store,
        memory=providers.Singleton(MemorySchema, database=memory),
        sqlite=sql_schema,
        postgresql=sql_schema,
    )

    # What use cases have in common, said once.
    _reading: ClassVar = {"unit_of_work": unit_of_work.provider}
    _writing: ClassVar = {**_reading, "clock": clock}
    _passwords: ClassVar = {"hasher": hasher, "is_common_password": is_common_password}

    intake_limits = providers.Singleton(
        IntakeLimits,
        batch_max=settings.provided.intake_batch_max,
        queue_max=settings.provided.intake_queue_max,
        deadline=settings.provided.intake_deadline,
    )
    decide_orders = providers.Singleton(DecideOrders, **_writing, new_order_code=new_order_code)
    intake = providers.Singleton(
        Intake,
        handle=decide_orders,
        after_loss=providers.Object(mark_lost),
        limits=intake_limits,
        observer=metrics,
        turns_of_many=turns_of_many,
    )
    order_limit = providers.Singleton(PerMinute, settings.provided.orders_per_minute)
    place_order = providers.Singleton(PlaceOrder, intake=intake, new_id=new_id, limit=order_limit)
    cancel_order = providers.Singleton(CancelOrder, intake=intake)
    cancel_unpaid = providers.Singleton(CancelUnpaid, **_reading, cancel_order=cancel_order)
    amend_order = providers.Singleton(AmendOrder, intake=intake)
    advance_order = providers.Singleton(AdvanceOrder, **_writing)
    pay_order = providers.Singleton(PayOrder, **_writing)
    return_order = providers.Singleton(ReturnOrder, intake=intake)
    read_history = providers.Singleton(ReadHistory, **_reading)
    look_up_orders = providers.Singleton(LookUpOrders, **_reading)
    # An order may have a hundred lines.
    orders_limits = providers.Singleton(
        ReadLimits, deadline=settings.provided.shared_read_deadline, batch_max=64
    )
    shared_orders = providers.Singleton(
        SharedReads, look_up_orders, orders_limits, observer=metrics.provided.reads.call("orders")
    )
    read_order = providers.Singleton(ReadOrder, look_up=shared_orders)
    export_orders = providers.Singleton(ExportOrders, **_reading)
    list_orders = providers.Singleton(ListOrders, **_reading)

    # Whole answers, which only http/ knows.
    lists_limits = providers.Singleton(
        ReadLimits,
        deadline=settings.provided.shared_read_deadline,
        led_max=database_options.provided.reads_of_one_user,
    )
    shared_lists = providers.Singleton(
        SharedReads,
        providers.Object(once_for_all),
        lists_limits,
        observer=metrics.provided.reads.call("lists"),
    )
    list_products = providers.Singleton(ListProducts, **_reading)
    look_up_products = providers.Singleton(LookUpProducts, **_reading)
    products_limits = providers.Singleton(
        ReadLimits, deadline=settings.provided.shared_read_deadline
    )
    shared_products = providers.Singleton(
        SharedReads,
        look_up_products,
        products_limits,
        observer=metrics.provided.reads.call("products"),
    )
    read_product = providers.Singleton(ReadProduct, look_up=shared_products)
    find_product = providers.Singleton(FindProduct, **_reading)
    create_product = providers.Singleton(CreateProduct, **_writing)
    add_products = providers.Singleton(AddProducts, **_reading)
    make_searchable = providers.Singleton(MakeSearchable, **_reading)
    change_product = providers.Singleton(ChangeProduct, **_writing)
    archive_product = providers.Singleton(ArchiveProduct, **_writing)
    restore_product = providers.Singleton(
        RestoreProduct, **_writing, currency=settings.provided.currency
    )
    change_stock = providers.Singleton(ChangeStock, intake=intake)
    _rows: ClassVar = {**_writing, "currency": settings.provided.currency}
    save_products = providers.Singleton(SaveProducts, **_rows)
    import_products = providers.Singleton(ImportProducts, **_rows)
    count_lists = providers.Singleton(CountLists, **_reading)
    export_products = providers.Singleton(ExportProducts, **_reading)
    export_ledger = providers.Singleton(ExportLedger, **_reading)
    read_movements = providers.Singleton(ReadMovements, **_reading)
    verify_stock = providers.Singleton(VerifyStock, **_reading)
    sample_stock = providers.Singleton(SampleStock, **_reading)
    repair_stock = providers.Singleton(RepairStock, **_writing)
    record_differences = providers.Singleton(RecordDifferences, **_reading)
    count_stock = providers.Singleton(CountStock, **_reading, low=settings.provided.low_stock)
    read_counts = providers.Singleton(ReadCounts, **_reading)

    lifetimes = providers.Singleton(
        SessionLifetimes,
        refresh=providers.Factory(timedelta, seconds=settings.provided.refresh_token_lifetime),
        family=providers.Factory(timedelta, seconds=settings.provided.session_lifetime),
    )
    _sessions: ClassVar = {"new_refresh_token": new_refresh_token, "lifetimes": lifetimes}
    attempt_queue = providers.Singleton(ProcessAttemptQueue)
    throttle_sign_in = providers.Singleton(
        ThrottleSignIn, **_writing, audit=audit, queue=attempt_queue
    )
    _throttled: ClassVar = {"throttle": throttle_sign_in}
    sign_in = providers.Singleton(
        SignIn, **_writing, **_sessions, **_throttled, audit=audit, hasher=hasher, new_id=new_id
    )
    refresh_limit = providers.Singleton(PerMinute, settings.provided.refreshes_per_minute)
    refresh_session = providers.Singleton(
        RefreshSession, **_writing, **_sessions, limit=refresh_limit
    )
    sign_out = providers.Singleton(SignOut, **_writing)
    sign_out_everywhere = providers.Singleton(SignOutEverywhere, **_writing)
    list_sessions = providers.Singleton(ListSessions, **_writing)
    purge_sessions = providers.Singleton(PurgeSessions, **_writing)
    purge_attempts = providers.Singleton(PurgeAttempts, **_writing)
    purge_keys = providers.Singleton(
        PurgeKeys,
        **_writing,
        kept_for=providers.Factory(timedelta, seconds=settings.provided.idempotency_key_lifetime),
    )

    create_user = providers.Singleton(CreateUser, **_writing, **_passwords)
    register_user = providers.Singleton(
        RegisterUser,
        **_throttled,
        create_user=create_user,
        is_open=settings.provided.registration,
    )
    read_user = providers.Singleton(ReadUser, **_reading)
    list_users = providers.Singleton(ListUsers, **_reading)
    set_password = providers.Singleton(SetPassword, **_writing, **_passwords)
    change_password = providers.Singleton(
        ChangePassword, **_writing, **_passwords, **_throttled, audit=audit
    )
    disable_user = providers.Singleton(DisableUser, **_writing)
    enable_user = providers.Singleton(EnableUser, **_reading)
    set_role = providers.Singleton(SetRole, **_writing)
    check_user = providers.Singleton(CheckUser, **_reading, monotonic=monotonic)

    move_in = providers.Singleton(
        MoveIn, **_writing, hasher=hasher, new_id=new_id, currency=settings.provided.currency
    )

    signing_keys = providers.Singleton(load_keys, settings)
    access_tokens = providers.Singleton(
        AccessTokens,
        keys=signing_keys,
        issuer=settings.provided.issuer,
        audience=settings.provided.audience,
        lifetime=settings.provided.access_token_lifetime,
        leeway=settings.provided.token_leeway,
    )

    vitals = providers.Singleton(
        Vitals,
        metrics=metrics,
        intake=intake,
        passwords=hasher,
        reads=providers.Dict(products=shared_products, orders=shared_orders, lists=shared_lists),
        pools=providers.Selector(
            settings.provided.store,
            memory=providers.Object(None),
            sqlite=engines,
            postgresql=engines,
        ),
        read_counts=read_counts,
    )

    seen_marks = providers.Singleton(SeenMarks, signing_keys)

    exposition = providers.Singleton(
        Exposition, metrics=metrics, vitals=vitals, token=settings.provided.metrics_token
    )

    # What a process does again and again while it serves: `shop.adapters.background`.
    background_tasks = providers.List(
        _every(60, "make_searchable", make_searchable),
        _every(600, "purge_sessions", purge_sessions),
        _every(600, "purge_attempts", purge_attempts),
        _every(600, "purge_keys", purge_keys),
        _every(60, "count_lists", count_lists),
        _every(120, "count_stock", count_stock),
        # Each process tells its own.
        providers.Factory(PeriodicTask, name="vitals", every=1, run=vitals, once=False),
        providers.Factory(
            PeriodicTask, name="counts", every=15, run=vitals.provided.tell_counts, once=False
        ),
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
    health = providers.Singleton(
        Health, drain=drain, intake=intake, background=background, schema=schema
    )


def _name_use_cases() -> None:
    """Whoever opens units of work does it under its own name, which what is observed is told by."""
    for name, provider in Container.providers.items():
        if isinstance(provider, providers.Singleton) and "unit_of_work" in provider.kwargs:
            named = providers.Factory(for_use_case, name, provider.kwargs["unit_of_work"])
            provider.add_kwargs(unit_of_work=named)


_name_use_cases()


def trace(container: Container) -> None:
    """Trace what is made of this container from now on. Once in a process that serves."""
    # Here, so that nobody else pays for it.
    from shop.entrypoints.traces import open_traces, trace_calls

    settings = container.settings()
    traces = open_traces(
        endpoint=settings.traces_address,
        share=settings.traces_sample,
        environment=settings.environment,
        database=settings.store,
    )
    container.traces.override(traces)
    container.intake.add_kwargs(
        observer=providers.Factory(IntakeObservers, container.metrics, container.traces)
    )
    container.statement_observers.add_args(container.traces)
    for shared in (container.shared_products, container.shared_orders, container.shared_lists):
        shared.add_kwargs(
            observer=providers.Factory(ReadObservers, shared.kwargs["observer"], container.traces)
        )
    for name, provider in container.providers.items():
        if isinstance(provider, providers.Singleton) and is_use_case(provider.cls):
            trace_calls(provider.cls, name)


def is_use_case(kind: type) -> bool:
    return kind.__module__.startswith("shop.domain.services.")


def build_container(settings: Settings) -> Container:
    container = Container(settings=settings)
    if settings.has_replicas:
        container.background_tasks.add_args(
            # Each process has connections of its own, and finds out which servers answer.
            providers.Factory(
                PeriodicTask,
                name="replicas",
                every=1,
                run=container.replicas.provided.look,
                once=False,
            )
        )
    return container
