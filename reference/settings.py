"""The page of the settings: `Settings` has names and kinds, .env.example says the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reference.markdown import MADE, code, table
from shop.entrypoints.settings import _RULES, variable

EXAMPLE = Path(__file__).parent.parent / ".env.example"


class Group(NamedTuple):
    """Settings that one comment stands above."""

    about: str
    defaults: dict[str, str]
    """By variable; a default is as one would write it."""


def groups() -> list[Group]:
    """Of the lines of .env.example, but for the words at its beginning, which are of the file."""
    paragraphs = EXAMPLE.read_text(encoding="utf-8").split("\n\n")
    return [group for paragraph in paragraphs[1:] for group in _groups(paragraph.splitlines())]


def _groups(lines: list[str]) -> Iterator[Group]:
    about: list[str] = []
    defaults: dict[str, str] = {}
    for line in [*lines, "#"]:
        if line.startswith("#") and defaults:
            yield Group(" ".join(about), defaults)
            about, defaults = [], {}
        if line.startswith("#"):
            about.append(line.removeprefix("#").strip())
        else:
            name, _, default = line.partition("=")
            defaults[name] = default


def page() -> str:
    rules = {variable(field): rule for field, rule in _RULES.items()}
    parts = [
        MADE,
        "# Settings\n\n",
        "Environment variables, and lines of the file `.env` in the folder that a command is run "
        "in. [Deploying](../deploy.md#settings) says how the file is read. An empty value is the "
        "default; a name that begins with `SHOP_` and is not below stops the start. What is said "
        "below a table is about the settings in it.\n",
    ]
    for group in groups():
        rows = [
            (code(name), code(default) or "(empty)", _in_words(rules[name]))
            for name, default in group.defaults.items()
        ]
        parts += ["\n", table(("variable", "default", "is"), rows), f"\n{_escaped(group.about)}\n"]
    return "".join(parts)


def _in_words(rule: str) -> str:
    return "text" if rule == "text of None to None characters" else rule


def _escaped(text: str) -> str:
    """Comments are plain text, in which only backticks mean something."""
    for sign in "*<>[]":
        text = text.replace(sign, f"\\{sign}")
    return text
