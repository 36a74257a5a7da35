"""Whether a series of samples grows, by a test that outliers and a restless curve don't decide. Pure.

The window is cut into bins and each bin stands for the median of its samples, so that a garbage collection or a
kill is one bin at most. The speed of growth is the median of the slopes between all pairs of bins (Theil and
Sen), and Kendall's tau says how steadily it goes up: 1 where each bin is above the one before, 0 where up and
down are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

Point = tuple[float, float]
"""Seconds and value."""

BINS = 12
STEADY = 0.5
"""Tau of twelve values that have no trend is above this once in a hundred times."""

LATE_SHARE = 0.25
"""Of the limit: so much the second half alone must grow. A steady growth brings half of it there; one that
ends in the first half brings nothing, and is a warm-up."""


@dataclass(frozen=True, slots=True)
class Trend:
    """What a series does over its window: `growth` and `late_growth` (its second half) are in its own unit."""

    level: float
    growth: float
    late_growth: float
    tau: float
    seconds: float

    def exceeds(self, limit: float) -> bool:
        """Whether it goes up by more than the limit, steadily, and to the end."""
        return self.growth > limit and self.tau >= STEADY and self.late_growth > LATE_SHARE * limit


def trend(points: Sequence[Point], shortest: float) -> Trend | None:
    """The trend of samples in the order of their time; None where they cover less than `shortest` seconds, or
    are too few for the bins."""
    if len(points) < 2 * BINS:
        return None
    seconds = points[-1][0] - points[0][0]
    if seconds < shortest:
        return None
    binned = _binned(points)
    late = binned[len(binned) // 2 :]
    return Trend(
        level=median(value for _, value in binned),
        growth=_slope(binned) * seconds,
        late_growth=_slope(late) * seconds / 2,
        tau=_tau(binned),
        seconds=seconds,
    )


def _binned(points: Sequence[Point]) -> list[Point]:
    """As many samples in each bin, but for one."""
    edges = [round(index * len(points) / BINS) for index in range(BINS + 1)]
    bins = [points[first:last] for first, last in pairwise(edges)]
    return [(median(at for at, _ in bin_), median(value for _, value in bin_)) for bin_ in bins]


def _slope(points: Sequence[Point]) -> float:
    return median(
        (value - earlier) / (at - before)
        for index, (at, value) in enumerate(points)
        for before, earlier in points[:index]
    )


def _tau(points: Sequence[Point]) -> float:
    signs = [
        (value > earlier) - (value < earlier)
        for index, (_, value) in enumerate(points)
        for _, earlier in points[:index]
    ]
    return sum(signs) / len(signs)
