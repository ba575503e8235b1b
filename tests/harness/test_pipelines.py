"""What runs at GitHub: valid, without rights that it does not need, and nothing but `make`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))

# Who may do more than read the source, and what.
RIGHTS = {
    ("release.yml", "image"): {"attestations", "id-token"},
    ("release.yml", "deploy"): {"id-token"},
}
# What a step may run but `make`: setting up a machine, and handing on what `make` wrote.
OTHERS = {"sudo apt-get update", 'cat var/image.env >> "$GITHUB_OUTPUT"'}
INSTALL = "sudo apt-get install --yes --no-install-recommends "


def tool(*command: str | Path) -> str:
    """What it has to say; nothing that fails is let pass."""
    program = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> Any:
    # The words of YAML 1.1 would make `on` a truth value.
    return yaml.load(request.param.read_text(), yaml.BaseLoader) | {"file": request.param.name}  # noqa: S506


def steps(workflow: Any) -> Iterator[Any]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(workflow: Any) -> Iterator[str]:
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            yield from (command.strip() for command in line.split("&&"))


def test_there_is_one_for_changes_one_for_nights_and_one_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["nightly.yml", "pull-request.yml", "release.yml"]


def test_they_are_valid() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


def test_an_auditor_finds_nothing() -> None:
    tool("zizmor", "--offline", "--no-progress", "--persona", "auditor", *WORKFLOWS)


def test_actions_of_others_are_pinned_by_digest_and_each_to_one_version() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "uses:" in line:
                used = re.search(r"uses: ([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)$", line)
                assert used, f"{path.name}: {line.strip()}"
                pins.setdefault(used[1], set()).add(used[2])
    assert pins
    assert not {action: found for action, found in pins.items() if len(found) > 1}


def test_jobs_have_no_rights_but_those_named_and_an_end(workflow: Any) -> None:
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        writes = {right for right, kind in job["permissions"].items() if kind != "read"}
        assert writes == RIGHTS.get((workflow["file"], name), set()), name
        assert 0 < int(job["timeout-minutes"]) < 360
        # Who deploys or pushes is approved by the rules of an environment.
        assert bool(writes) == ("environment" in job), name


def test_nothing_is_released_but_what_was_checked() -> None:
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert (release["image"]["needs"], release["deploy"]["needs"]) == ("check", "image")
    assert release["deploy"]["environment"] == "production"


def test_steps_run_commands_of_the_makefile_and_nothing_else(workflow: Any) -> None:
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^([a-z][\w./-]*):(?!=)", makefile, re.MULTILINE))
    for command in commands(workflow):
        words = command.removeprefix("sudo ").split()
        if words[0] == "make":
            for target in targets(words[1], workflow):
                assert target in known, f"{target} is no command of the Makefile"
        else:
            assert command in OTHERS or command.startswith(INSTALL), command


def targets(word: str, workflow: Any) -> list[str]:
    """Which commands a word may stand for."""
    if word == '"deploy/$DEPLOY_TO"':
        return ["deploy/ecs", "deploy/kubernetes"]
    if word == '"$COMMAND"':
        named: list[str] = workflow["jobs"]["make"]["strategy"]["matrix"]["command"]
        return named
    return [word]


def test_every_python_is_tested() -> None:
    checks = yaml.safe_load((ROOT / ".github/workflows/pull-request.yml").read_text())["jobs"]
    tested = checks["test"]["strategy"]["matrix"]["python"]
    makefile = (ROOT / "Makefile").read_text()
    [pythons] = re.findall(r"^PYTHONS \?= (.*)$", makefile, re.MULTILINE)
    assert [f"python{version}" for version in tested] == pythons.split()
