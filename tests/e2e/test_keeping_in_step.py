"""The page about rows, pasted block after block into a shell, against a running shop."""

import json
import re
import subprocess
from pathlib import Path

from tests.e2e.conftest import Start

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "keep-in-step.md"


def blocks() -> list[str]:
    return re.findall(r"<!-- tested: step -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_answer_is_what_the_page_says(start: Start) -> None:
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
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    created, changed, delivered, again, counted = answers
    outcomes = [[row["outcome"] for row in answer["rows"]] for answer in answers]
    assert outcomes == [
        ["created", "created"],
        ["unchanged", "changed"],
        ["changed", "refused"],
        ["changed", "refused"],
        ["held_back", "refused"],
    ]
    assert [row["stock"] for row in created["rows"]] == [40, 0]
    assert changed["rows"][1]["stock"] == 0
    assert delivered["rows"][0]["stock"] == 52
    assert delivered["rows"][1]["error"]["code"] == "product_not_found"
    assert again == delivered
    assert (counted["status"], counted["code"]) == (409, "rows_refused")
    assert counted["rows"][1]["error"]["actual"] == 0
