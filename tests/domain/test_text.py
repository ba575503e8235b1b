"""Text from outside: clean, or refused by field."""

import pytest

from shop.domain.errors import InvalidField
from shop.domain.text import clean


@pytest.mark.parametrize("text", ["Teapot", "Größe ß", "茶壺", "🫖", "a\u200db", "''; --", "%_\\"])
def test_text_in_any_script_is_kept_as_it_is(text: str) -> None:
    assert clean("name", text, length_max=20) == text


def test_surrounding_space_goes() -> None:
    assert clean("name", " \t Tea pot \n", length_max=7) == "Tea pot"


@pytest.mark.parametrize("bad", ["\x00", "\x1f", "\x1b", "\x7f", "\x85", "\ud800", "\n", "\t"])
def test_control_characters_and_surrogates_are_refused(bad: str) -> None:
    with pytest.raises(InvalidField):
        clean("name", f"a{bad}b", length_max=20)


@pytest.mark.parametrize("space", ["\n", "\r\n", "\t"])
def test_text_of_many_lines_may_break_them(space: str) -> None:
    assert clean("description", f"a{space}b", length_max=20, lines=True) == f"a{space}b"


@pytest.mark.parametrize("bad", ["\x00", "\x1b", "\ud800"])
def test_text_of_many_lines_has_no_other_control_characters(bad: str) -> None:
    with pytest.raises(InvalidField):
        clean("description", f"a{bad}b", length_max=20, lines=True)


@pytest.mark.parametrize(("text", "fits"), [("", False), ("   ", False), ("a", True)])
def test_what_must_not_be_empty_is_not_made_of_spaces(text: str, fits: bool) -> None:
    if fits:
        assert clean("name", text, length_min=1, length_max=3)
    else:
        with pytest.raises(InvalidField):
            clean("name", text, length_min=1, length_max=3)


def test_length_counts_characters_up_to_the_limit() -> None:
    assert clean("name", "ä" * 3, length_max=3) == "äää"
    with pytest.raises(InvalidField):
        clean("name", "ä" * 4, length_max=3)
