"""Demo data: what a first session needs. Its passwords are public."""

from dataclasses import dataclass

from shop.domain.errors import UsernameTaken
from shop.domain.users import OPERATOR, Role, User
from shop.entrypoints.container import Container
from shop.entrypoints.samples import sample_products

PRODUCTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUser:
    username: str
    password: str
    role: Role


DEMO_USERS = (
    DemoUser(username="demo", password="demo-password", role=Role.CUSTOMER),  # noqa: S106
    DemoUser(username="admin", password="admin-password", role=Role.STAFF),  # noqa: S106
)


async def demo_users_left(container: Container) -> list[User]:
    """The demo users who can sign in with the password that everybody knows."""
    left = []
    for demo_user in DEMO_USERS:
        async with container.unit_of_work(read_only=True) as uow:
            user = await uow.users.find(demo_user.username)
        if user is None or user.disabled:
            continue
        if await container.hasher().verify(demo_user.password, user.password_hash):
            left.append(user)
    return left


async def make_demo(container: Container) -> int:
    """Make what is not there yet; a second time it changes nothing. How many products it added."""
    for user in DEMO_USERS:
        try:
            await container.create_user()(
                caller=OPERATOR, username=user.username, password=user.password, role=user.role
            )
        except UsernameTaken:
            continue
    added = await container.add_products()(
        caller=OPERATOR,
        products=sample_products(
            seed=1,
            numbers=range(PRODUCTS),
            currency=container.settings().currency,
            at=container.clock()(),
        ),
    )
    return len(added)
