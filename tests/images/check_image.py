"""The image `prod`: small, without tools, the same each time, and serving with no rights at all."""

import http.client
import json
import os
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.images.conftest import PROD
from tests.images.engine import ROOT, Engine

OVER_BASE_MAX = 150_000_000
SECRET = "0123456789abcdef0123456789abcdef"
LOCKED_DOWN = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--init"]


def test_it_is_under_150_mb_over_its_base(images: Engine) -> None:
    over_base = images.image(PROD)["Size"] - images.image(images.base_image())["Size"]
    largest = _largest_packages(images)
    print(f"\n{over_base / 1e6:.0f} MB over the base, of which (MB): {largest}")  # noqa: T201
    assert over_base < OVER_BASE_MAX


def _largest_packages(images: Engine) -> str:
    with images.mounted(PROD) as root:
        [site] = root.glob("venv/lib/python3*/site-packages")
        sizes = {
            package.name: sum(file.lstat().st_size for file in package.rglob("*"))
            for package in site.iterdir()
        }
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:12]
    return ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest)


def test_it_has_no_compiler_and_no_pip(images: Engine) -> None:
    tools = {"pip", "gcc", "cc", "g++", "clang", "make", "ld", "cargo", "rustc", "hatchling", "uv"}
    found = []
    with images.mounted(PROD) as root:
        for folder, folders, files in os.walk(root):
            found += [f"{folder}/{name}" for name in (*folders, *files) if _tool(name) in tools]
            assert "ensurepip" not in folders
        assert list(root.glob("venv/bin/shop"))
    assert [path for path in found if "/bin/" in path or "-packages/" in path] == []


def _tool(name: str) -> str:
    """`pip` for `pip`, `pip3`, `pip3.11` and `pip-23.0.1.dist-info`."""
    return name.partition("-")[0].rstrip("0123456789.")


def test_every_compiled_file_is_checked_by_nothing_and_needs_no_date(images: Engine) -> None:
    """A date would differ from build to build; without compiled files each start compiles anew."""
    with images.mounted(PROD) as root:
        compiled = list(root.glob("venv/lib/**/*.pyc"))
        flags = {int.from_bytes(file.read_bytes()[4:8], "little") for file in compiled}
        [shop] = root.glob("venv/lib/python3*/site-packages/shop")
        sources = [file for file in shop.rglob("*.py") if file.parent.name != "__pycache__"]
        assert len(list(shop.rglob("*.pyc"))) == len(sources)
    assert flags == {0b01}


def test_the_same_lock_makes_the_same_layers(images: Engine) -> None:
    images.build("localhost/shop:again", options=["--target", "prod"])
    first, second = (
        images.image(tag)["RootFS"]["Layers"] for tag in (PROD, "localhost/shop:again")
    )
    assert first == second
    images.podman("rmi", "localhost/shop:again")


def test_it_says_what_it_is(images: Engine) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config = images.image(PROD)["Config"]
    labels = {
        name.removeprefix("org.opencontainers.image."): text
        for name, text in config["Labels"].items()
    }
    assert labels["title"] == project["name"]
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert labels["description"]
    assert labels["revision"]
    assert config["User"] == "65534:65534"
    assert config["Entrypoint"] == ["shop"]


@pytest.fixture
def shop(images: Engine) -> Iterator[int]:
    """The port of a shop over SQLite, which may write to `/data` and `/tmp` alone."""
    images.run(
        *("--detach", "--name=shop", "--publish=127.0.0.1::8000", *LOCKED_DOWN),
        *("--volume=shop-data:/data", "--tmpfs=/tmp"),
        *(
            f"--env=SHOP_SECRET_KEY={SECRET}",
            "--env=SHOP_DATABASE_URL=sqlite+aiosqlite:///var/shop.sqlite3",
        ),
        PROD,
    )
    try:
        yield int(images.podman("port", "shop", "8000").rpartition(":")[2])
    finally:
        images.podman("rm", "--force", "--time=0", "shop", check=False)
        images.podman("volume", "rm", "shop-data", check=False)


def get(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def wait_until_ready(images: Engine, port: int) -> None:
    give_up_at = time.monotonic() + 60
    while True:
        try:
            if get(port, "/health/ready")[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < give_up_at, images.podman("logs", "shop", check=False)
        time.sleep(0.2)


def test_it_serves_read_only_without_rights_and_stops_by_itself(images: Engine, shop: int) -> None:
    wait_until_ready(images, shop)
    assert (
        images.podman("exec", "shop", "python", "-c", "import os; print(os.getuid())") == "65534\n"
    )
    for place in ("/venv/x", "/x", "/etc/x"):
        write = f"open({place!r}, 'w')"
        assert "OSError" in images.podman(
            "exec", "shop", "sh", "-c", f'python -c "{write}" 2>&1 || true'
        )

    # What was left out of the image is missed by none of these.
    status, document = get(shop, "/openapi.json")
    assert (status, json.loads(document)["info"]["title"]) == (200, "Shop")
    for path in ("/", "/docs", "/docs/assets/swagger-ui-bundle.js", "/docs/assets/swagger-ui.css"):
        assert get(shop, path)[0] == 200, path
    assert get(shop, "/metrics")[0] == 200
    images.podman("exec", "shop", "shop", "add-products", "--count", "5")
    assert len(json.loads(images.podman("exec", "shop", "shop", "products", "list", "--json"))) == 5

    images.podman("healthcheck", "run", "shop")
    images.podman("stop", "--time", "40", "shop")
    state = json.loads(images.podman("inspect", "shop"))[0]["State"]
    assert state["ExitCode"] == 0


def test_the_health_check_fails_where_nobody_listens(images: Engine) -> None:
    command = images.image(PROD)["Healthcheck"]["Test"]
    assert command[0] == "CMD"
    with pytest.raises(RuntimeError):
        images.run("--rm", "--entrypoint", command[1], PROD, *command[2:])


def test_it_asks_for_a_secret_in_production(images: Engine) -> None:
    with pytest.raises(RuntimeError, match="SHOP_SECRET_KEY is not set"):
        images.run("--rm", *LOCKED_DOWN, PROD)


def test_every_package_can_be_imported(images: Engine) -> None:
    """Also what serving imports late: what tells errors and traces to others, and migrations."""
    modules = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in sorted((ROOT / "src" / "shop").rglob("*.py"))
        if path.name != "__init__.py"
        and Path("migrations") not in path.parents
        and "migrations" not in path.parts
    ]
    late = ["sentry_sdk", "structlog", "opentelemetry.sdk.trace", "alembic.command"]
    late += ["opentelemetry.exporter.otlp.proto.http.trace_exporter"]
    script = f"import importlib\nfor name in {modules + late}: importlib.import_module(name)"
    images.run("--rm", *LOCKED_DOWN, "--tmpfs=/tmp", "--entrypoint=python", PROD, "-c", script)
