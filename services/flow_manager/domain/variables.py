"""Variables of an activeflow: flat text, filled into options as `${name}`, and bounded.

Substitution happens when an action starts, once: what a value contains is not looked at again, so a
caller's display name of `${secret}` stays what it is. Unknown names give nothing.
"""

import re
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

import msgspec

from flow_manager.domain.actions import MAX_TEXT

MAX_KEYS = 100
MAX_VALUE_BYTES = 32 * 1024
MAX_TOTAL_BYTES = 64 * 1024
MAX_NAME = 255

_MARKUP = re.compile(r"\s*<(\?xml|speak[\s/>])")
"""As call_manager tells it."""

_PLACEHOLDER = re.compile(r"\$\{([^${}]+)\}")


def has_placeholder(text: str) -> bool:
    """Whether any variable is to be filled into the text."""
    return _PLACEHOLDER.search(text) is not None


def reads(text: str, name: str) -> bool:
    """Whether this variable is to be filled into the text."""
    return f"${{{name}}}" in text


def is_markup(text: str) -> bool:
    """Whether a text that is spoken is SSML."""
    return _MARKUP.match(text) is not None


def substitute_spoken(text: str, variables: Mapping[str, str]) -> str | None:
    """The same for a text that is spoken: within markup a value is text and nothing else, and no value makes
    markup of a text that is none. A caller chooses its display name."""
    if is_markup(text):
        return substitute(text, _Escaped(variables))
    filled = substitute(text, variables)
    return filled.replace("<", " ", 1) if filled is not None and is_markup(filled) else filled


class _Escaped(Mapping[str, str]):
    """Values as they stand in XML; made when they are asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return escape(self._values[name], {'"': "&quot;", "'": "&apos;"})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def substitute(text: str, variables: Mapping[str, str]) -> str | None:
    """Fills the variables in; None when the result would exceed `MAX_TEXT` characters.

    The bound is checked on the way: 32 KB of placeholders could ask for gigabytes.
    """
    parts: list[str] = []
    length = 0
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        value = variables.get(match[1], "")
        parts += (text[end : match.start()], value)
        length += match.start() - end + len(value)
        if length > MAX_TEXT:
            return None
        end = match.end()
    if length + len(text) - end > MAX_TEXT:
        return None
    return "".join(parts) + text[end:]


def refusal(variables: Mapping[str, str], key: str, value: str) -> str:
    """Why this variable can't be set, empty when it can."""
    if not key or len(key) > MAX_NAME:
        return f"the name of a variable has from 1 to {MAX_NAME} characters"
    if _size(value) > MAX_VALUE_BYTES:
        return f"the value exceeds {MAX_VALUE_BYTES} bytes"
    others = {name: kept for name, kept in variables.items() if name != key}
    if len(others) >= MAX_KEYS:
        return f"there are {MAX_KEYS} variables already"
    total = sum(_size(name) + _size(kept) for name, kept in others.items())
    if total + _size(key) + _size(value) > MAX_TOTAL_BYTES:
        return f"all variables together exceed {MAX_TOTAL_BYTES} bytes"
    return ""


def _size(text: str) -> int:
    """In bytes, as it is stored: control characters have six in JSON."""
    return len(msgspec.json.encode(text)) - 2
