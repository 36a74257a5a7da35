"""Commands that Asterisk must be given only once.

Whoever steers Asterisk repeats what it is not sure of. Most commands bear that: Asterisk refuses the
second (409, 404) or finds nothing to do. Seen on 22.10, these do not:

    play             is played a second time, and ends a second time
    dial             ends the channel
    snoop            500, as if it had failed
    external media   500, as if it had failed

So a repetition of these ends here.
"""

import hashlib
from typing import Protocol

from evercall.ari.protocol import command_id
from evercall.contracts.asterisk import AriCommand


class Memory(Protocol):
    """Where numbers are kept; it outlives the process."""

    def given(self) -> dict[int, int]: ...
    def remember(self, number: int) -> int: ...
    def forget(self, slot: int) -> None: ...


class Repeats:
    """Knows which of those commands were given."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._slots = memory.given()
        self._numbers = {slot: number for number, slot in self._slots.items()}

    def is_repeated(self, command: AriCommand) -> bool:
        """Whether this command was given before and must not be again. One that was not is kept in
        mind."""
        if command.method != "POST" or not is_once(command.uri):
            return False
        number = _number(command_id(command), command.uri)
        if number in self._slots:
            return True
        slot = self._memory.remember(number)
        self._slots.pop(self._numbers.get(slot, 0), None)
        self._slots[number] = slot
        self._numbers[slot] = number
        return False

    def refused(self, request_id: str, uri: str) -> None:
        """Asterisk did not do it, or nobody knows: it may be given again."""
        if not is_once(uri):
            return
        slot = self._slots.pop(_number(request_id, uri), None)
        if slot is not None:
            del self._numbers[slot]
            self._memory.forget(slot)


def is_once(uri: str) -> bool:
    """Whether a command with this URI must not be repeated."""
    _, _, action = uri.partition("/")[2].partition("/")
    if action:
        return action == "dial" or action.startswith(("play/", "snoop/"))
    return uri == "channels/externalMedia"


def _number(request_id: str, uri: str) -> int:
    """What an answer says of its command too, as one number, never zero."""
    name = f"{request_id} {uri}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") | 1
