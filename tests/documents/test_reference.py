"""Pages and drawings that are made from the code are those of the code."""

import re

import pytest

from reference.pages import DOCS, PAGES
from reference.settings import groups
from shop.entrypoints.settings import Settings, variable


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_code_is_made_anew_when_it_changes(name: str) -> None:
    made = PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == made, "run `make reference`"


def test_every_setting_has_a_comment_and_is_on_the_page() -> None:
    on_the_page = [name for group in groups() for name in group.defaults]
    assert sorted(on_the_page) == sorted(map(variable, Settings.__struct_fields__))
    assert all(group.about for group in groups())


def test_each_test_that_proves_a_guarantee_is_there() -> None:
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    tests = DOCS.parent / "tests"
    named = set(re.findall(r"`([\w/]+/test_\w+\.py)`", text))
    assert len(named) > 20
    for name in named:
        # Those of HTTP are named from their folder on.
        assert any((folder / name).exists() for folder in (tests, tests / "entrypoints")), name
