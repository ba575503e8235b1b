"""The documents as a site: no dead link in it, and nothing that comes from another host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.documents.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a dead link or anchor, or a page that no menu leads to, fails."""
    folder = tmp_path_factory.mktemp("site")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        # Says in many lines that a version of mkdocs to come is not supported.
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


class Fetched(HTMLParser):
    """What a browser fetches of its own accord when it shows a page."""

    FETCHING_RELS = frozenset(
        {"stylesheet", "icon", "preload", "prefetch", "preconnect", "manifest"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.classes |= set(values.get("class", "").split())
        for name in ("src", "srcset", "data", "poster", "action"):
            if name in values:
                self.addresses.append(values[name])
        if tag == "link" and self.FETCHING_RELS & set(values.get("rel", "").split()):
            self.addresses.append(values["href"])


def pages(site: Path) -> list[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > 20
    return found


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    for page in pages(site):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses, page
        for address in parser.addresses:
            assert not re.match(r"(https?:)?//", address), f"{page.name} fetches {address}"
        # Of this class the theme's script makes drawings, with a script from another host.
        assert "mermaid" not in parser.classes, page


def test_no_style_fetches_anything_from_another_host(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(url\(\s*[\"']?|@import\s+[\"'])(https?:)?//", text), style


def test_what_a_page_shows_is_there(site: Path) -> None:
    for page in pages(site):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        # The page of what is not found may be shown at any address.
        if page.name != "404.html":
            for address in parser.addresses:
                if not address.startswith("data:"):
                    assert (page.parent / address.partition("?")[0]).exists(), f"{page}: {address}"


def test_the_front_page_has_the_two_commands_and_the_picture(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    text = re.sub("<[^>]*>", "", page)
    assert "make run" in text
    assert "make test" in text
    assert 'src="images/docs-page.png"' in page
    assert (site / "images" / "docs-page.png").read_bytes().startswith(b"\x89PNG")
