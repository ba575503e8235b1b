"""Text from outside: clean, or refused by field; and what counts as the same text."""

import unicodedata

import pytest

from shop.domain.errors import InvalidField
from shop.domain.text import clean, counted, folded, the_one_called


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


@pytest.mark.parametrize(
    "same",
    [
        ("Tea", "TEA", "tea", "ＴＥＡ", " tea\n", "te\u00ada", "\ufefftea", "t\u200bea"),  # noqa: RUF001
        ("café", "CAFÉ", "cafe\u0301", "CAFE\u0301"),
        ("İstanbul", "istanbul", "ISTANBUL", "I\u0307stanbul", "i\u0307stanbul"),
        ("straße", "STRASSE", "STRAẞE"),
        ("tea 100 g", "tea\u00a0100\u202fg", "tea\u3000100  g", "tea\t100\u1680g"),
        ("ﬁg", "FIG"),
        ("½", "1\u20442"),
        ("🫖", "🫖\ufe0f"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος", "σίσυφοσ"),
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_what_people_take_for_the_same_is_the_same_once_folded(same: tuple[str, ...]) -> None:
    assert {folded(text) for text in same} == {folded(same[-1])}


@pytest.mark.parametrize(
    ("one", "other"),
    [("cafe", "café"), ("tea", "te a"), ("o", "ö"), ("A", "А"), ("a.b", "ab"), ("ı", "i")],  # noqa: RUF001
)
def test_what_differs_for_people_differs_once_folded(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_folding_what_is_folded_changes_nothing_and_composing_makes_no_difference() -> None:
    characters = [
        character
        for character in map(chr, range(0x1_FFFF))
        if unicodedata.normalize("NFKD", character.casefold()) != character
        and not "가" < character <= "힣"  # Hangul: eleven thousand, all composed alike
    ]
    assert len(characters) > 5_000
    for character in characters:
        for text in (character, f"i{character}", f"I{character}\u0307"):
            once = folded(text)
            assert folded(once) == once, ascii(text)
        forms = {folded(unicodedata.normalize(form, character)) for form in ("NFC", "NFD", "NFKD")}
        assert forms == {folded(character)}, ascii(character)


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("tea", [], None),
        ("tea", ["cup"], None),
        ("tea", ["cup", "tea"], "tea"),
        ("tea", ["TEA"], "TEA"),
        ("tea", ["Tea", "tea", "TEA"], "tea"),
        ("tEA", ["Tea", "tea"], None),
        ("te\u00ada", ["Tea", "tea"], None),
    ],
)
def test_a_name_stands_for_the_one_that_has_it_or_else_for_the_only_one_alike(
    name: str, known: list[str], found: str | None
) -> None:
    assert the_one_called(name, known, str) == found


def test_what_is_counted_is_one_or_several() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1_000)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "1,000 rows",
    ]
    assert counted(1, "was", "were") == "1 was"
    assert counted(3, "was", "were") == "3 were"
