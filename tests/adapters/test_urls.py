"""The URL of a database with several servers, as libpq spells it and as SQLAlchemy does."""

import pytest

from shop.adapters.sql.urls import WrongUrl, parse_url

START = "postgresql+asyncpg://"


def hosts_of(url: str) -> tuple[object, object]:
    """What the driver is given."""
    parsed = parse_url(url)
    _, options = parsed.get_dialect()().create_connect_args(parsed)
    return options.get("host"), options.get("port")


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("one:5433,two:5434/shop", ["one", "two"], [5433, 5434]),
        ("shop@one,two:5434/shop", ["one", "two"], [5432, 5434]),
        ("shop:secret@one:1,two:2,three:3/shop?ssl=require", ["one", "two", "three"], [1, 2, 3]),
        ("shop:a,b:c/d?e@one:1,two:2/shop", ["one", "two"], [1, 2]),
        ("shop@[2001:db8::1]:5433,[::1]/shop", ["2001:db8::1", "::1"], [5433, 5432]),
        ("shop@/shop?host=one:1&host=two:2", ["one", "two"], [1, 2]),
        ("shop@one:5433/shop", "one", 5433),
        ("shop:a,b@one/shop", "one", None),
        ("shop@/shop?host=/run/postgresql", "/run/postgresql", None),
    ],
)
def test_hosts_are_taken_in_either_form(url: str, hosts: object, ports: object) -> None:
    assert hosts_of(START + url) == (hosts, ports)


def test_user_password_database_and_options_stay() -> None:
    url = parse_url(START + "shop:a,%40b@one:1,two:2/orders?target_session_attrs=primary")
    assert (url.username, url.password, url.database) == ("shop", "a,@b", "orders")
    assert url.query["target_session_attrs"] == "primary"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shop:secret@one:1,two:port/shop", "name:port"),
        ("shop:secret@one:1,/shop", "name:port"),
        ("shop:secret@one:1,::1/shop", "name:port"),
        ("shop:secret@/shop?host=one:1&host=two", "needs a port"),
        ("shop:secret@one/shop?target_session_attrs=master", "target_session_attrs must be"),
    ],
)
def test_a_wrong_one_is_told_without_its_password(url: str, words: str) -> None:
    with pytest.raises(WrongUrl, match=words) as refused:
        parse_url(START + url)
    assert "secret" not in str(refused.value)
