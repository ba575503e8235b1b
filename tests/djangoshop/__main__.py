"""A shop on the real Django: `python -m tests.djangoshop URL < rows.json` makes or changes it.

The JSON object may have `users`, `products`, `orders`, `update` and `delete`, see below, and
`large` for many rows made up from a seed. It is a process of its own: Django's settings are global.
"""

import json
import random
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from sqlalchemy import make_url


def set_up(text: str) -> None:
    url = make_url(text)
    is_sqlite = url.get_backend_name() == "sqlite"
    database = {
        "ENGINE": f"django.db.backends.{'sqlite3' if is_sqlite else 'postgresql'}",
        "NAME": url.database,
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.query.get("host") or url.host or "",
        "PORT": url.query.get("port") or url.port or "",
    }
    hashers = "django.contrib.auth.hashers"
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "tests.djangoshop.products",
            "tests.djangoshop.orders",
        ],
        # All tables at once, as their models are.
        MIGRATION_MODULES={"auth": None, "contenttypes": None},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        TIME_ZONE="Europe/Berlin",
        PASSWORD_HASHERS=[
            f"{hashers}.PBKDF2PasswordHasher",
            f"{hashers}.PBKDF2SHA1PasswordHasher",
            f"{hashers}.Argon2PasswordHasher",
            f"{hashers}.ScryptPasswordHasher",
            f"{hashers}.MD5PasswordHasher",
        ],
    )
    django.setup()
    from django.core.management import call_command  # type: ignore[import-untyped]
    from django.db import connection  # type: ignore[import-untyped]

    if not connection.introspection.table_names():
        call_command("migrate", run_syncdb=True, verbosity=0)


def add_users(rows: Iterable[dict[str, Any]]) -> None:
    """As the shop's own code makes them; `hasher` chooses the kind of hash, `hash` is stored."""
    from django.contrib.auth.hashers import make_password  # type: ignore[import-untyped]
    from django.contrib.auth.models import User  # type: ignore[import-untyped]

    for row in rows:
        password, kind = row.pop("password", None), row.pop("hasher", None)
        stored = row.pop("hash", None)
        user = User.objects.create_user(**row)
        user.password = stored or make_password(password, hasher=kind or "default")
        user.save()


def add_products(rows: Iterable[dict[str, Any]]) -> None:
    from tests.djangoshop.products.models import Product

    Product.objects.bulk_create([Product(**row) for row in rows])


def add_orders(rows: Iterable[dict[str, Any]]) -> None:
    """With `items`: pairs of a product's id and a quantity."""
    from tests.djangoshop.orders.models import Order, OrderItem

    for row in rows:
        items = row.pop("items")
        order = Order.objects.create(**row)
        OrderItem.objects.bulk_create(
            [OrderItem(order=order, product_id=id_, quantity=many) for id_, many in items]
        )


def _model(name: str) -> Any:
    from django.apps import apps  # type: ignore[import-untyped]

    return apps.get_model(name)


def update(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        changed = _model(row.pop("model")).objects.filter(id=row.pop("id")).update(**row)
        assert changed == 1


def delete(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        _model(row["model"]).objects.get(id=row["id"]).delete()


def add_many(*, users: int, products: int, orders: int, seed: int = 1, password: str = "") -> None:
    """One password for all users, since a hash takes long."""
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import User

    from tests.djangoshop.orders.models import Order, OrderItem
    from tests.djangoshop.products.models import Product

    dice = random.Random(seed)  # noqa: S311 - made-up shops, no secrets
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hashed = make_password(password or None)
    made = User.objects.bulk_create(
        [
            User(username=f"user-{n}", email=f"user-{n}@example.com", password=hashed)
            for n in range(users)
        ],
        batch_size=1_000,
    )
    sold = Product.objects.bulk_create(
        [
            Product(
                name=f"Thing {n}",
                price=f"{dice.randrange(1, 99_999) / 100:.2f}",
                stock=dice.randrange(-3, 500),
                created=start,
                modified=start,
            )
            for n in range(products)
        ],
        batch_size=1_000,
    )
    times = [start + timedelta(minutes=n) for n in range(orders)]
    placed = Order.objects.bulk_create(
        [
            Order(code=f"{n:012X}", user=dice.choice(made), created=time, modified=time)
            for n, time in enumerate(times)
        ],
        batch_size=1_000,
    )
    OrderItem.objects.bulk_create(
        [
            OrderItem(order=order, product=product, quantity=dice.randint(1, 3))
            for order in placed
            for product in dice.sample(sold, dice.randint(1, 4))
        ],
        batch_size=1_000,
    )


def main() -> None:
    set_up(sys.argv[1])
    from django.db import transaction

    rows = json.load(sys.stdin)
    with transaction.atomic():
        add_users(rows.get("users", ()))
        add_products(rows.get("products", ()))
        add_orders(rows.get("orders", ()))
        update(rows.get("update", ()))
        delete(rows.get("delete", ()))
        if "large" in rows:
            add_many(**rows["large"])


if __name__ == "__main__":
    main()
