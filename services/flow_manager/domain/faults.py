"""Faults of a customer's flow, and how a customer's own text is repeated in them."""

import msgspec

SHOWN_CHARACTERS = 64
"""How much of a customer's own text a fault repeats."""

_SHOWN_INTEGER = 10**15


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and where: `actions[2].option.duration`."""

    path: str
    message: str


def shown(value: object) -> str:
    """A customer's value, short enough for a message."""
    match value:
        case None | bool():
            return msgspec.json.encode(value).decode()
        case int() if abs(value) >= _SHOWN_INTEGER:
            return "a very large integer"
        case int() | float():
            return str(value)
        case str():
            return msgspec.json.encode(cut(value)).decode()
        case list():
            return f"a list of {len(value)} items"
        case dict():
            return f"an object of {len(value)} entries"
    raise TypeError(f"JSON has no {type(value)}")


def cut(text: str) -> str:
    """A customer's text, short enough for a message."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
