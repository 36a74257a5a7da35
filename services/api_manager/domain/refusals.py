"""Refusals of credentials, counted: who guesses keys must not fill the audit log by it.

One row for each caller and reason, with a number. Of many callers at once the rest shares a row for each
reason: an attacker may have more addresses than we want rows.
"""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

MAX_CALLERS = 50


@dataclass(frozen=True, slots=True)
class Refusal:
    """Who was refused, and why. Of a caller whom nobody knows there is an address only."""

    client: str
    status: int
    code: str
    actor: str = "unknown"
    actor_id: UUID | None = None
    customer_id: UUID | None = None


class Refusals:
    """What has been counted since it was taken last."""

    def __init__(self) -> None:
        self._counts: Counter[Refusal] = Counter()

    def add(self, refusal: Refusal) -> None:
        """One more."""
        if refusal not in self._counts and len(self._counts) >= MAX_CALLERS:
            refusal = Refusal("", refusal.status, refusal.code)
        self._counts[refusal] += 1

    def take(self) -> dict[Refusal, int]:
        """All that was counted; from here on it counts anew."""
        taken, self._counts = dict(self._counts), Counter()
        return taken
