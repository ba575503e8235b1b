"""Drawings of what is checked anyway: the layers of pyproject.toml, the statuses of an order."""

import tomllib
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from shop.domain.orders import TRANSITIONS, OrderStatus

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
_BLUE, _INK, _LINE, _PAPER = "#dbeafe", "#0f172a", "#64748b", "white"
_ROW, _GAP, _WIDTH = 40, 26, 640

_SAYS = {
    "entrypoints": "HTTP, the shop command, settings, the container",
    "adapters": "memory and SQL, the intake, shared reads, background work",
    "domain": "the rules, the ports, the use cases",
}


def packages() -> str:
    layers = [f"{name}: {_SAYS[name]}" for name in _layers("shop")]
    return _stack(layers, "The three packages")


def domain() -> str:
    return _stack(_layers("shop.domain"), "Inside the domain")


def http() -> str:
    return _stack(_layers("shop.entrypoints.http"), "Inside HTTP")


def _layers(container: str) -> list[str]:
    """From the top; those beside each other are separated by a stroke."""
    tools: Any = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]
    [layers] = [
        contract["layers"]
        for contract in tools["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"] == [container]
    ]
    return list(layers)


def _stack(layers: Sequence[str], title: str) -> str:
    """Boxes from top to bottom: each may import those below it."""
    parts = []
    for row, layer in enumerate(layers):
        top = row * (_ROW + _GAP) + 10
        boxes = layer.split(" | ")
        width = (_WIDTH - 20 - 8 * (len(boxes) - 1)) / len(boxes)
        for column, text in enumerate(boxes):
            parts.append(_box(10 + column * (width + 8), top, width, text))
        if row:
            parts.append(_arrow(_WIDTH / 2, top - _GAP, _WIDTH / 2, top))
    return _svg(title, _WIDTH, len(layers) * (_ROW + _GAP) - 6, parts)


# Where a status stands: its column, and its row.
_PLACES = {
    OrderStatus.PLACED: (0, 0),
    OrderStatus.PAID: (1, 0),
    OrderStatus.SHIPPED: (2, 0),
    OrderStatus.DELIVERED: (3, 0),
    OrderStatus.CANCELLED: (0.5, 1),
    OrderStatus.RETURNED: (2.5, 1),
}
_STATUS_WIDTH, _STATUS_LEFT, _STATUS_DOWN = 110, 160, 110


def statuses() -> str:
    """The table of transitions."""
    boxes = [_box(*_corner(status), _STATUS_WIDTH, str(status)) for status in OrderStatus]
    arrows = [_move(status, to) for status, all_to in TRANSITIONS.items() for to in all_to]
    return _svg("The statuses of an order", 3 * _STATUS_LEFT + 130, 170, [*boxes, *arrows])


def _corner(status: OrderStatus) -> tuple[float, float]:
    column, row = _PLACES[status]
    return 10 + column * _STATUS_LEFT, 10 + row * _STATUS_DOWN


def _move(status: OrderStatus, to: OrderStatus) -> str:
    (left, top), (to_left, to_top) = _corner(status), _corner(to)
    half = _STATUS_WIDTH / 2
    if top == to_top:
        return _arrow(left + _STATUS_WIDTH, top + _ROW / 2, to_left, to_top + _ROW / 2)
    return _arrow(left + half, top + _ROW, to_left + half, to_top)


def _box(left: float, top: float, width: float, text: str) -> str:
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{width:.0f}" height="{_ROW}" rx="4" '
        f'fill="{_BLUE}" stroke="{_LINE}"/>\n'
        f'<text x="{left + width / 2:.0f}" y="{top + _ROW / 2 + 5:g}" text-anchor="middle">'
        f"{escape(text)}</text>\n"
    )


def _arrow(from_x: float, from_y: float, to_x: float, to_y: float) -> str:
    return (
        f'<path d="M{from_x:g} {from_y:g} L{to_x:g} {to_y:g}" stroke="{_LINE}" '
        'marker-end="url(#head)"/>\n'
    )


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">\n<title>{escape(title)}</title>\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        f'markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{_LINE}"/></marker>'
        f'</defs>\n<rect width="{width:g}" height="{height:g}" fill="{_PAPER}"/>\n'
        f"{''.join(parts)}</svg>\n"
    )
