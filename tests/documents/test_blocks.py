"""What the documents tell people to type: every block is run by a test, or says why it is not."""

import re
from itertools import chain
from pathlib import Path

import click
import pytest

from shop.entrypoints.cli.main import main
from shop.entrypoints.settings import Settings, variable
from tests.documents.pages import DOCS, ROOT, TUTORIALS, blocks_of

TYPED = [
    *ROOT.glob("*.md"),
    DOCS / "index.md",
    *TUTORIALS.glob("*.md"),
    *(DOCS / "how-to").glob("*.md"),
]
"""Pages whose shell blocks are to be pasted."""
PAGES = sorted(
    page
    for page in chain(ROOT.glob("*.md"), DOCS.rglob("*.md"))
    # What a release once had, it need not have now.
    if page.name != "CHANGELOG.md" and "decisions" not in page.parts
)
TARGETS = re.findall(r"^([a-z/._-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
NOT_SETTINGS = {"SHOP_PORT"}
"""Names in the documents that only look like settings of the shop."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_each_shell_block_is_run_by_a_test_or_says_why_not(page: Path) -> None:
    for block in blocks_of(page):
        if block.language in ("sh", "bash", "console"):
            assert block.mark, f"nothing above this block says who runs it:\n{block.code}"
            assert len(block.text.split()) >= (1 if block.mark == "tested" else 4), block.text


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_each_block_that_is_marked_as_tested_is_looked_for_by_a_test(page: Path) -> None:
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    tests = [text for text in tests if page.name in text]
    for name in {block.text for block in blocks_of(page) if block.mark == "tested"}:
        wanted = (f'"{name}"', f"tested: {name} -->")
        assert any(any(one in text for one in wanted) for text in tests), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_that_a_page_names_are_there(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    lines = [
        line.strip() for b in blocks_of(page) if b.language == "sh" for line in b.code.split("\n")
    ]
    for words in map(str.split, spans + lines):
        if words[:1] == ["make"] and len(words) > 1:
            assert words[1] in TARGETS, words
        if words[:1] == ["shop"]:
            assert_command(words[1:])


def assert_command(words: list[str]) -> None:
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            return
        # `list|create` in a table of commands stands for both.
        word = word.replace("\\", "").partition("|")[0]
        assert word in command.commands, f"shop {' '.join(words)}"
        command = command.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_settings_that_a_page_names_are_there(page: Path) -> None:
    settings = set(map(variable, Settings.__struct_fields__)) | NOT_SETTINGS
    named = set(re.findall(r"\bSHOP_[A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8")))
    # `SHOP_FOO_*` would stand for several.
    assert named <= settings, named - settings


@pytest.mark.parametrize("page", [p for p in PAGES if DOCS not in p.parents], ids=name_of)
def test_the_links_of_the_pages_beside_the_site_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            if anchor:
                assert anchor in anchors_of(file), target


def anchors_of(page: Path) -> set[str]:
    """As GitHub and the site make them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


def test_the_files_of_the_checklists_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    checklists = text.partition("## Checklists")[2]
    named = [name for name in re.findall(r"`([^` ]+)`", checklists) if "/" in name or "." in name]
    assert len(named) > 40
    for name in named:
        assert (ROOT / name).exists(), name
