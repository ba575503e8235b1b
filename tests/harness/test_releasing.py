"""The scripts that push and deploy, with commands in place of AWS's and Kubernetes' own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "0a" * 32
REPOSITORY = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/shop"
IMAGE = f"{REPOSITORY}@{DIGEST}"

needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed: apt install jq")

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

# Says of each call what it was asked for; what it answers is in the environment or in a file.
_AWS = """#!/bin/sh
echo "aws $1 $2" >> "$CALLS"
for word; do last=$word; done
case "$2" in
get-login-password) echo a-password ;;
register-task-definition) echo "$last" > "$(mktemp "$CALLS.registered.XXXX")"
    echo "arn:$(echo "$last" | jq -r .family):7" ;;
run-task) echo "$last" > "$CALLS.run"; echo arn:task ;;
describe-tasks) echo "$EXIT_CODE" ;;
describe-services) echo "$SERVING" ;;
esac
"""
_KUBECTL = """#!/bin/sh
echo "kubectl $*" >> "$CALLS"
case "$*" in
kustomize*) echo "      - image: registry.example/shop:0.1.0" ;;
apply*) cat "$3/kustomization.yaml" > "$CALLS.applied" ;;
*"get job"*) echo "$STATE" ;;
esac
"""
_DOCKER = """#!/bin/sh
echo "docker $*" >> "$CALLS"
case "$*" in
login*) cat > "$CALLS.password" ;;
*inspect*) echo "elsewhere/shop@sha256:00"; echo "$PUSHED" ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """The environment of a script that finds these commands first."""
    for name, script in {"aws": _AWS, "kubectl": _KUBECTL, "docker": _DOCKER}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    for name, definition in {
        "task-definition": {"family": "shop", "containerDefinitions": [{"image": "old"}]},
        "migrate-task-definition": {
            "family": "migrate",
            "containerDefinitions": [{"image": "old"}],
        },
        "migrate-run": {"cluster": "c", "taskDefinition": "migrate"},
        "service": {"cluster": "c", "serviceName": "s"},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(definition))
    return {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "ECS": str(tmp_path),
        "IMAGE": IMAGE,
    }


def run(script: str, tools: dict[str, str], **more: str) -> tuple[int, str, list[str]]:
    """Its exit code, what it said of a failure, and what it called."""
    folder = Path(tools["CALLS"]).parent
    done = subprocess.run(
        [ROOT / "deploy" / script], env=tools | more, cwd=folder, capture_output=True, text=True
    )
    calls = Path(tools["CALLS"]).read_text().splitlines()
    return done.returncode, done.stderr, calls


@needs_jq
def test_ecs_serves_an_image_once_its_migrations_ended_well(tools: dict[str, str]) -> None:
    code, said, calls = run("ecs.sh", tools, EXIT_CODE="0", SERVING="arn:shop:7")
    assert (code, said) == (0, "")
    assert calls == [
        "aws ecs register-task-definition",
        "aws ecs run-task",
        "aws ecs wait",
        "aws ecs describe-tasks",
        "aws ecs register-task-definition",
        "aws ecs update-service",
        "aws ecs wait",
        "aws ecs describe-services",
    ]
    folder = Path(tools["CALLS"]).parent
    registered = [json.loads(file.read_text()) for file in folder.glob("calls.registered.*")]
    assert sorted(one["family"] for one in registered) == ["migrate", "shop"]
    assert all(one["containerDefinitions"] == [{"image": IMAGE}] for one in registered)
    assert json.loads((folder / "calls.run").read_text())["taskDefinition"] == "arn:migrate:7"


@needs_jq
@pytest.mark.parametrize("exit_code", ["1", "137", "None"])
def test_ecs_replaces_nothing_if_migrating_failed(tools: dict[str, str], exit_code: str) -> None:
    code, said, calls = run("ecs.sh", tools, EXIT_CODE=exit_code, SERVING="")
    assert code == 1
    assert "Nothing was replaced" in said
    assert "aws ecs update-service" not in calls


