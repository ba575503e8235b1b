"""Every change that takes no idempotency key, on a shop where it has something to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shop.domain.errors import InvalidField, ShopError, UsernameTaken
from shop.domain.stock import StockAudit
from shop.domain.throttling import KNOWN_FOR
from shop.domain.users import OPERATOR, Caller, Role
from tests.builders import NOON, PASSWORD, items, product
from tests.contracts.changes import keyed
from tests.stores import Store
from tests.use_cases import ADDRESS, UseCases

NEW_PASSWORD = "another password"


@dataclass(frozen=True, kw_only=True)
class UnkeyedScene:
    """Anna is signed in, Bert is disabled, the ledger differs, and there is a lot to purge."""

    shop: UseCases
    store: Store
    anna: Caller
    refresh_token: str
    difference: StockAudit

    def by(self, other: UseCases) -> "UnkeyedScene":
        """The same, seen by another process."""
        return replace(self, shop=other)


async def open_unkeyed_scene(shop: UseCases, store: Store) -> UnkeyedScene:
    teapot = await shop.given_product()
    await shop.given_customer("bert")
    await shop.sign_in(username="bert", password=PASSWORD)
    await shop.change_stock(
        caller=OPERATOR, product_id=teapot.id, delta=5, reason="restock", key=keyed()
    )
    shop.clock.advance(KNOWN_FOR + timedelta(days=1))
    await shop.disable_user(caller=OPERATOR, username="bert")
    anna = await shop.given_customer("anna")
    signed_in = await shop.sign_in(username="anna", password=PASSWORD)
    unpaid = await shop.given_product()
    await shop.place_order(caller=anna, items=items((unpaid.id, 1)))
    await store.set_stock_behind_the_ledger(teapot.id, 7)
    [difference] = await shop.audits()
    return UnkeyedScene(
        shop=shop,
        store=store,
        anna=anna,
        refresh_token=signed_in.refresh_token,
        difference=difference,
    )


@dataclass(frozen=True, kw_only=True)
class Unkeyed:
    do: Callable[[UnkeyedScene], Awaitable[Any]]
    commit: int = 1
    """Which of its COMMITs does it: for what must not be guessed the first one counts a try."""
    repeated: type[ShopError] | None = None
    """What a repeat is told of when it was done before."""
    more_each_time: bool = False


async def _cancel_unpaid(scene: UnkeyedScene) -> None:
    created_before = NOON + timedelta(days=36_500)
    async for _ in scene.shop.cancel_unpaid(caller=OPERATOR, created_before=created_before):
        pass


UNKEYED = {
    "create_user": Unkeyed(
        do=lambda s: s.shop.create_user(caller=OPERATOR, username="new", password=PASSWORD),
        repeated=UsernameTaken,
    ),
    "register_user": Unkeyed(
        do=lambda s: s.shop.register_user(username="new", password=PASSWORD, address=ADDRESS),
        commit=2,
        repeated=UsernameTaken,
    ),
    "set_password": Unkeyed(
        do=lambda s: s.shop.set_password(caller=OPERATOR, username="anna", password=NEW_PASSWORD)
    ),
    "change_password": Unkeyed(
        do=lambda s: s.shop.change_password(
            caller=s.anna, current=PASSWORD, new=NEW_PASSWORD, address=ADDRESS
        ),
        commit=2,
        repeated=InvalidField,
    ),
    "disable_user": Unkeyed(do=lambda s: s.shop.disable_user(caller=OPERATOR, username="anna")),
    "set_role": Unkeyed(
        do=lambda s: s.shop.set_role(caller=OPERATOR, username="anna", role=Role.STAFF)
    ),
    "enable_user": Unkeyed(do=lambda s: s.shop.enable_user(caller=OPERATOR, username="bert")),
    "sign_in": Unkeyed(
        do=lambda s: s.shop.sign_in(username="anna", password=PASSWORD),
        commit=2,
        more_each_time=True,
    ),
    "refresh_session": Unkeyed(
        do=lambda s: s.shop.refresh_session(refresh_token=s.refresh_token), more_each_time=True
    ),
    "sign_out": Unkeyed(do=lambda s: s.shop.sign_out(refresh_token=s.refresh_token)),
    "sign_out_everywhere": Unkeyed(do=lambda s: s.shop.sign_out_everywhere(caller=s.anna)),
    "cancel_unpaid": Unkeyed(do=_cancel_unpaid),
    "add_products": Unkeyed(
        do=lambda s: s.shop.add_products(caller=OPERATOR, products=[product(0, sku="NEW")])
    ),
    "repair_stock": Unkeyed(
        do=lambda s: s.shop.repair_stock(caller=OPERATOR, difference=s.difference)
    ),
    "purge_sessions": Unkeyed(do=lambda s: s.shop.purge_sessions(caller=OPERATOR)),
    "purge_attempts": Unkeyed(do=lambda s: s.shop.purge_attempts(caller=OPERATOR)),
    "purge_keys": Unkeyed(do=lambda s: s.shop.purge_keys(caller=OPERATOR)),
}

# What these write is made of what is stored here, or in the shop that moves in, again and again:
# lost or done twice it is the same.
MADE_AGAIN = {"count_lists", "count_stock", "make_searchable", "record_differences", "move_in"}
