"""The blocks of the documents that tests run, by the names that are written above them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIALS = DOCS / "tutorials"

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>tested|not run): (?P<text>[^>]*?) -->\n)?"
    r"^[ ]*```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^[ ]*```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    language: str
    code: str
    mark: str
    """`tested`, `not run`, or nothing."""
    text: str
    """The name under which a test finds it, or why no test does."""


def blocks_of(page: Path) -> list[Block]:
    return [
        Block(
            language=found["language"],
            code=found["code"],
            mark=found["mark"] or "",
            text=" ".join((found["text"] or "").split()),
        )
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def named(page: Path, name: str) -> list[str]:
    """What stands in the blocks of this name, of which there is one at least."""
    found = [b.code for b in blocks_of(page) if (b.mark, b.text) == ("tested", name)]
    assert found, f"{page} has no block that is marked <!-- tested: {name} -->"
    return found
