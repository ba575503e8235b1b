"""The blocks of the page on one host that need no root."""

import re
import stat
from pathlib import Path

from shop.entrypoints.http.api.bulk import ROWS_BODY_MAX
from shop.entrypoints.settings import load_settings
from tests.documents.pages import DOCS, named
from tests.documents.shells import run

PAGE = DOCS / "how-to" / "one-host.md"


def test_a_shop_is_set_up_for_production(tmp_path: Path) -> None:
    [settings] = named(PAGE, "settings")
    [database] = named(PAGE, "database")
    run(settings, tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    # Else the environment would win: that of the tests has what makes them fast.
    unset = "unset ${!SHOP_@}\n"
    said = run(unset + database, tmp_path, PASSWORD="correct horse battery staple")
    assert "danger" not in said
    lines = (tmp_path / ".env").read_text().splitlines()
    loaded = load_settings(dict(line.split("=", 1) for line in lines))
    assert loaded.environment == "production"
    assert len(loaded.secret_key) == 64


def test_proxies_close_their_connections_before_the_shop_does() -> None:
    text = PAGE.read_text()
    kept = load_settings({}).keep_alive_timeout
    for seconds in re.findall(r"keepalive(?:_timeout)? (\d+)s", text):
        assert int(seconds) < kept
    [deadline] = re.findall(r"proxy_read_timeout (\d+)s", text)
    assert int(deadline) > load_settings({}).request_deadline
    assert f"client_max_body_size {load_settings({}).body_max // 1024}k" in text
    assert f"client_max_body_size {ROWS_BODY_MAX // 1024**2}m" in text
