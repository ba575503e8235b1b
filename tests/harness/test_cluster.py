"""What docs/scale.md tells operators to write is what the cluster of the tests runs with."""

import re
from pathlib import Path

import pytest
import yaml

from tests.cluster.cluster import DCS, HAPROXY, OWNER, PGBOUNCER, RIGHTS, SELLER
from tests.cluster.hosts import missing_network

SCALE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()


def block(name: str) -> str:
    """The one below that mark."""
    found = re.search(rf"<!-- as in the suite: {name} -->\n```\w*\n(.*?)```", SCALE, re.DOTALL)
    assert found is not None, name
    return found[1]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_patroni_is_set_up_as_the_page_says() -> None:
    said = yaml.safe_load(block("patroni"))["bootstrap"]["dcs"]
    said_of_postgresql = said.pop("postgresql")
    suite = dict(DCS)
    of_postgresql = suite.pop("postgresql")
    assert said == suite
    assert isinstance(of_postgresql, dict)
    assert said_of_postgresql["use_pg_rewind"] is of_postgresql["use_pg_rewind"]
    assert said_of_postgresql["parameters"].items() <= of_postgresql["parameters"].items()


def test_haproxy_is_set_up_as_the_page_says() -> None:
    of_this_machine = ("bind ", "server ")
    said = [line for line in lines(block("haproxy")) if not line.startswith(of_this_machine)]
    suite = lines(HAPROXY.partition("listen keeping")[0])
    assert said == [
        line for line in suite if not line.startswith((*of_this_machine, "global", "maxconn", "{"))
    ]


def test_pgbouncer_is_set_up_as_the_page_says() -> None:
    assert set(lines(block("pgbouncer"))) <= set(lines(PGBOUNCER))


def test_users_have_the_rights_that_the_page_says() -> None:
    said = block("rights").replace("shop_owner", OWNER).replace("shop_seller", SELLER)
    assert [line.rstrip(";") for line in lines(said) if line.startswith("ALTER")] == list(RIGHTS)


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "sudo make test-cluster" in (missing_network() or "")
