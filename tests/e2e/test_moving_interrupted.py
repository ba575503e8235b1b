"""`kill -9` of an export or an import, wherever it is: nothing half is ever taken for whole."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.concurrency.servers import environment, shop_command
from tests.e2e.shops import NO_SETTINGS

PRODUCTS = 3_000


def shop(folder: Path, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shop_command(*arguments),
        cwd=folder,
        env=_environment(url),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def kill_at(folder: Path, line: str, *arguments: str, url: str = "") -> None:
    """Start a command, and end it with no chance to do anything once it has said this."""
    with subprocess.Popen(
        shop_command(*arguments),
        cwd=folder,
        env=_environment(url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for said_now in process.stderr:
            said.append(said_now)
            if re.search(line, said_now):
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail(f"it has never said {line}: {said}")
    assert process.returncode == -signal.SIGKILL


def _environment(url: str) -> dict[str, str]:
    return environment("", NO_SETTINGS | {"SHOP_DATABASE_URL": url})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop large enough for its export to be told of in several lines; and that, in `out`."""
    folder = tmp_path_factory.mktemp("source")
    for arguments in (["demo"], ["add-products", f"--count={PRODUCTS}"], ["export", "out"]):
        ran = shop(folder, *arguments)
        assert ran.returncode == 0, ran.stderr
    return folder


def test_an_export_that_is_killed_is_none(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    kill_at(source, "rows exported", "export", str(out))
    assert list(out.iterdir())
    assert not (out / "manifest.json").exists()
    for command in ("export", "import"):
        refused = shop(source, command, str(out))
        assert refused.returncode == 1
        assert "delete it" in refused.stderr or "no whole export" in refused.stderr
    shutil.rmtree(out)
    assert shop(source, "export", str(out)).returncode == 0
    for file in (source / "out").iterdir():
        if file.name != "manifest.json":
            assert (out / file.name).read_bytes() == file.read_bytes()


@pytest.mark.long
# The last of each stage is just before what follows it, which may be the commit.
@pytest.mark.parametrize(
    "moment", ["checked", "written", "[6-9][0-9]{3} of .* written", r"(\d+) of \1 rows compared"]
)
def test_an_import_that_is_killed_leaves_nothing_or_all_and_is_run_again(
    source: Path, tmp_path: Path, sql_url: str, moment: str
) -> None:
    out = str(source / "out")
    kill_at(tmp_path, moment, "import", out, url=sql_url)
    listed = shop(tmp_path, "list-users", url=sql_url)
    assert listed.returncode == 0, listed.stderr
    users = listed.stdout.splitlines()[1:]
    assert len(users) in (0, 2)
    again = shop(tmp_path, "import", out, url=sql_url)
    assert again.returncode == 0, again.stderr
    was_there = "The shop has all of this export already: nothing was done." in again.stdout
    assert was_there == bool(users)
    assert "The ledger agrees with the stock and with all orders." in again.stdout
    assert len(shop(tmp_path, "list-users", url=sql_url).stdout.splitlines()) == 3