@needs_jq
def test_ecs_that_went_back_to_the_old_tasks_is_a_failure(tools: dict[str, str]) -> None:
    code, said, _ = run("ecs.sh", tools, EXIT_CODE="0", SERVING="arn:shop:6")
    assert code == 1
    assert "went back to arn:shop:6" in said


def test_kubernetes_serves_an_image_once_its_migrations_ended_well(tools: dict[str, str]) -> None:
    folder = Path(tools["CALLS"]).parent
    (folder / "overlays/mine").mkdir(parents=True)
    code, said, calls = run(
        "kubernetes.sh", tools, OVERLAY="overlays/mine", STATE="Complete", EKS_CLUSTER="shops"
    )
    assert (code, said) == (0, "")
    assert [call.split(" --")[0] for call in calls] == [
        "aws eks update-kubeconfig",
        "kubectl kustomize overlays/mine",
        "kubectl",
        "kubectl apply",
        "kubectl",
        "kubectl",
    ]
    assert "rollout status deployment/shop" in calls[-1]
    applied = (folder / "calls.applied").read_text()
    assert 'resources: ["../mine"]' in applied
    assert (
        f"name: registry.example/shop\n    newName: {REPOSITORY}\n    digest: {DIGEST}" in applied
    )
    assert list((folder / "overlays").iterdir()) == [folder / "overlays/mine"]


def test_kubernetes_says_that_migrating_failed(tools: dict[str, str]) -> None:
    (Path(tools["CALLS"]).parent / "overlays/mine").mkdir(parents=True)
    code, said, calls = run("kubernetes.sh", tools, OVERLAY="overlays/mine", STATE="Failed")
    assert code == 1
    assert "The migration failed" in said
    assert not any("rollout" in call for call in calls)


def test_pushing_signs_in_to_aws_and_says_under_which_digest(tools: dict[str, str]) -> None:
    code, said, calls = run("push.sh", tools, IMAGE=f"{REPOSITORY}:v0.1.0", PUSHED=IMAGE)
    assert (code, said) == (0, "")
    # These two are the ends of one pipe.
    assert sorted(calls[:2]) == [
        "aws ecr get-login-password",
        f"docker login --username AWS --password-stdin {REPOSITORY.removesuffix('/shop')}",
    ]
    assert calls[2] == f"docker push {REPOSITORY}:v0.1.0"
    folder = Path(tools["CALLS"]).parent
    assert (folder / "calls.password").read_text() == "a-password\n"
    assert (folder / "var/image.env").read_text() == f"image={IMAGE}\ndigest={DIGEST}\n"


def test_other_registries_are_not_aws(tools: dict[str, str]) -> None:
    pushed = f"registry.example/shop@{DIGEST}"
    code, _, calls = run("push.sh", tools, IMAGE="registry.example/shop:1", PUSHED=pushed)
    assert code == 0
    assert calls[0] == "docker push registry.example/shop:1"


@needs_make
@pytest.mark.parametrize("where", ["ecs", "kubernetes"])
def test_only_a_digest_is_deployed(tools: dict[str, str], where: str) -> None:
    done = subprocess.run(
        ["make", f"deploy/{where}", "IMAGE=registry.example/shop:latest"],
        env=tools,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "by its digest" in done.stderr
    assert not Path(tools["CALLS"]).exists()


@needs_make
@pytest.mark.parametrize(
    "tag", ["", "v0.0.9", "0.1.0", 'v"; touch made; "', "v$(shell touch made)"]
)
def test_a_tag_that_is_not_the_version_is_refused(tmp_path: Path, tag: str) -> None:
    done = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "-C", ROOT, "release/check"],
        env=os.environ | {"TAG": tag},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "The tag is" in done.stderr
    assert not (ROOT / "made").exists()
