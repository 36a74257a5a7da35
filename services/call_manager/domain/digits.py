"""Digits that a caller types: type-ahead and collecting, without time.

Digits count from the moment they are typed, not from the moment somebody waits for them: they are kept
until a `digits_receive` takes them. So a caller who knows the menu may type through its prompts.
"""

from typing import NamedTuple

from evercall.contracts.flow import RunAction

MOST_DIGITS = 128
"""More type-ahead than any flow asks for; what exceeds it is dropped."""

KEYS = frozenset("0123456789*#ABCD")


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
