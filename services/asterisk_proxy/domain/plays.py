"""Plays that were given before.

Asterisk 22.10 plays again when it is told a playback's id for the second time. Whoever steers it repeats
what it is not sure of, so the repetition must end here.
"""

import hashlib
from typing import Protocol

from evercall.contracts.asterisk import AriCommand


class Memory(Protocol):
    """Where the numbers of plays are kept; it outlives the process."""

    def played(self) -> dict[int, int]: ...
    def remember_play(self, number: int) -> int: ...
    def forget_play(self, slot: int) -> None: ...


class Plays:
    """Knows the plays that Asterisk was given, by their URI, which ends in the playback's id."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._slots = memory.played()
        self._numbers = {slot: number for number, slot in self._slots.items()}

    def is_repeated(self, command: AriCommand) -> bool:
        """Whether this is a play that was given before. A play that was not is remembered."""
        if command.method != "POST" or "/play/" not in command.uri:
            return False
        number = _number(command.uri)
        if number in self._slots:
            return True
        slot = self._memory.remember_play(number)
        self._slots.pop(self._numbers.get(slot, 0), None)
        self._slots[number] = slot
        self._numbers[slot] = number
        return False

    def refused(self, uri: str) -> None:
        """Asterisk did not play it, or nobody knows: it may be given again."""
        if "/play/" not in uri:
            return
        slot = self._slots.pop(_number(uri), None)
        if slot is not None:
            del self._numbers[slot]
            self._memory.forget_play(slot)


def _number(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "little") | 1
