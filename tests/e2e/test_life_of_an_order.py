"""The tutorial, pasted block after block into a shell, against a running shop."""

import json
import re
import subprocess
from pathlib import Path

from shop.domain.orders import draw_transitions
from tests.e2e.conftest import Start

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "life-of-an-order.md"


def blocks() -> list[str]:
    return re.findall(r"<!-- tested: life -->\n```sh\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)


def test_every_answer_is_what_the_tutorial_says(start: Start) -> None:
    shop = start()
    script = "".join(blocks())
    assert "SHOP=http://127.0.0.1:8000" in script
    ran = subprocess.run(
        ["bash", "-c", script.replace("http://127.0.0.1:8000", shop.address)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    placed, amended, old, too_many, forbidden, paid, shipped, too_late, delivered, *rest = [
        json.loads(line) for line in ran.stdout.splitlines()
    ]
    partly, returned, again, history, first, second = rest

    assert [order["status"] for order in (placed, amended)] == ["placed", "placed"]
    assert [line["quantity"] for line in amended["items"]] == [2, 2]
    assert (old["status"], old["code"]) == (412, "order_changed")
    assert (too_many["status"], too_many["code"]) == (409, "out_of_stock")
    assert forbidden["status"] == 403
    moves = (paid, shipped, delivered, partly, returned, again)
    assert [order["status"] for order in moves] == [
        *("paid", "shipped", "delivered", "delivered", "returned", "returned")
    ]
    assert [line["returned"] for line in partly["items"]] == [0, 1]
    assert float(partly["kept_total"]) < float(partly["total"])
    assert (returned["kept_total"], returned["total"]) == ("0.00", partly["total"])
    assert (too_late["status"], too_late["allowed"]) == (409, [])
    assert [event["to"] for event in history["results"]] == [
        *("placed", "paid", "shipped", "delivered", "delivered", "returned")
    ]
    for ledger, sold in ((first, 2), (second, 2)):
        of_order = [m for m in ledger["results"] if m["order"] == placed["id"]]
        taken = sum(m["quantity"] for m in of_order if m["reason"] in ("order", "amend"))
        assert taken == -sold
    assert {m["reason"] for m in second["results"]} >= {"amend", "return", "write_off"}


def test_the_diagram_is_that_of_the_code() -> None:
    assert f"```mermaid\n{draw_transitions()}\n```" in TUTORIAL.read_text()
