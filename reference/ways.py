"""The page of a request's way; tests/documents/test_ways.py plays each, and watches it."""

from typing import NamedTuple

from reference.markdown import MADE


class Step(NamedTuple):
    module: str
    """Below `src/shop`."""
    does: str


class Way(NamedTuple):
    title: str
    steps: tuple[Step, ...]


_IN = (
    Step("entrypoints/http/edge.py", "gives the request an id and a deadline, watches its body"),
    Step("entrypoints/http/api/clients.py", "asks who is calling, and whether they may"),
)

PLACING = Way(
    "Placing an order: `POST /api/orders/`",
    (
        *_IN,
        Step("entrypoints/http/api/plain_orders.py", "decodes an order that has nothing special"),
        Step("entrypoints/http/api/orders.py", "what all ways of placing share, and the answer"),
        Step(
            "domain/services/place_order.py",
            "the use case; a key becomes the order's id here",
        ),
        Step("domain/orders.py", "the request: its lines, and the digest that tells a repeat"),
        Step("adapters/intake.py", "collects all orders that wait into one batch"),
        Step("domain/services/decide_orders.py", "locks the stock, decides each request, commits"),
        Step("adapters/sql/unit_of_work.py", "the transaction; nobody cancels its COMMIT"),
        Step("adapters/sql/sqlite.py", "the statements of a batch (or `postgresql.py`)"),
        Step("domain/stock.py", "the rule: nobody takes more than there is"),
    ),
)

DETAIL = Way(
    "One product: `GET /api/products/1/`",
    (
        *_IN,
        Step("entrypoints/http/api/plain_details.py", "reads the id in the address"),
        Step("entrypoints/http/api/products.py", "asks the use case, and makes the answer"),
        Step("domain/services/keep_catalogue.py", "decides whether this caller may see it"),
        Step("adapters/shared_reads.py", "reads once for all who ask at the same moment"),
        Step("domain/services/look_up.py", "opens a unit of work for all of them"),
        Step("adapters/sql/details.py", "the one statement"),
    ),
)

LIST = Way(
    "A page of products: `GET /api/products/?page_size=5`",
    (
        *_IN,
        Step("entrypoints/http/api/shared_answers.py", "answers all who ask for the same page"),
        Step("entrypoints/http/api/pagination.py", "which window of the list, which links"),
        Step("entrypoints/http/api/products.py", "knows the filters and orders of this list"),
        Step("domain/services/keep_catalogue.py", "opens a unit of work that only reads"),
        Step("adapters/sql/products.py", "the list as the database has it"),
        Step("domain/pages.py", "what a page is, whatever it lists"),
        Step("adapters/sql/pages.py", "walks an index to the rows of the page"),
    ),
)

WAYS = (PLACING, DETAIL, LIST)


def page() -> str:
    parts = [
        MADE,
        "# A request's way\n\n",
        "Three requests, and the files they go through, in this order, below `src/shop/`. A test "
        "sends each request, watches which files are entered, and compares. An answer takes the "
        "same way back; an error gets its status from the one table in "
        "`entrypoints/http/errors.py`. [Design](../design.md#a-requests-way) says more.\n",
    ]
    for way in WAYS:
        parts.append(f"\n## {way.title}\n\n")
        parts += [f"{n}. `{module}`: {does}\n" for n, (module, does) in enumerate(way.steps, 1)]
    return "".join(parts)
