"""How much of a process one connection may take: a token bucket."""


class Allowance:
    """Gives so many tokens a second, and keeps at most `burst` of them. `now` is in seconds."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._since = float("-inf")

    def spend(self, tokens: float, now: float) -> float:
        """Takes tokens, more than there are if need be. Returns the seconds until that is made good."""
        gained = (now - self._since) * self._per_second
        self._tokens = min(self._burst, self._tokens + gained) - tokens
        self._since = now
        return max(0.0, -self._tokens / self._per_second)
