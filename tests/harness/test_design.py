"""The design page names every module, where it stands."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "src/shop"


def tree() -> dict[PurePath, str]:
    """What the page says of each folder below `src/shop/`."""
    page = (ROOT / "docs/design.md").read_text()
    block = re.search(r"```\nsrc/shop/\n(.*?)^tests/", page, re.DOTALL | re.MULTILINE)
    assert block is not None
    said: dict[PurePath, str] = {}
    parents: list[tuple[int, PurePath]] = []
    for line in block[1].splitlines():
        indent = len(line) - len(line.lstrip())
        name = line.split()[0]
        if indent < 20:
            # A line further right goes on with the one above it.
            parents = [(at, folder) for at, folder in parents if at < indent]
            if name.endswith("/"):
                above = parents[-1][1] if parents else PurePath()
                parents.append((indent, above / name))
        folder = parents[-1][1]
        said[folder] = said.get(folder, "") + line + "\n"
    return said


def modules() -> Iterator[PurePath]:
    for path in sorted(SHOP.rglob("*.py")):
        module = path.relative_to(SHOP)
        # Migrations are found by their numbers.
        if path.name != "__init__.py" and "versions" not in module.parts:
            yield module


def is_named(module: PurePath, said: dict[PurePath, str]) -> bool:
    folder = next(parent for parent in module.parents if parent in said)
    if folder.name == "memory" and (SHOP / "adapters/sql" / module.name).exists():
        # It is the twin of that one.
        folder = folder.parent / "sql"
        module = folder / module.name
    name = re.escape(str(module.relative_to(folder)))
    return re.search(rf"(?<![\w/]){name}(?!\w)", said[folder]) is not None


def test_the_design_page_names_every_module_in_its_folder() -> None:
    said = tree()
    assert [str(module) for module in modules() if not is_named(module, said)] == []
