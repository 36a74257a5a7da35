"""What arrives from Asterisk, read only as far as needed to know what it is and whose it is.

An event travels on as the bytes that Asterisk wrote. Decoding into `Incoming` skips all fields that
are not named here (msgspec does not even build them): 1.5 µs per event of 900 bytes.
"""

from typing import Any
from uuid import UUID

import msgspec

RESPONSE = "RESTResponse"

CHANNEL_GONE = "ChannelDestroyed"

WANTED = (
    "StasisStart",
    "ChannelStateChange",
    "ChannelDtmfReceived",
    CHANNEL_GONE,
    "PlaybackFinished",
)
"""The events that the control plane lives on. All others are dropped by Asterisk itself."""

_ID_LENGTH = 36


class _Channel(msgspec.Struct, frozen=True):
    id: str
    channelvars: dict[str, str] = {}


class _Identified(msgspec.Struct, frozen=True):
    id: str


class _Recording(msgspec.Struct, frozen=True):
    name: str


class Incoming(msgspec.Struct, frozen=True):
    """An event, or (type `RESTResponse`) the answer to a request."""

    type: str
    channel: _Channel | None = None
    peer: _Channel | None = None
    playback: _Identified | None = None
    bridge: _Identified | None = None
    recording: _Recording | None = None
    request_id: str = ""
    uri: str = ""
    status_code: int = 0
    reason_phrase: str = ""
    message_body: str = ""


class ChannelInList(msgspec.Struct, frozen=True):
    """An element of the answer to `GET /channels`."""

    id: str
    state: str
    channelvars: dict[str, str] = {}


decode = msgspec.json.Decoder(Incoming).decode
"""Reads one message of Asterisk. Raises `ValueError` for what is not one: `msgspec.MsgspecError`, and
`UnicodeDecodeError` for text that is not UTF-8."""

decode_channels = msgspec.json.Decoder(list[ChannelInList]).decode


def owner(event: Incoming) -> UUID | None:
    """The actor that an event concerns.

    It stands in the channel variable `CALL_ID` (ari.conf: `channelvars`), else in the first 36
    characters of an id that we chose.
    """
    channel = event.channel or event.peer
    if channel is not None:
        return channel_owner(channel.id, channel.channelvars)
    if event.playback is not None:
        return _id_in(event.playback.id)
    if event.bridge is not None:
        return _id_in(event.bridge.id)
    if event.recording is not None:
        return _id_in(event.recording.name)
    return None


def channel_owner(channel_id: str, variables: dict[str, str]) -> UUID | None:
    """The actor that a channel belongs to."""
    return _id_in(variables.get("CALL_ID", "")) or _id_in(channel_id)


def filter_body() -> dict[str, Any]:
    """The body of `PUT /applications/{name}/eventFilter`.

    The filter also holds back answers to requests, so they must stand in it (seen on 22.10).
    """
    return {"allowed": [{"type": name} for name in (RESPONSE, *WANTED)]}


def _id_in(text: str) -> UUID | None:
    candidate = text[:_ID_LENGTH]
    # UUID() also reads other spellings; ours is the only one that may route.
    if len(candidate) != _ID_LENGTH or candidate[8] != "-":
        return None
    try:
        return UUID(candidate)
    except ValueError:
        return None
