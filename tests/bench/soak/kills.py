"""Who dies when: random, and the same again for the same seed. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST_PAUSE = 20.0
"""Seconds: the one before must be back and its backlog worked off, or two faults are measured at once."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A kill to come."""

    at: float
    name: str


def plan_kills(names: Sequence[str], seconds: float, every: float, seed: int) -> list[Planned]:
    """Kills at random moments, `every` seconds apart on average, of random processes. The first and the last
    minute are left alone, or as much of them as a short run can spare; `every` 0 means none."""
    if every <= 0:
        return []
    chance = random.Random(seed)
    margin = min(60.0, seconds / 4)
    planned: list[Planned] = []
    at = margin
    while True:
        at += SHORTEST_PAUSE + chance.expovariate(1.0) * max(0.0, every - SHORTEST_PAUSE)
        if at > seconds - margin:
            return planned
        planned.append(Planned(at, chance.choice(names)))
