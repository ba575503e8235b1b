"""Users: names people can be told apart by, passwords worth the name."""

import pytest

from shop.domain.errors import InvalidField
from shop.domain.users import (
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    Role,
    User,
    check_password,
    clean_username,
    normal_password,
    normal_username,
    password_forms,
)
from tests.builders import NOON, customer, staff


@pytest.mark.parametrize("name", ["anna", "Anna.B+c@d-e_f", "Ünal", "anna1", "x" * 150])
def test_a_name_is_made_of_word_characters_and_a_few_signs(name: str) -> None:
    assert clean_username(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", "an na", "a/b", "a\nb", "a\x00", "\ud800", "x" * 151, "\u3164"]
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        clean_username(name)
    assert refused.value.context["errors"][0]["field"] == "username"


def test_names_that_look_the_same_are_the_same() -> None:
    assert clean_username("ａｎｎａ") == normal_username("ａｎｎａ") == "anna"  # noqa: RUF001
    assert clean_username("e\u0301va") == normal_username("éva") == "éva"


@pytest.mark.parametrize("typed", [" anna", "anna\n", "\u00a0anna\t"])
def test_blanks_around_a_name_are_not_part_of_it(typed: str) -> None:
    assert clean_username(typed) == normal_username(typed) == "anna"


@pytest.mark.parametrize("name", ["anna", "Anna.B+c@d-e_f", "Ünal"])
def test_a_stored_name_is_looked_up_as_it_is(name: str) -> None:
    assert normal_username(name) == name


@pytest.mark.parametrize("name", ["an\x00na", "an na", "anna\ud800", "' OR 1=1"])
def test_what_no_name_has_never_reaches_a_query(name: str) -> None:
    looked_up = normal_username(name)
    with pytest.raises(InvalidField):
        clean_username(looked_up)
    looked_up.encode()


def check(password: str, *, username: str = "anna") -> None:
    check_password(password, username=username, is_common=lambda word: word == "password1")


@pytest.mark.parametrize("length", [PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX])
@pytest.mark.parametrize("characters", ["y z", "xy", "a\x00", "a\nb", "🔑y"])
def test_a_password_may_be_anything_of_its_length(length: int, characters: str) -> None:
    check((characters * length)[:length])


def test_a_password_is_hashed_in_one_form_and_older_hashes_are_of_what_was_typed() -> None:
    typed = "ｇｅｈｅｉｍ-cafe\u0301"  # noqa: RUF001
    assert check_password(typed, username="anna", is_common=lambda _: False) == "geheim-café"
    assert password_forms(typed) == ("geheim-café", typed)
    assert password_forms("geheim-café") == ("geheim-café",)
    assert normal_password(typed) == "geheim-café"


def test_the_length_of_a_password_is_that_of_what_is_hashed() -> None:
    with pytest.raises(InvalidField, match="characters"):
        check("e\u0301" * (PASSWORD_LENGTH_MIN - 1))
    with pytest.raises(InvalidField, match="characters"):
        check("ﷺ" * (PASSWORD_LENGTH_MAX // 2))


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "characters"),
        ("x" * (PASSWORD_LENGTH_MIN - 1), "characters"),
        ("x" * (PASSWORD_LENGTH_MAX + 1), "characters"),
        ("long enough \ud800", "UTF-8"),
        ("Annabella@Example.org", "user name"),
        ("ANNABELLA@example.org", "user name"),
        ("password1", "common"),
        ("PassWord1", "common"),
        ("ｐａｓｓｗｏｒｄ1", "common"),  # noqa: RUF001
        (" password1 ", "common"),
        (" " * 8, "one character"),
        ("\u00a0\u3000" * 4, "one character"),
        ("a" * 8, "one character"),
        ("aA" * 128, "one character"),
        ("a a a a a", "one character"),
        ("\u200b" * 8, "one character"),
    ],
)
def test_a_password_that_is_no_good_is_refused_with_the_reason(password: str, words: str) -> None:
    with pytest.raises(InvalidField, match=words) as refused:
        check(password, username="annabella@example.org")
    assert refused.value.context["errors"][0]["field"] == "password"


def test_a_refused_password_is_named_by_the_field_it_came_in() -> None:
    with pytest.raises(InvalidField) as refused:
        check_password("short", username="anna", is_common=lambda _: False, field="new")
    assert refused.value.context["errors"][0]["field"] == "new"
    assert "short" not in str(refused.value)


def test_a_user_does_not_show_the_hash() -> None:
    user = User(
        id=1,
        username="anna",
        password_hash="$argon2id$secret",
        role=Role.CUSTOMER,
        disabled=False,
        created_at=NOON,
    )
    assert "argon2" not in repr(user)


def test_only_staff_is_staff() -> None:
    assert staff().is_staff
    assert not customer().is_staff
