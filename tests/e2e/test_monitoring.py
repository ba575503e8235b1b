"""Alerts, dashboard and runbooks fit the metrics of a running shop; and what docs/operate.md says
to ask of it is asked, and answered."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from click.testing import CliRunner

from shop.domain.errors import ShopError
from shop.entrypoints.cli.main import main
from shop.entrypoints.http.app import build_app
from shop.entrypoints.metrics import Metrics
from tests.concurrency.servers import environment, shop_command
from tests.e2e.conftest import Start
from tests.e2e.shops import Shop
from tests.entrypoints.api import container_for, settings_for

ROOT = Path(__file__).parents[2]
MONITORING, RUNBOOKS = ROOT / "deploy/monitoring", ROOT / "docs/runbooks"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
OPERATE = (ROOT / "docs/operate.md").read_text()
GIVE_UP_AFTER = 60.0

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("curl")),
    reason="prometheus or curl is not installed",
)

ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"] for rule in ALL_RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}


def documented(language: str, text: str) -> list[str]:
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


EXPRESSIONS = [
    *(rule["expr"] for rule in ALL_RULES),
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())),
    *documented("promql", OPERATE),
    *(each for page in RUNBOOKS.glob("*.md") for each in documented("promql", page.read_text())),
    *re.findall(
        r"`([^`]*(?:rate|increase|max|min|sum|time|changes)\([^`]*)`",
        "".join(page.read_text() for page in RUNBOOKS.glob("Shop*.md")),
    ),
]
# Names of metrics begin so, and no function or label of PromQL does.
_SELECTOR = re.compile(
    r"\b((?:shop|http_server|process)_[a-z_]+|shop:[a-z_:0-9]+|up)\b(?:\{([^}]*)\})?"
)
_MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")
# Prometheus adds them.
_OF_PROMETHEUS = {"instance", "job", "le"}


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    # What grouping names are labels.
    for name, matchers in _SELECTOR.findall(_GROUPED.sub("", expression)):
        yield name, _MATCHER.findall(matchers)


Labels = dict[str, set[str]]
"""The labels of each sample by its name."""


def labels_in(text: str) -> Labels:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, labels = line.rpartition(" ")[0].partition("{")
            found[name] |= set(re.findall(r'(\w+)="', labels))
    return found


def until(check: Callable[[], Any], server: str) -> Any:
    give_up_at = time.monotonic() + GIVE_UP_AFTER
    while not (found := check()):
        assert time.monotonic() < give_up_at, server
        time.sleep(0.2)
    return found


def metrics_of(shop: Shop) -> str:
    with shop.client() as client:
        return client.get("/metrics").text


def metrics_of_replicas() -> str:
    """A shop on SQLite has none; adapters/test_replicas.py sees that others tell them."""
    metrics = Metrics()
    metrics.replica_is("two:5432", fit=True, lag=0.0)
    metrics.read_served("replica")
    lines = metrics.text()[0].decode().splitlines()
    return "\n".join(line for line in lines if "shop_replica_" in line)


def order(shop: Shop, quantity: int) -> int:
    """The status of the answer."""
    with shop.client() as client:
        signed_in = client.post(
            "/api/token/", json={"username": "demo", "password": "demo-password"}
        )
        headers = {"Authorization": f"Bearer {signed_in.json()['access']}"}
        product = client.get("/api/products/?page_size=1", headers=headers).json()["results"][0]
        client.get(f"/api/products/{product['id']}/", headers=headers)
        body = {"items": [{"product_id": product["id"], "quantity": quantity}]}
        return client.post("/api/orders/", json=body, headers=headers).status_code


def test_every_metric_and_label_that_is_asked_for_is_there(start: Start) -> None:
    shop = start()
    assert order(shop, 1) == 201
    assert order(shop, 1_000_000) == 409
    # A task leaves its metrics when it was done for the first time.
    until(lambda: 'task="count_stock"' in metrics_of(shop), shop.server.log)
    there = labels_in(metrics_of(shop)) | labels_in(metrics_of_replicas())
    asked: dict[str, set[str]] = defaultdict(set)
    for expression in EXPRESSIONS:
        grouped = {
            label.strip() for names in _GROUPED.findall(expression) for label in names.split(",")
        }
        of_expression: set[str] = set()
        for name, matchers in selectors(expression):
            if name in RECORDED or name == "up":
                continue
            assert name in there, f"no metric {name}: {expression}"
            unknown = {label for label, *_ in matchers} - there[name] - _OF_PROMETHEUS
            assert not unknown, f"{name} has no label {unknown}: {expression}"
            of_expression |= there[name]
            asked[name] |= grouped
        if of_expression:
            assert grouped <= of_expression | _OF_PROMETHEUS, expression
    # A page with no expression would prove nothing.
    assert len(asked) > 30
    for name in RECORDED:
        assert any(name in rule["expr"] for rule in ALL_RULES), f"{name} is recorded for nobody"


def test_routes_and_reasons_that_are_asked_for_exist() -> None:
    container = container_for(settings_for())
    app: Any = build_app(container)
    routes = {route.path_format for route in app._app.routes}
    codes = {error.code for error in all_errors(ShopError)} | {"internal_error"}
    tasks = {task.name for task in container.background_tasks()}
    known = {"http_route": routes, "reason": codes | {"full", "late", "locked", "closed"}}
    known |= {"task": tasks, "use_case": set(container.providers)}
    checked = 0
    for expression in EXPRESSIONS:
        for _, matchers in selectors(expression):
            for label, operator, value in matchers:
                if label in known and value:
                    checked += 1
                    alternatives = value.split("|") if "~" in operator else [re.escape(value)]
                    for each in alternatives:
                        assert any(re.fullmatch(each, one) for one in known[label]), expression
    assert checked > 20


def all_errors(error: type[ShopError]) -> set[type[ShopError]]:
    below = {each for sub in error.__subclasses__() for each in all_errors(sub)}
    return {error} | below


def test_every_metric_there_is_is_documented(start: Start) -> None:
    shop = start()
    families = set(re.findall(r"^# TYPE (\S+)", metrics_of(shop), re.MULTILINE))
    table = OPERATE.partition("### All metrics")[2]
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert families - named == set(), "not in docs/operate.md"
    metrics = {name for name in named if name.startswith(("shop_", "http_server_", "process_"))}
    assert metrics - families == set(), "documented, and not there"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("Shop*.md")}
    assert pages == ALERTS
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == ALERTS
    for rule in ALL_RULES:
        if "alert" in rule:
            assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
            assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_page_says_what_to_do_and_its_links_lead_somewhere() -> None:
    for page in RUNBOOKS.glob("Shop*.md"):
        text = page.read_text()
        assert text.startswith(f"# {page.stem}\n")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == [
            "Symptom",
            "What it means",
            "What to look at",
            "What to do",
            "How to know it is over",
        ]
        for section in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
            assert section.strip(), page
        for link in re.findall(r"\]\((\w+\.md)\)", text):
            assert (RUNBOOKS / link).exists(), f"{page}: {link}"
    for link in re.findall(r"\]\((runbooks/\w+\.md)\)", OPERATE):
        assert (ROOT / "docs" / link).exists(), link


def test_every_command_of_the_shop_that_a_page_names_is_there() -> None:
    pages = [OPERATE, *(page.read_text() for page in RUNBOOKS.glob("*.md"))]
    named = {
        tuple(re.findall(r"[a-z-]+", command)[:2])
        for page in pages
        for command in re.findall(r"`shop ((?:stock|orders|products) [a-z]+|[a-z-]+)", page)
    }
    assert len(named) > 5
    for command in named:
        assert CliRunner().invoke(main, [*command, "--help"]).exit_code == 0, command


def promtool(*words: str | Path) -> None:
    """Runs it; it must find no fault."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_no_fault_in_the_rules() -> None:
    promtool("check", "rules", MONITORING / "rules.yml")


