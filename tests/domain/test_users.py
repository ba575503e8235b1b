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
    normal_username,
)
from tests.builders import NOON, customer, staff


@pytest.mark.parametrize("name", ["anna", "Anna.B+c@d-e_f", "Ünal", "anna1", "x" * 150])
def test_a_name_is_made_of_word_characters_and_a_few_signs(name: str) -> None:
    assert clean_username(name) == name


@pytest.mark.parametrize("name", ["", " ", "an na", "a/b", "a\n", "a\x00", "\ud800", "x" * 151])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidField) as refused:
        clean_username(name)
    assert refused.value.context["errors"][0]["field"] == "username"


def test_names_that_look_the_same_are_the_same() -> None:
    assert clean_username("ａｎｎａ") == normal_username("ａｎｎａ") == "anna"  # noqa: RUF001
    assert clean_username("e\u0301va") == normal_username("éva") == "éva"


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
@pytest.mark.parametrize("character", [" ", "x", "\x00", "\n", "🔑"])
def test_a_password_may_be_anything_of_its_length(length: int, character: str) -> None:
    check(character * length)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "characters"),
        ("x" * (PASSWORD_LENGTH_MIN - 1), "characters"),
        ("x" * (PASSWORD_LENGTH_MAX + 1), "characters"),
        ("long enough \ud800", "UTF-8"),
        ("Annabella@Example.org", "user name"),
        ("password1", "common"),
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
