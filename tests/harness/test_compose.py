"""docker-compose.yml: understood by every Compose it names, and everything it mounts is there."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from shop.entrypoints.settings import load_settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SECRETS = ("POSTGRES_PASSWORD", "SHOP_SECRET_KEY", "REPLICATION_PASSWORD", "GRAFANA_PASSWORD")
OURS = {"migrate", "web", "web-1", "web-2", "unittest", "dev"}
# PostgreSQL makes its folders its own before it gives its rights up.
MAY_WRITE = {"db", "replica", "unittest", "dev"}


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
    return found


def test_it_is_what_the_specification_of_compose_files_says() -> None:
    program = Path(sys.executable).parent / "check-jsonschema"
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_no_image_is_whatever_is_newest_today() -> None:
    for name, service in services().items():
        image = re.sub(r"\$\{\w+:-(.*)\}", r"\1", service["image"])
        if name in OURS:
            assert image.startswith("shop:")
        else:
            assert re.search(r":v?[0-9]+\.[0-9]+", image), image


def test_what_is_mounted_is_there() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source


def test_services_have_no_rights_and_bounds() -> None:
    for name, service in services().items():
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service.get("read_only", False) or name in MAY_WRITE, name
        assert service.get("cap_drop") == ["ALL"] or name in MAY_WRITE, name
        assert "mem_limit" in service or name in MAY_WRITE, name


def test_only_this_machine_reaches_what_is_published() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert published
    assert all(re.match(r"\$\{\w+:-127\.0\.0\.1:\d+\}:\d+$", port) for port in published)


def test_no_secret_is_written_out_or_has_a_default() -> None:
    for name, default in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)(:?[-?])", FILE.read_text()):
        assert default in (":?", ":-"), name
    text = FILE.read_text()
    for name in SECRETS:
        assert f"${{{name}:?" in text
        assert not re.search(rf"\$\{{{name}:-[^}}]", text)
        assert re.search(rf"\b{name}\b", (ROOT / "Makefile").read_text())


def test_what_the_servers_are_told_are_settings_of_the_shop() -> None:
    for name in ("web", "web-1", "web-2", "migrate"):
        given = services()[name]["environment"]
        variables = {
            variable: re.sub(r"\$\{\w+:[^}]*\}", "0123456789abcdef" * 3, value)
            for variable, value in given.items()
        }
        settings = load_settings(variables)
        assert settings.environment == "production"
        assert settings.database_pgbouncer is ("pgbouncer:6432" in settings.database_url)
