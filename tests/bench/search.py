"""The search for the highest rate that is held: doubling until it fails, then halving the gap. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class RateSearch:
    """Says which rate to try next; `held` is the highest that went well."""

    start: float
    precision: float = 0.1
    held: float = 0.0
    failed: float | None = None

    def next_rate(self) -> float | None:
        """The rate to try next, in whole calls per second; None when the answer is known well enough."""
        if self.failed is None:
            return self.held * 2 if self.held else self.start
        rate = float(round((self.held + self.failed) / 2))
        if self._close_enough() or not self.held < rate < self.failed:
            return None
        return rate

    def report(self, rate: float, *, held: bool) -> None:
        """What came of a try."""
        if held:
            self.held = max(self.held, rate)
        elif self.failed is None or rate < self.failed:
            self.failed = rate

    def _close_enough(self) -> bool:
        return self.failed is not None and self.failed - self.held <= self.precision * self.failed
