"""How long to pause before something is tried again."""

import random
from math import inf

_DOUBLINGS_MAX = 30


def jittered(seconds: float) -> float:
    """Between half of it and all, so that those who failed together do not return together."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311


def growing(first: float, doublings: int, longest: float = inf) -> float:
    """Seconds, jittered: the first pause, doubled so often, up to the longest."""
    return jittered(min(first * 2 ** min(doublings, _DOUBLINGS_MAX), longest))
