"""deploy/kubernetes and deploy/ecs: what they say is understood, and no right is given too much.

What Kubernetes knows is checked against its own schemas, custom resources against the fields that
are used (tests/manifests/custom-resources.yml), and ECS against AWS's description of its API.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from shop.entrypoints.settings import load_settings
from tests.cases import all_cases

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
ECS = ROOT / "deploy" / "ecs"
# The oldest release with `matchLabelKeys` on by default, and the newest that is known.
VERSIONS = ("1.27", kubernetes_validate.latest_version())
KUSTOMIZATIONS = sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))
OVERLAYS = sorted(path for path in (KUBERNETES / "overlays").iterdir())
MANIFESTS = Path(__file__).parents[1] / "manifests"
CUSTOM = yaml.safe_load((MANIFESTS / "custom-resources.yml").read_text())
ECS_SCHEMA = json.loads((MANIFESTS / "ecs.schema.json").read_text())
SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|DSN|DATABASE_URL")

Resource = dict[str, Any]


def documents(path: Path) -> list[Resource]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def listed(folder: Path, what: str) -> list[Path]:
    """The files that a kustomization names, of those that are no folders."""
    [kustomization] = documents(folder / "kustomization.yaml")
    entries = kustomization.get(what, [])
    names = [entry["path"] if isinstance(entry, dict) else entry for entry in entries]
    return [folder / name for name in names if (folder / name).suffix == ".yaml"]


def resources_of(folder: Path) -> list[Resource]:
    return [resource for path in listed(folder, "resources") for resource in documents(path)]


def reached_from(folder: Path) -> Iterator[Path]:
    """A kustomization and all that it is made from."""
    yield folder
    [kustomization] = documents(folder / "kustomization.yaml")
    for name in (*kustomization.get("resources", []), *kustomization.get("components", [])):
        if (folder / name).is_dir():
            yield from reached_from((folder / name).resolve())


def named(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def check_schema(resource: Resource) -> None:
    custom = CUSTOM.get(f"{resource['apiVersion']}/{resource['kind']}")
    if custom is not None:
        jsonschema.Draft202012Validator(custom).validate(resource)
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)


def pods_of(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    for resource in resources:
        if resource["kind"] in ("Deployment", "Job"):
            yield resource["kind"], resource["spec"]["template"]["spec"]


def check_pod(kind: str, pod: Resource) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= {"emptyDir", "secret"}
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        for bounds in ("requests", "limits"):
            assert container["resources"][bounds].keys() == {"cpu", "memory"}
        if kind == "Deployment":
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["timeoutSeconds"] >= 1
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
            assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        check_environment(container["env"])


def check_environment(variables: list[Resource]) -> None:
    """No secret is written out; what another variable holds must stand before it."""
    seen: list[str] = []
    for variable in variables:
        value = variable.get("value")
        if value is not None and SECRET_NAMES.search(variable["name"]):
            filled_in = re.findall(r"\$\((\w+)\)", value)
            assert filled_in, variable["name"]
            assert set(filled_in) <= set(seen)
            assert re.search(r":\$\(\w*PASSWORD\)@", value)
        seen.append(variable["name"])


def check_image(image: str) -> None:
    name, _, tag = image.rpartition(":")
    assert name, image
    assert re.fullmatch(r"v?[0-9]+(\.[0-9]+)+[\w.-]*", tag), image


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda path: path.name)
def test_every_resource_is_one_that_its_schema_knows(folder: Path) -> None:
    with all_cases() as cases:
        for resource in [*resources_of(folder), *documents(folder / "kustomization.yaml")]:
            if resource["kind"] in ("Kustomization", "Component"):
                continue
            with cases.case(*named(resource)):
                check_schema(resource)
        with cases.case("every file is used"):
            used = {path for what in ("resources", "patches") for path in listed(folder, what)}
            assert used | {folder / "kustomization.yaml"} == set(folder.glob("*.yaml"))


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_every_patch_changes_a_resource_that_is_there(overlay: Path) -> None:
    """Read from the files, so that it is known where there is no kubectl too."""
    folders = list(reached_from(overlay))
    there = {named(resource) for folder in folders for resource in resources_of(folder)}
    assert ("Deployment", "shop") in there
    assert ("Namespace", documents(overlay / "kustomization.yaml")[0]["namespace"]) in there
    for folder in folders:
        for path in listed(folder, "patches"):
            for patch in documents(path):
                assert named(patch) in there, path
                for container in _containers(patch):
                    check_environment(container.get("env", []))
                    assert "securityContext" not in container, "only the base says it"


def _containers(patch: Resource) -> list[Resource]:
    pod = patch["spec"].get("template", {}).get("spec", {})
    assert "securityContext" not in pod
    return list(pod.get("containers", []))


def test_the_base_gives_pods_no_rights() -> None:
    resources = resources_of(KUBERNETES / "base")
    pods = list(pods_of(resources))
    assert [kind for kind, _ in pods] == ["Deployment", "Job"]
    for kind, pod in pods:
        check_pod(kind, pod)
    [kustomization] = documents(KUBERNETES / "base" / "kustomization.yaml")
    assert [image["name"] for image in kustomization["images"]] == ["shop"]
    check_image(f"{kustomization['images'][0]['newName']}:{kustomization['images'][0]['newTag']}")
    assert not [resource for resource in resources if resource["kind"] == "Secret"]


def test_the_settings_of_the_base_are_settings_of_the_shop() -> None:
    lines = (KUBERNETES / "base" / "settings.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    settings = load_settings({**variables, "SHOP_SECRET_KEY": "0123456789abcdef" * 3})
    assert settings.environment == "production"
    assert not [name for name in variables if SECRET_NAMES.search(name)]
    pod = dict(pods_of(resources_of(KUBERNETES / "base")))["Deployment"]
    # Drain, then what is under way, and a few seconds more.
    assert pod["terminationGracePeriodSeconds"] >= settings.seconds_to_drain + 15 + 10
    probe = pod["containers"][0]["readinessProbe"]
    assert settings.seconds_to_drain >= probe["periodSeconds"] * (probe["failureThreshold"] + 1)


@lru_cache
def render(overlay: Path) -> list[Resource]:
    """What kubectl makes of an overlay."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: what it makes of the overlays was not looked at")
    command = [kubectl, "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_as_kubectl_makes_it(overlay: Path) -> None:
    resources = render(overlay)
    made = {named(resource): resource for resource in resources}
    with all_cases() as cases:
        for resource in resources:
            with cases.case(*named(resource)):
                check_schema(resource)
        for kind, pod in pods_of(resources):
            with cases.case("no rights", kind):
                check_pod(kind, pod)
                for container in pod["containers"]:
                    check_image(container["image"])
        with cases.case("what is selected is there"):
            _check_selectors(resources)
    assert not [kind for kind, _ in made if kind == "Secret"]
    autoscaler = made["HorizontalPodAutoscaler", "shop"]["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == "shop"
    assert "replicas" not in made["Deployment", "shop"]["spec"]


def _check_selectors(resources: list[Resource]) -> None:
    labels = [
        resource["spec"]["template"]["metadata"]["labels"]
        for resource in resources
        if resource["kind"] in ("Deployment", "Job")
    ]
    selectors = []
    for resource in resources:
        spec = resource.get("spec", {})
        match resource["kind"]:
            case "Service":
                selectors.append(spec["selector"])
            case "NetworkPolicy":
                selectors.append(spec["podSelector"]["matchLabels"])
            case "Deployment" | "PodDisruptionBudget":
                selectors.append(spec["selector"]["matchLabels"])
            case "ServiceMonitor":
                [service] = [other for other in resources if other["kind"] == "Service"]
                has = service["metadata"]["labels"]
                assert spec["selector"]["matchLabels"].items() <= has.items()
    assert selectors
    for selector in selectors:
        assert [1 for pod in labels if selector.items() <= pod.items()], selector


def test_production_survives_a_lost_server_of_any_kind() -> None:
    resources = render(KUBERNETES / "overlays" / "production")
    made = {named(resource): resource["spec"] for resource in resources if "spec" in resource}
    cluster = made["Cluster", "shop-db"]
    assert cluster["instances"] == 3
    assert cluster["postgresql"]["synchronous"]["number"] == 1
    assert cluster["postgresql"]["synchronous"]["dataDurability"] == "required"
    check_image(cluster["imageName"])
    assert made["HorizontalPodAutoscaler", "shop"]["minReplicas"] >= 2
    assert made["Pooler", "shop-db-pooler"]["instances"] >= 2
    assert made["Pooler", "shop-db-pooler"]["pgbouncer"]["poolMode"] == "transaction"
    [plugin] = cluster["plugins"]
    assert plugin["isWALArchiver"]
    assert ("ObjectStore", plugin["parameters"]["barmanObjectName"]) in made
    assert made["ScheduledBackup", "shop-db"]["cluster"]["name"] == "shop-db"


def test_production_reaches_its_database_by_the_names_that_are_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "ca.crt").touch()
    made = {named(resource): resource for resource in render(KUBERNETES / "overlays/production")}
    for kind, name, host, pooled in (
        ("Deployment", "shop", "shop-db-pooler", True),
        ("Job", "shop-migrate", "shop-db-rw", False),
    ):
        [container] = made[kind, name]["spec"]["template"]["spec"]["containers"]
        variables = {v["name"]: v.get("value", "x" * 40) for v in container["env"]}
        password = variables.pop("DATABASE_PASSWORD")
        url = variables["SHOP_DATABASE_URL"].replace("$(DATABASE_PASSWORD)", password)
        [mount] = [m for m in container["volumeMounts"] if m["name"] == "database-ca"]
        assert f"&sslrootcert={mount['mountPath']}/ca.crt" in url
        here = url.replace(f"{mount['mountPath']}/", f"{tmp_path}/")
        settings = load_settings({**variables, "SHOP_DATABASE_URL": here})
        assert f"@{host}:5432/shop?sslmode=verify-" in settings.database_url
        assert settings.database_pgbouncer is pooled


ECS_FILES = {
    "task-definition.json": "RegisterTaskDefinitionRequest",
    "migrate-task-definition.json": "RegisterTaskDefinitionRequest",
    "service.json": "CreateServiceRequest",
    "migrate-run.json": "RunTaskRequest",
}


def ecs(name: str) -> Any:
    return json.loads((ECS / name).read_text())


def test_what_ecs_is_sent_is_what_its_api_takes() -> None:
    assert {path.name for path in ECS.glob("*.json")} == ECS_FILES.keys()
    with all_cases() as cases:
        for name, request in ECS_FILES.items():
            with cases.case(name):
                schema = {**ECS_SCHEMA, "$ref": f"#/$defs/{request}"}
                jsonschema.Draft202012Validator(schema).validate(ecs(name))


@pytest.mark.parametrize("name", ["task-definition.json", "migrate-task-definition.json"])
def test_an_ecs_task_has_no_rights(name: str) -> None:
    task = ecs(name)
    assert task["networkMode"] == "awsvpc"
    assert int(task["cpu"]) > 0
    assert int(task["memory"]) > 0
    for container in task["containerDefinitions"]:
        assert container["user"] == "65534:65534"
        assert container["readonlyRootFilesystem"] is True
        assert not container.get("privileged")
        assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
        check_image(container["image"])
        assert container["logConfiguration"]["options"]["awslogs-group"]
        variables = {v["name"]: v["value"] for v in container["environment"]}
        assert not [variable for variable in variables if SECRET_NAMES.search(variable)]
        secrets = {secret["name"]: secret["valueFrom"] for secret in container["secrets"]}
        assert secrets.keys() == {"SHOP_SECRET_KEY", "SHOP_DATABASE_URL"}
        assert all(":secretsmanager:" in address for address in secrets.values())
        settings = load_settings({**variables, "SHOP_SECRET_KEY": "0123456789abcdef" * 3})
        assert settings.environment == "production"
        assert container["stopTimeout"] >= settings.seconds_to_drain + 15 + 10


def test_ecs_replaces_servers_one_after_the_other_and_goes_back_if_they_fail() -> None:
    service = ecs("service.json")
    [container] = ecs("task-definition.json")["containerDefinitions"]
    assert service["taskDefinition"] == ecs("task-definition.json")["family"]
    migration = ecs("migrate-task-definition.json")
    assert ecs("migrate-run.json")["taskDefinition"] == migration["family"]
    assert service["desiredCount"] >= 2
    assert service["deploymentConfiguration"]["minimumHealthyPercent"] == 100
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {
        "enable": True,
        "rollback": True,
    }
    [balancer] = service["loadBalancers"]
    assert balancer["containerName"] == container["name"]
    assert balancer["containerPort"] == container["portMappings"][0]["containerPort"]
    assert container["healthCheck"]["command"][0] == "CMD"
