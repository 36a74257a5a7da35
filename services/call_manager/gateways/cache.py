"""A bounded map whose entries expire. It reads no clock: who uses it says what time it is."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ExpiringCache(Generic[Key, Value]):
    """Keeps the entries that were used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, value: Value, *, until: float) -> None:
        """Keeps a value until a moment, unless room is needed before."""
        self._entries[key] = (until, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)

    def get(self, key: Key, now: float) -> Value | None:
        """The value, if it has not expired."""
        until, value = self._entries.get(key, (0.0, None))
        if value is None or until <= now:
            return None
        self._entries.move_to_end(key)
        return value

    def get_stale(self, key: Key) -> Value | None:
        """The value, expired or not."""
        return self._entries.get(key, (0.0, None))[1]

    def drop(self, key: Key) -> None:
        """Forgets one entry."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
