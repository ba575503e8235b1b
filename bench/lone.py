"""One client, whose orders follow each other, with the database further away."""

import msgspec

from bench.candidates import WARM_UP_SECONDS, World
from bench.changes import serving_from_afar
from bench.load import send_orders

WORKLOAD = "one connection, the database 50 ms away"
AWAY = 0.05
"""Seconds, one way."""


class Lone(msgspec.Struct, frozen=True):
    """One round."""

    round: int
    p50: float
    """Milliseconds."""
    problems: list[str]

    @property
    def round_trips(self) -> int:
        """Those that half of the orders take at most: whatever else they need takes less."""
        return int(self.p50 / (2_000 * AWAY))


def measure_lone(world: World, *, number: int, seconds: int) -> Lone:
    with serving_from_afar(world, AWAY) as url:
        for length in (WARM_UP_SECONDS, seconds):
            load = send_orders(
                url, tokens=world.tokens, workload="hot", connections=1, seconds=length, seed=number
            )
    problems = [f"{load.refused} refused, {load.broken} without an answer"]
    return Lone(
        round=number, p50=load.p50, problems=problems if load.refused or load.broken else []
    )
