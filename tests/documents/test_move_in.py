"""The page on moving in: both passes as they stand there, and a client that goes on."""

from pathlib import Path

import pytest

from tests.documents.pages import DOCS, named
from tests.documents.shells import run
from tests.e2e.test_import_django import ROWS
from tests.old_shops import django_shop

PAGE = DOCS / "how-to" / "move-in.md"


@pytest.mark.long
def test_a_shop_is_moved_in_as_the_page_says(tmp_path: Path) -> None:
    old = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    django_shop(old, **ROWS)
    for name in ("make", "look", "first pass", "last pass"):
        [block] = named(PAGE, name)
        said = run(block, tmp_path, DJANGO_DATABASE_URL=old)
        if name == "look":
            assert "Nothing was moved." in said
    assert "and so do the movements of all orders" in said
    assert "email" in (tmp_path / "notices.jsonl").read_text()
