"""One set of images for all checks. `make test-image` runs them; `make test` does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.engine import Engine, engine, missing

PROD = "localhost/shop:local"
SERVICES = "localhost/shop-services:1"


@pytest.fixture(scope="session")
def images() -> Iterator[Engine]:
    if reason := missing():
        pytest.skip(f"No image was built: {reason}.")
    with engine() as made:
        made.remove_containers()
        made.build(PROD, options=["--target", "prod"])
        yield made


@pytest.fixture(scope="session")
def services(images: Engine) -> str:
    """The image of PostgreSQL, HAProxy, PgBouncer and Prometheus, from Debian's packages."""
    if not images.has(SERVICES):
        here = Path(__file__).parent
        images.build(SERVICES, context=here, options=["--file", f"{here}/Dockerfile.services"])
    return SERVICES
