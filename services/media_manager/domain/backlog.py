"""Messages that an application has not read yet: the newest of them, because the past is of no use in a call."""

from collections import deque

MOST = 100
"""Messages: two seconds."""


class Backlog:
    """Bounded; the oldest goes first."""

    def __init__(self, most: int = MOST) -> None:
        self._waiting: deque[bytes] = deque(maxlen=most)
        self._most = most

    def put(self, messages: list[bytes]) -> int:
        """Keeps them. Returns how many had to go for it."""
        dropped = max(0, len(self._waiting) + len(messages) - self._most)
        self._waiting.extend(messages)
        return dropped

    def take(self) -> list[bytes]:
        """All that waits; nothing does after it."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
