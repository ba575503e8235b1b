"""The pictures of the docs page in the documents; `make pictures` takes them anew."""

import struct
from pathlib import Path

import pytest

from tests.browser.browsers import DESKTOP, DESKTOP_DARK, PHONE, Look, Page
from tests.e2e.shops import DEMO

IMAGES = Path(__file__).parents[2] / "docs/images"
PICTURES = {
    "docs-page.png": DESKTOP,
    "docs-page-dark.png": DESKTOP_DARK,
    "docs-page-phone.png": PHONE,
}
BYTES_MAX = 300_000


@pytest.mark.parametrize("name", PICTURES)
def test_the_documents_show_the_page_in_its_size_and_few_bytes(
    request: pytest.FixtureRequest, page: Page, name: str
) -> None:
    look = PICTURES[name]
    picture = taken(page, look)
    assert size(picture) == (look.width * look.scale, look.height * look.scale)
    if request.config.getoption("--pictures"):
        IMAGES.mkdir(exist_ok=True)
        (IMAGES / name).write_bytes(picture)
    committed = (IMAGES / name).read_bytes()
    assert size(committed) == size(picture), "make pictures takes it anew"
    assert len(committed) <= BYTES_MAX


def taken(page: Page, look: Look) -> bytes:
    """Signed in, and with nothing to be seen that changes from one time to the next."""
    page.open("/docs/", look)
    page.sign_in(DEMO.username, DEMO.password)
    page.says(f"Signed in as {DEMO.username}")
    page.run("document.activeElement.blur(); scrollTo(0, 0)")
    return page.picture()


def size(picture: bytes) -> tuple[int, int]:
    """Width and height, from the first chunk of a PNG."""
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height