@needs_promtool
def test_every_alert_is_raised_by_what_it_is_for_and_by_nothing_else() -> None:
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
    tried: dict[bool, set[str]] = {True: set(), False: set()}
    for test in tests:
        for each in test["alert_rule_test"]:
            tried[bool(each["exp_alerts"])].add(each["alertname"])
    assert tried == {True: ALERTS, False: ALERTS}
    promtool("test", "rules", MONITORING / "rules_test.yml")


def asked_by_hand(shop: Shop, heading: str) -> dict[str, float]:
    """What the command under the heading of docs/operate.md prints, by metric and labels."""
    section = re.split(r"^### ", OPERATE.partition(f"### {heading}\n")[2], flags=re.MULTILINE)[0]
    [command] = [line for line in documented("sh", section) if line.startswith("curl")]
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{shop.server.port}")
    assert here != command
    done = subprocess.run(
        ["bash", "-c", here], capture_output=True, text=True, timeout=30, check=True
    )
    pairs = (line.rpartition(" ") for line in done.stdout.splitlines())
    return {name: float(number) for name, _, number in pairs}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_why_orders_are_refused_is_found_by_the_page_alone(start: Start) -> None:
    question = "Why are orders refused since ten minutes?"
    shop = start()
    before = asked_by_hand(shop, question)
    assert order(shop, 1) == 201
    for _ in range(3):
        assert order(shop, 1_000_000) == 409
    after = asked_by_hand(shop, question)
    grown = {name: number for name, number in after.items() if number > before.get(name, 0)}
    assert [re.findall(r'reason="(\w+)"', name) for name in grown] == [["out_of_stock"]]
    assert list(grown.values()) == [3.0]
    # Under an id of one's own as well.
    with shop.client() as client:
        client.post(f"/api/orders/{uuid4()}/", json={})
    now = asked_by_hand(shop, question)
    assert [re.findall(r'reason="(\w+)"', name) for name in now.keys() - after.keys()] == [
        ["unauthenticated"]
    ]
    # And the page says what that means.
    assert re.search(r"^\| .*`out_of_stock`.*there", OPERATE, re.MULTILINE)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_whether_the_stock_is_sound_is_found_by_the_page_alone(start: Start) -> None:
    shop = start()

    def sound() -> tuple[float, float, bool]:
        said = asked_by_hand(shop, "Is the stock sound?")
        verified = said["shop_stock_verify_timestamp_seconds"]
        return (
            said["shop_products_below_zero"],
            said["shop_stock_verify_differences"],
            time.time() - verified < 86_400,
        )

    def verify() -> int:
        command = shop_command("stock", "verify")
        return subprocess.run(
            command,
            cwd=shop.folder,
            env=environment(shop_url(shop), {}),
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    assert sound() == (0, 0, False)
    assert verify() == 0
    until(lambda: sound() == (0, 0, True), shop.server.log)
    spoil(shop.folder / "var/shop.sqlite3")
    assert verify() == 1
    until(lambda: sound() == (0, 1, True), shop.server.log)


def shop_url(shop: Shop) -> str:
    return f"sqlite+aiosqlite:///{shop.folder}/var/shop.sqlite3"


def spoil(database: Path) -> None:
    """As somebody does who writes into the database past the shop."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE stock SET on_hand = on_hand + 1"
            " WHERE product_id = (SELECT min(product_id) FROM stock)"
        )


def monitoring(settings: Mapping[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["make", "monitoring"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@needs_prometheus
def test_make_monitoring_shows_the_shop_and_answers_what_the_page_asks(start: Start) -> None:
    shop = start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = monitoring(
        {"PORT": str(shop.server.port), "PROMETHEUS_PORT": str(port), "EVERY": "1s"}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as prometheus:

            def query(expression: str) -> list[dict[str, Any]]:
                try:
                    answer = prometheus.get("/api/v1/query", params={"query": expression})
                except httpx.TransportError:
                    return []
                if answer.status_code == 503:
                    # It is on its way up.
                    return []
                result: list[dict[str, Any]] = answer.json()["data"]["result"]
                return result

            [refusals] = [line for line in documented("promql", OPERATE) if "by (reason)" in line]
            until(lambda: query('up{job="shop"} == 1') and query(refusals), shop.server.log)
            for _ in range(3):
                assert order(shop, 1_000_000) == 409

            def why() -> list[str]:
                found = query(f"{refusals} > 0")
                return [each["metric"]["reason"] for each in found]

            assert until(why, shop.server.log) == ["out_of_stock"]
            until(lambda: query("max(shop_products_below_zero) == 0"), shop.server.log)
            until(lambda: query("shop:ordering_failures:ratio_rate5m == 0"), shop.server.log)
            rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
            states = {
                rule["name"]: rule["health"]
                for group in rules
                for rule in group["rules"]
                if rule["type"] == "alerting"
            }
            assert states.keys() == ALERTS
            assert set(states.values()) <= {"ok", "unknown"}
            for panel in DASHBOARD["panels"]:
                for target in panel.get("targets", ()):
                    asked = target["expr"].replace("$instance", ".*")
                    answer = prometheus.get("/api/v1/query", params={"query": asked})
                    assert answer.status_code == 200, (asked, answer.text)
    finally:
        os.killpg(running.pid, signal.SIGTERM)
        said, _ = running.communicate(timeout=30)
    assert f"Prometheus on http://127.0.0.1:{port}" in said
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)


def test_make_monitoring_says_what_is_missing(tmp_path: Path) -> None:
    """On a machine without Prometheus, and where no shop runs."""
    for program in ("bash", "dirname", "mktemp", "rm", "touch"):
        found = shutil.which(program)
        assert found is not None
        (tmp_path / program).symlink_to(found)
    script = str(MONITORING / "start.sh")
    done = subprocess.run(
        ["bash", script],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "prometheus is not installed: on Debian, apt install prometheus" in done.stderr
    if shutil.which("prometheus") and shutil.which("curl"):
        done = subprocess.run(
            ["bash", script],
            env={**os.environ, "PORT": "1"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "No metrics at http://127.0.0.1:1/metrics: start the shop" in done.stderr
