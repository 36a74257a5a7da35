"""Token buckets: how fast somebody may ask, and for how long they must wait otherwise.

A bucket holds up to `burst` tokens and gains `rate` of them per second; a request takes one. Who was not
seen for long has a full bucket, so the bucket that was used longest ago can be forgotten for nothing:
memory is bounded without a sweeper.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` requests per second, `burst` at once."""

    rate: float
    burst: float


class Buckets:
    """One bucket per key, all with the same limit."""

    def __init__(self, limit: Limit, capacity: int = 50_000) -> None:
        self._limit = limit
        self._capacity = capacity
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: Hashable, now: float) -> float:
        """Takes a token.

        Args:
            key: who asks.
            now: seconds of a monotonic clock.

        Returns:
            0.0 when there was a token, else the seconds until there is one.
        """
        level, since = self._levels.pop(key, (self._limit.burst, now))
        level = min(self._limit.burst, level + max(0.0, now - since) * self._limit.rate)
        allowed = level >= 1.0
        self._levels[key] = (level - 1.0 if allowed else level, now)
        if len(self._levels) > self._capacity:
            self._levels.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self._limit.rate


class AtOnce:
    """How many of a key's requests are under way; only those are remembered."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._under_way)

    def enter(self, key: Hashable) -> bool:
        """Whether one more may begin; it does then."""
        if self._under_way[key] >= self._most:
            return False
        self._under_way[key] += 1
        return True

    def leave(self, key: Hashable) -> None:
        """One is over."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
