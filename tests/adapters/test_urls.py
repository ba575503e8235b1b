"""The URL of a database: several servers, and options, as libpq spells them and as the driver does.

What is wrong in one is in `tests/entrypoints/test_mistakes.py`.
"""

from pathlib import Path
from urllib.parse import parse_qsl, quote_plus, urlsplit

import pytest
from sqlalchemy import text

from shop.adapters.sql.engine import DatabaseOptions, create_engines
from shop.adapters.sql.urls import WrongUrl, parse_url, place_of, split_options

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
        ("shop@/shop?host=db_1:1&host=db_2:2", ["db_1", "db_2"], [1, 2]),
        ("shop@/shop?host=one:1", "one", 1),
        ("shop@/shop?host=db_1:1", "db_1", 1),
        ("shop@/shop?host=db_1&port=1", "db_1", 1),
        ("shop@/shop?host=[::1]:1", "::1", 1),
        ("shop@/shop?host=[::1]", "::1", None),
        ("shop@/shop?host=::1&port=1", "::1", 1),
        ("shop@/shop?host=/run/a:1", "/run/a:1", None),
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
        ("shop:secret@/shop?host=one:1,two:2", "needs a port"),
        ("shop:secret@/shop?host=one:port", "name:port"),
        ("shop:secret@/shop?host=one:", "name:port"),
        ("shop:secret@/shop?host=one:1&port=2", "with one port"),
        ("shop:secret@one/shop?target_session_attrs=master", "target_session_attrs must be"),
    ],
)
def test_a_wrong_one_is_told_without_its_password(url: str, words: str) -> None:
    with pytest.raises(WrongUrl, match=words) as refused:
        parse_url(START + url)
    assert "secret" not in str(refused.value)


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    path = tmp_path / "root & all.crt"
    path.touch()
    return str(path)


def test_options_of_libpq_become_those_of_the_driver(certificate: str) -> None:
    of_tls = f"sslrootcert={quote_plus(certificate)}&ssl_min_protocol_version=TLSv1.3"
    of_server = "application_name=till%201&options=-csearch_path%3Dshop"
    of_driver = "sslmode=verify-full&connect_timeout=7&target_session_attrs=any"
    url, options = split_options(parse_url(f"{START}u@db/shop?{of_driver}&{of_tls}&{of_server}"))
    assert dict(url.query) == {"target_session_attrs": "any"}
    dsn = urlsplit(options.pop("dsn"))
    assert (dsn.scheme, dsn.netloc, dsn.path) == ("postgresql", "", "")
    assert dict(parse_qsl(dsn.query)) == {
        "sslrootcert": certificate,
        "ssl_min_protocol_version": "TLSv1.3",
    }
    assert options == {
        "ssl": "verify-full",
        "timeout": 7.0,
        "server_settings": {"application_name": "till 1", "options": "-csearch_path=shop"},
    }


def test_other_urls_are_handed_on_as_they_are() -> None:
    url = parse_url(f"{START}u@/shop?host=one:1&host=two:2&ssl=require&user=x&passfile=/dev/null")
    assert split_options(url) == (url, {})


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"{START}u:secret@db:5433/shop", "the database 'shop' at db:5433"),
        (f"{START}u:secret@db/shop", "the database 'shop' at db:5432"),
        (f"{START}u:secret@one,two:1/shop", "the database 'shop' at one:5432, two:1"),
        (f"{START}u:secret@/shop?host=/run/x", "the database 'shop' at /run/x:5432"),
        (f"{START}db/?user=u&password=secret&dbname=shop", "the database 'shop' at db:5432"),
        (f"{START}u:secret@[::1]/shop", "the database 'shop' at [::1]:5432"),
        (f"{START}/shop", "the database 'shop' at PostgreSQL's usual address"),
        ("sqlite+aiosqlite:////srv/shop.sqlite3", "/srv/shop.sqlite3"),
    ],
)
def test_where_a_database_is_can_be_said_without_the_password(url: str, place: str) -> None:
    assert place_of(parse_url(url)) == place


async def test_a_server_is_told_what_the_url_says_of_the_application(postgresql_url: str) -> None:
    """The URL has the last word over the settings, and the shop's own limits stay."""
    separator = "&" if "?" in postgresql_url else "?"
    url = f"{postgresql_url}{separator}application_name=till&options=-cwork_mem%3D5MB"
    engines = create_engines(url, DatabaseOptions(application_name="shop", lock_timeout=3.5))
    try:
        async with engines.write.connect() as connection:
            for setting, value in {
                "application_name": "till",
                "work_mem": "5MB",
                "lock_timeout": "3500ms",
            }.items():
                assert await connection.scalar(text(f"SHOW {setting}")) == value
    finally:
        await engines.dispose()
