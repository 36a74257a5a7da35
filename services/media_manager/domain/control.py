"""Control frames: JSON in text messages, beside the audio. docs/media-streams.md describes them.

Each that goes to the application carries a `sequence`, counted from 0 over the stream's life, except that
none is needed to understand the audio: who ignores text misses nothing of it.
"""

from typing import Literal, Union

import msgspec

LONGEST_TEXT = 4096
LONGEST_NAME = 100


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A control frame to the application."""

    sequence: int


class Start(Said, frozen=True, kw_only=True, tag="start"):
    """First on every connection. `missed_ms` of audio follow at once; `lost_ms` are gone for good, None where
    the process that could tell is gone too."""

    stream_id: str
    call_id: str
    customer_id: str
    encapsulation: str
    direction: str
    coding: str
    rate: int
    frame_bytes: int
    resumed: bool
    missed_ms: int
    lost_ms: int | None
    resume_seconds: float


class Dtmf(Said, frozen=True, kw_only=True, tag="dtmf"):
    """The call's far end pressed a key."""

    digit: str
    duration_ms: int


class Marked(Said, frozen=True, kw_only=True, tag="marked"):
    """What was sent before the mark was played to the call."""

    name: str
    played_ms: int


class Cleared(Said, frozen=True, kw_only=True, tag="cleared"):
    """The queue is empty; these marks will not be reached."""

    played_ms: int
    dropped_ms: int
    marks: list[str]


class Pause(Said, frozen=True, kw_only=True, tag="pause"):
    """The queue is three quarters full: send no more for now."""

    queued_ms: int


class Resume(Said, frozen=True, kw_only=True, tag="resume"):
    """The queue has room again."""

    queued_ms: int


class Overflow(Said, frozen=True, kw_only=True, tag="overflow"):
    """Audio that did not fit the queue was dropped."""

    dropped_ms: int


class Behind(Said, frozen=True, kw_only=True, tag="behind"):
    """The application reads too slowly: the oldest audio was dropped."""

    dropped_ms: int


class Error(Said, frozen=True, kw_only=True, tag="error"):
    """So many messages were left out since the last such frame."""

    code: str
    message: str
    count: int


class Stop(Said, frozen=True, kw_only=True, tag="stop"):
    """The last one: the connection is closed now."""

    reason: str


SAID: tuple[type[Said], ...] = (
    Start,
    Dtmf,
    Marked,
    Cleared,
    Pause,
    Resume,
    Overflow,
    Behind,
    Error,
    Stop,
)


class _Asked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A control frame of the application."""


class MarkAsked(_Asked, frozen=True, kw_only=True, tag="mark"):
    """Say when all that was sent up to here is played."""

    name: str


class ClearAsked(_Asked, frozen=True, kw_only=True, tag="clear"):
    """Drop what is queued: the caller has begun to speak."""


class PauseAsked(_Asked, frozen=True, kw_only=True, tag="pause"):
    """Send me no audio until I say so."""


class ResumeAsked(_Asked, frozen=True, kw_only=True, tag="resume"):
    """Send me audio again."""


class StopAsked(_Asked, frozen=True, kw_only=True, tag="stop"):
    """I want no more."""


ASKED = (MarkAsked, ClearAsked, PauseAsked, ResumeAsked, StopAsked)
Asked = MarkAsked | ClearAsked | PauseAsked | ResumeAsked | StopAsked

ControlFault = Literal["control_malformed", "control_unknown", "control_too_long"]

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Asked] = msgspec.json.Decoder(Union[ASKED])  # noqa: UP007
_typed = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in ASKED)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The last one: some thousand brackets within each other, which fit a control frame."""


class NotUnderstood(ValueError):
    """A text message that is no control frame."""

    def __init__(self, code: ControlFault, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def encode(said: Said) -> bytes:
    """The text of a control frame."""
    return _encoder.encode(said)


def decode(text: bytes) -> Asked:
    """What the application asks.

    Raises:
        NotUnderstood: with a code and a message for the application.
    """
    if len(text) > LONGEST_TEXT:
        raise NotUnderstood("control_too_long", f"a control frame has at most {LONGEST_TEXT} bytes")
    try:
        asked = _decoder.decode(text)
    except _UNREADABLE as error:
        raise _explain(text, str(error)) from None
    if isinstance(asked, MarkAsked) and not 0 < len(asked.name) <= LONGEST_NAME:
        raise NotUnderstood("control_malformed", f"name has 1 to {LONGEST_NAME} characters")
    return asked


def _explain(text: bytes, reason: str) -> NotUnderstood:
    try:
        kind = msgspec.json.decode(_typed.decode(text).get("type", msgspec.Raw(b"null")))
    except _UNREADABLE:
        return NotUnderstood("control_malformed", "text messages are JSON objects with a type")
    if isinstance(kind, str) and kind in _TYPES:
        return NotUnderstood("control_malformed", reason)
    return NotUnderstood("control_unknown", f"type is one of {', '.join(sorted(_TYPES))}")
