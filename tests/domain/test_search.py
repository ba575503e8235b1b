"""What is looked in, and what is looked for."""
# ruff: noqa: RUF001 - letters that look alike are what this is about

import pytest

from shop.domain.search import search_terms, search_text


@pytest.mark.parametrize(
    ("search", "terms"),
    [
        ("", ()),
        ("  \u200b ", ()),
        ("Tea", ("tea",)),
        ("tea TEA", ("tea",)),
        ("tea teapot pot", ("teapot",)),
        ("a", ("  a",)),
        ("ab a", ("  ab",)),
        ("% pot", ("  %", "pot")),
        ("ﬁ", ("  fi",)),
        ("ß", ("  ss",)),
        ("kettle tea", ("kettle", "tea")),
    ],
)
def test_every_word_is_a_term_that_no_other_includes(search: str, terms: tuple[str, ...]) -> None:
    assert search_terms(search) == terms


@pytest.mark.parametrize(
    ("text", "found", "not_found"),
    [
        ("Teapot", ["tea", "apo", "POT", "t", "te"], ["e", "po", "teapots", "tea pots"]),
        ("apple-pie 100%", ["ple-pie", "pi", "p", "-", "%", "100%", "10"], ["ie", "00", "%1"]),
        ("Crème brûlée", ["crème", "creme", "BRULEE", "br", "brûlée creme"], ["crémé", "rè"]),
        ("straße", ["STRASSE", "strasse", "ass"], ["ss"]),
        ("İstanbul ISPARTA ılık", ["istanbul", "İSTANBUL", "isparta", "ılık"], ["ilik"]),
        ("ΣΊΣΥΦΟΣ", ["σίσυφος", "σισυφος", "σι"], ["υφ"]),
        ("Ёлка", ["ёлка", "елка", "ЁЛ", "ел"], ["лк"]),
        ("緑茶壺セット", ["緑茶壺", "茶壺", "壺", "セット", "ット"], ["茶緑"]),
        ("ガラス", ["ガラス", "ｶﾞﾗｽ", "ラ"], ["カラス"]),
        ("شَاي أخضر", ["شاي", "شَاي", "أخضر", "اخضر"], ["خض"]),
        ("हिन्दी चाय", ["हिन्दी", "चाय", "चा"], ["न्"]),
        ("cafe\u0301 A\u030angström", ["café", "cafe", "ångström", "angstrom"], ["cafè"]),
        ("🫖 pot 👩‍🍳", ["🫖", "👩‍🍳", "🍳"], ["🍵"]),
    ],
)
def test_a_text_is_found_by_its_words(text: str, found: list[str], not_found: list[str]) -> None:
    looked_in = search_text(text)
    for search in found:
        assert all(term in looked_in for term in search_terms(search)), search
    for search in not_found:
        assert not all(term in looked_in for term in search_terms(search)), search


def test_no_word_is_found_across_texts() -> None:
    looked_in = search_text("tea", "pot")
    for search in ("teapot", "apo"):
        assert not all(term in looked_in for term in search_terms(search))


def test_a_word_stands_once_however_often_it_is_said() -> None:
    assert search_text("tea tea", "Tea") == search_text("tea")
