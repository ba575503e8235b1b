"""What a check of `shop doctor` comes to."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Worth knowing; no promise of the shop depends on it."""
    DANGER = "danger"
    """A promise of the shop may be broken, or the shop does not serve."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    state: State
    found: str
    what_to_do: str = ""


def ok(found: str) -> Finding:
    return Finding(State.OK, found)


def note(found: str, what_to_do: str) -> Finding:
    return Finding(State.NOTE, found, what_to_do)


def danger(found: str, what_to_do: str) -> Finding:
    return Finding(State.DANGER, found, what_to_do)


def unknown(found: str, what_to_do: str = "") -> Finding:
    return Finding(State.UNKNOWN, found, what_to_do)
