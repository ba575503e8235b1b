"""Entity tags: lists of them, weak ones, those that a proxy has changed, and what is none."""

import pytest

from shop.entrypoints.http.api.etags import if_none_match_in, is_known, tag_of, versions_in

TAG = '"3-17"'


@pytest.mark.parametrize(
    "header",
    [
        *(TAG, f"W/{TAG}", f"  {TAG} ", "*", " * ", f'"a", {TAG}', f'{TAG},"a"', f'"a,b" , {TAG}'),
        *('"3-17-gzip"', '"3-17--gzip"', 'W/"3-17-br"', '"3-17;gzip"', f'"",,{TAG}'),
        f'"\xe9",{TAG}',
    ],
)
def test_a_known_tag_is_found(header: str) -> None:
    assert is_known(TAG, header)


@pytest.mark.parametrize(
    "header",
    [
        *("", "3-17", '"3-1"', '"13-17"', '"3-170"', f"x{TAG}", f"{TAG}x", '"3-17', '3-17"'),
        *('w/"3-17"', f'"a" {TAG}', f'"{TAG}"', "**", '*, "a"', '"3-17-zip"', '"', '"' * 20_000),
    ],
)
def test_what_only_looks_like_it_is_not(header: str) -> None:
    assert not is_known(TAG, header)
    assert not is_known(TAG, None)


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        *((None, None), ("*", None), ("", set()), ("nonsense", set()), ('"x"', set())),
        *(('"3"', {3}), ('"3-17", W/"4"', {3, 4}), ('"3-gzip"', {3})),
        ('"' + "9" * 30 + '"', set()),
    ],
)
def test_if_match_names_versions(header: str | None, versions: set[int] | None) -> None:
    assert versions_in(header) == versions


def test_what_was_sent_several_times_is_one_list() -> None:
    sent = [(b"if-none-match", b'"a"'), (b"host", b"x"), (b"if-none-match", TAG.encode())]
    assert is_known(TAG, if_none_match_in(sent))
    assert if_none_match_in([(b"host", b"x")]) is None


def test_the_same_bytes_have_the_same_tag() -> None:
    assert tag_of(b"a") == tag_of(b"a") != tag_of(b"b")
