"""Digits that a caller types: type-ahead and collecting, without time.

Digits count from the moment they are typed, not from the moment somebody waits for them: they are kept
until a `digits_receive` takes them. So a caller who knows the menu may type through its prompts.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from evercall.contracts.flow import RunAction

SHORTEST_STROKE = timedelta(milliseconds=80)
"""From the end of a key to the end of the next: 40 ms of pause and 40 ms of tone (ITU-T Q.24)."""

MOST_DIGITS = 128
"""More type-ahead than any flow asks for; what exceeds it is dropped."""

KEYS = frozenset("0123456789*#ABCD")


class Key(msgspec.Struct, frozen=True):
    """A key that was heard, and when it was released."""

    digit: str
    at: datetime


def is_echo(last: Key | None, key: Key, duration: timedelta) -> bool:
    """Whether Asterisk only tells `key` once more.

    It wants 45 ms between two keys. One that comes sooner it tells at once and, when it has made up for the
    pause, again (measured with Asterisk 22.10: 25 to 56 ms later, with the same duration). A key that was
    really pressed again can't have ended so soon: it took as long as it lasted.
    """
    if last is None or last.digit != key.digit:
        return False
    return key.at - last.at < max(duration, SHORTEST_STROKE)


class Collected(NamedTuple):
    """What a `digits_receive` takes, what is left for the next one, and whether it may end now."""

    digits: str
    rest: str
    complete: bool


def collect(typed: str, length: int, keys: str) -> Collected:
    """Takes digits until one of `keys` (it is taken too) or until there are `length` of them.

    A `length` of 0 sets no limit.
    """
    for count, digit in enumerate(typed, start=1):
        if digit in keys or count == length:
            return Collected(typed[:count], typed[count:], True)
    return Collected(typed, "", False)


def collect_for(action: RunAction, typed: str) -> Collected:
    """`collect` with the options of a `digits_receive`."""
    return collect(typed, int(action.option.get("length", 1)), str(action.option.get("key", "")))


def type_ahead(typed: str, digit: str) -> str:
    """The buffer after one more digit."""
    if digit not in KEYS or len(typed) >= MOST_DIGITS:
        return typed
    return typed + digit
