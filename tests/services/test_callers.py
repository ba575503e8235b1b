"""Every use case by name: who may call it, and that something does. A new one needs a row here."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

import shop.domain.services
import shop.entrypoints
from shop.domain.errors import OperatorOnly, ShopError, StaffOnly
from shop.domain.users import OPERATOR, Caller
from shop.entrypoints.container import Container, build_container
from tests.builders import customer, staff
from tests.entrypoints.api import settings_for

# Nobody is signed in yet, or the token says who it is.
ANYBODY = "sign_in refresh_session sign_out register_user"
# For staff everything; for others what is their own, or the same for all.
SIGNED_IN = """
    place_order amend_order cancel_order read_order list_orders read_history
    list_products read_product
    read_user change_password list_sessions sign_out_everywhere check_user
"""
STAFF = """
    advance_order pay_order return_order
    find_product create_product change_product archive_product change_stock read_movements
    restore_product save_products
"""
OPERATORS = """
    create_user set_password disable_user enable_user set_role list_users
    cancel_unpaid add_products verify_stock sample_stock repair_stock purge_sessions purge_attempts
    purge_keys count_lists make_searchable count_stock record_differences
    import_products export_products export_orders export_ledger move_in
"""
# No use cases of their own: the intake calls the first with what `place_order` asked for, shared
# reads the next two with what many want to see, the metrics tell what the next has read; the last
# surrounds whatever must not be guessed.
INSIDE = "decide_orders look_up_orders look_up_products read_counts throttle_sign_in"

# Those of all of them that change nothing.
READS = """
    read_order list_orders read_history list_products read_product find_product read_movements
    read_user list_users list_sessions check_user verify_stock sample_stock read_counts
    export_products export_orders export_ledger
"""

ENTRYPOINTS = Path(shop.entrypoints.__file__).parent
SERVICES = Path(shop.domain.services.__file__).parent


def classes() -> dict[str, type]:
    """What the container makes of the domain's services, by name."""
    return {
        name: provider.cls
        for name, provider in Container.providers.items()
        if isinstance(provider, providers.Singleton)
        and inspect.isclass(provider.cls)
        and provider.cls.__module__.startswith("shop.domain.services.")
    }


def use_cases() -> dict[str, Callable[..., Any]]:
    return {name: cls.__call__ for name, cls in classes().items()}


def names(*tables: str) -> list[str]:
    return [name for table in tables for name in table.split()]


def test_every_use_case_has_its_row() -> None:
    rows = names(ANYBODY, SIGNED_IN, STAFF, OPERATORS, INSIDE)
    assert set(use_cases()) - set(rows) == set(), "use cases without a row here"
    assert set(rows) - set(use_cases()) == set(), "rows without a use case"
    assert sorted(set(rows)) == sorted(rows), "a use case with two rows"


def test_what_is_said_to_change_nothing_commits_nothing() -> None:
    assert set(names(READS)) - set(use_cases()) == set(), "no use cases"
    writing = [name for name in names(READS) if ".commit(" in inspect.getsource(classes()[name])]
    assert writing == []


@pytest.mark.parametrize("name", names(SIGNED_IN, STAFF, OPERATORS))
def test_it_is_told_who_calls(name: str) -> None:
    caller = inspect.signature(use_cases()[name]).parameters["caller"]
    assert (caller.annotation, caller.default) == (Caller, inspect.Parameter.empty)


@pytest.mark.parametrize("name", names(ANYBODY, SIGNED_IN, STAFF, OPERATORS))
def test_its_arguments_are_named(name: str) -> None:
    _, *parameters = inspect.signature(use_cases()[name]).parameters.values()
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", names(ANYBODY, SIGNED_IN, STAFF, OPERATORS))
def test_a_route_a_command_or_background_work_calls_it(name: str) -> None:
    called = re.compile(rf"\b{name}: NamedDependency\[|\bcontainer\.{name}\b|_every\(.*\b{name}\)")
    assert any(called.search(path.read_text()) for path in ENTRYPOINTS.rglob("*.py"))


def test_whoever_reads_says_for_whom() -> None:
    """Without that, one user could keep all others from reading."""
    opened = re.compile(r"unit_of_work\(([^)]*\bread_only=True[^)]*)\)")
    reads = [found for path in SERVICES.glob("*.py") for found in opened.findall(path.read_text())]
    assert len(reads) > 10
    assert [arguments for arguments in reads if "caller=" not in arguments] == []


@pytest.mark.parametrize(
    ("name", "caller", "refusal"),
    [
        *((name, customer(), StaffOnly) for name in names(STAFF)),
        *((name, customer(), OperatorOnly) for name in names(OPERATORS)),
        *((name, staff(), OperatorOnly) for name in names(OPERATORS)),
    ],
)
async def test_who_may_not_is_refused_before_anything_is_done(
    name: str, caller: Caller, refusal: type[ShopError]
) -> None:
    with pytest.raises(refusal):
        await call(name, caller)


@pytest.mark.parametrize("name", names(STAFF, OPERATORS))
async def test_who_may_is_let_in(name: str) -> None:
    """So far that it looks at what it was given, which is nothing that makes sense."""
    with pytest.raises(Exception) as failure:  # noqa: PT011 - anything but the refusals
        await call(name, OPERATOR)
    assert not isinstance(failure.value, StaffOnly | OperatorOnly)


async def call(name: str, caller: Caller) -> None:
    """Call it with nothing that makes sense, over a store that must not be reached."""
    container = build_container(settings_for())
    container.unit_of_work.override(providers.Callable(_no_store))
    use_case = container.providers[name]()
    required = [
        parameter.name
        for parameter in inspect.signature(use_case).parameters.values()
        if parameter.default is inspect.Parameter.empty and parameter.name != "caller"
    ]
    result = use_case(caller=caller, **dict.fromkeys(required))
    if inspect.isasyncgen(result):
        await anext(result)
    else:
        await result


def _no_store(**_: object) -> None:
    raise LookupError("the store is reached")
