"""The first tutorial, pasted block after block, against the shop that `make run` starts."""

import json

from tests.documents.pages import TUTORIALS, named
from tests.documents.shells import run
from tests.e2e.conftest import Start


def test_every_answer_is_what_the_tutorial_says(start: Start) -> None:
    shop = start()
    script = "".join(named(TUTORIALS / "first-order.md", "first order"))
    assert "SHOP=http://127.0.0.1:8000\n" in script
    said = run(script.replace("http://127.0.0.1:8000", shop.address), shop.folder)
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    found, first, again, refused = answers
    assert (found["results"][0]["sku"], found["results"][0]["stock"]) == ("CUP-BLUE", 3)
    assert f"The cup is product {found['results'][0]['id']}\n" in said
    assert (first["status"], first["total"], len(first["items"])) == ("placed", "17.00", 1)
    assert again == first
    assert refused["code"] == "out_of_stock"
    assert [line["available"] for line in refused["lines"]] == [1]
    commands = said.partition('"out_of_stock"')[2]
    assert first["code"] in commands
    assert "agree" in commands
    # The two that were sold, and the three that came.
    moves = [line.split("\t")[1] for line in commands.splitlines() if line.count("\t") > 5]
    assert moves[-2:] == ["-2", "3"], commands
