"""The ARI events that a call listens to, with the fields that it needs.

https://docs.asterisk.org, "Asterisk REST Data Models". Asterisk is told (event filter) to send no others;
one that comes all the same is left out.
"""

from datetime import datetime

import msgspec


class _Event(msgspec.Struct, frozen=True, tag_field="type"):
    """Base of the tagged union: the tag is the class name."""


class Caller(msgspec.Struct, frozen=True):
    """The far end of a channel."""

    number: str = ""
    name: str = ""


class Channel(msgspec.Struct, frozen=True):
    """A channel. `state`: `Down`, `Ring`, `Ringing`, `Up`, …"""

    id: str
    state: str = ""
    caller: Caller = Caller()
    channelvars: dict[str, str] = {}


class Playback(msgspec.Struct, frozen=True):
    """A playback. `state`: `queued`, `playing`, `done`, `failed`."""

    id: str
    state: str


class StasisStart(_Event, frozen=True, tag=True):
    """A channel entered the application."""

    timestamp: str
    args: list[str]
    channel: Channel


class ChannelStateChange(_Event, frozen=True, tag=True):
    """A channel rings, is answered, …"""

    timestamp: str
    channel: Channel


class ChannelDtmfReceived(_Event, frozen=True, tag=True):
    """A key was released, after so many milliseconds."""

    timestamp: str
    digit: str
    duration_ms: int
    channel: Channel


class PlaybackFinished(_Event, frozen=True, tag=True):
    """The last file of a playback is over."""

    playback: Playback


class ChannelDestroyed(_Event, frozen=True, tag=True):
    """A channel is gone."""

    timestamp: str
    cause: int
    channel: Channel


AriEvent = (
    StasisStart | ChannelStateChange | ChannelDtmfReceived | PlaybackFinished | ChannelDestroyed
)

_decoder: msgspec.json.Decoder[AriEvent] = msgspec.json.Decoder(AriEvent)


def decode(raw: msgspec.Raw) -> AriEvent | None:
    """The event; None where it is not one of ours."""
    try:
        return _decoder.decode(raw)
    except msgspec.ValidationError:
        return None


def time_of(timestamp: str) -> datetime:
    """ARI's `2026-02-03T04:05:06.789+0000`, in the zone that it names."""
    return datetime.fromisoformat(timestamp)
