"""A reader's shell: blocks of a page, run in a folder, with the `shop` command at hand."""

import os
import subprocess
import sys
from pathlib import Path

from tests.concurrency.servers import environment
from tests.e2e.shops import NO_SETTINGS


def run(script: str, folder: Path, *programs: Path, **variables: str) -> str:
    """What it prints; it must succeed, in each of its commands. `programs` are folders of such."""
    folders = [*programs, Path(sys.executable).parent, os.environ["PATH"]]
    path = os.pathsep.join(map(str, folders))
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment("", NO_SETTINGS) | {"PATH": path} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
