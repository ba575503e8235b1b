"""`make audit`, with a stand-in for what it asks: what it says and how it ends."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OFFLINE = "Nothing was checked: api.osv.dev, which knows the holes, cannot be reached from here.\n"

FOUND = "Found 1 known vulnerability in 1 package\nName Version ID\npyjwt 1.0 CVE-2022-29217\n"
NO_NAME = "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'\n"
NO_PROXY = "requests.exceptions.ProxyError: Max retries exceeded with url: /v1/query\n"
NO_TIME = "requests.exceptions.ReadTimeout: Read timed out. (read timeout=15)\n"
UNKNOWN = "ERROR:pip_audit._cli:x: could not be audited: x (1)\n"
CLEAN = "No known vulnerabilities found\n"


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    ("report", "code", "out", "err"),
    [
        (CLEAN, 0, CLEAN, ""),
        (FOUND, 1, "", FOUND),
        (UNKNOWN, 1, "", UNKNOWN),
        (NO_NAME, 1, "", OFFLINE),
        (NO_PROXY, 1, "", OFFLINE),
        (NO_TIME, 1, "", OFFLINE),
    ],
    ids=["clean", "found", "unknown", "no name", "no proxy", "no time"],
)
def test_it_says_what_it_found_or_that_it_found_nobody_to_ask(
    report: str, code: int, out: str, err: str, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / ".installed").touch()
    (tmp_path / "report").write_text(report)
    script = tmp_path / "bin" / "pip-audit"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--require-hashes*--strict*) ;; *) exit 99 ;; esac\n'
        f"cat {tmp_path}/report >&{2 if code else 1}\nexit {code}\n"
    )
    script.chmod(0o755)
    asked = subprocess.run(
        ["make", "--silent", "audit", f"VENV={tmp_path}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.stdout == out
    assert asked.stderr.partition("make: ***")[0] == err
    assert (asked.returncode != 0) == bool(code)
