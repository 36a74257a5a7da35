"""Markup in texts that are spoken (SSML 1.1, W3C): what is known to be harmless is kept, all else is left out.

The synthesizer is a C program that strangers' texts must not steer: its `audio` opens local files, its `break`
lasts for as long as it is told. So the text is read by a real parser and written anew, of elements and values from
a list. A document type is refused, because entities grow (a billion laughs).
"""

import re
from collections.abc import Mapping
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from call_manager.audio.errors import AudioError

MOST_ELEMENTS = 500
DEEPEST = 8
LONGEST_BREAK_MS = 10_000
LONGEST_BREAKS_MS = 60_000

_SIGN = re.compile(r"\s*<(\?xml|speak[\s/>])")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)")
_WORD = r"[a-z][a-z-]{0,15}"
_LEVEL = rf"{_WORD}|[+-]?\d{{1,3}}(\.\d{{1,2}})?%?"

_KEPT: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "speak": {},
    "p": {},
    "s": {},
    "emphasis": {"level": re.compile(_WORD)},
    "prosody": {name: re.compile(_LEVEL) for name in ("rate", "pitch", "volume")},
    "say-as": {"interpret-as": re.compile(_WORD), "format": re.compile(_WORD)},
    "sub": {"alias": re.compile(r"[^\x00-\x1f]{1,200}")},
}
"""Elements, and what their attributes may be. `break` is handled by itself."""


def is_marked_up(text: str) -> bool:
    """Whether a text is SSML."""
    return _SIGN.match(text) is not None


def harmless(text: str) -> str:
    """The same as SSML of what is allowed. Of other elements only the text inside is kept.

    Raises:
        AudioError: it is not well-formed, or too much of it.
    """
    writer = _Writer()
    parser = expat.ParserCreate()
    parser.StartElementHandler = writer.start
    parser.EndElementHandler = writer.end
    parser.CharacterDataHandler = writer.text
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, UnicodeEncodeError):
        raise AudioError("the text is not well-formed SSML") from None
    return writer.written()


def _refuse_document_type(*_: object) -> None:
    raise AudioError("the SSML has a document type")


class _Writer:
    """expat's callbacks."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._open: list[str] = []
        self._elements = 0
        self._breaks_ms = 0.0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS or len(self._open) >= DEEPEST:
            raise AudioError("the SSML has too many elements")
        kept = name if name in _KEPT and (name == "speak") == (not self._open) else ""
        self._open.append(kept)
        if name == "break":
            self._break(attributes)
        if kept:
            allowed = _KEPT[name]
            values = {
                key: value
                for key, value in attributes.items()
                if key in allowed and allowed[key].fullmatch(value)
            }
            written = "".join(f" {key}={quoteattr(value)}" for key, value in values.items())
            self._parts.append(f"<{name}{written}>")

    def end(self, _: str) -> None:
        kept = self._open.pop()
        if kept:
            self._parts.append(f"</{kept}>")

    def text(self, data: str) -> None:
        self._parts.append(escape(data))

    def _break(self, attributes: Mapping[str, str]) -> None:
        found = _TIME.fullmatch(attributes.get("time", ""))
        if found is None:
            self._parts.append("<break/>")
            return
        milliseconds = float(found[1]) * (1000 if found[2] == "s" else 1)
        milliseconds = min(milliseconds, LONGEST_BREAK_MS, LONGEST_BREAKS_MS - self._breaks_ms)
        self._breaks_ms += milliseconds
        self._parts.append(f'<break time="{milliseconds:.0f}ms"/>')

    def written(self) -> str:
        return "".join(self._parts)
