"""Telephone events in RTP (RFC 4733): parsed, built as whole sequences, heard once each.

A pressed key is told in several packets that all carry the timestamp of its beginning and a duration that
grows; the last one has the E bit and is sent three times, because a lost end would be a key that hangs.
"""

import struct

import msgspec

from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.keypad import KEYS
from evercall.media.rtp import timestamp_distance

LONGEST_SEGMENT = 0xFFFF
"""Durations have 16 bits; what lasts longer is told in segments (§2.5.1.3)."""

_EVENT = struct.Struct("!BBH")
_END = 0x80
_VOLUME = 0x3F
_UPDATE = 160
_END_COUNT = 3
_LATE = 5 * 8000
"""A packet that is further back than that (in units of the timestamp) is not late: the sender's clock began
anew."""


class TelephoneEvent(msgspec.Struct, frozen=True, gc=False):
    """One event block (§2.3). `volume` is the level in dBm0 without its sign; `duration` is in units of
    the timestamp."""

    event: int
    end: bool
    volume: int
    duration: int


def parse_events(payload: bytes) -> tuple[TelephoneEvent, ...]:
    """The events of a payload: one, or several that followed each other without a pause (§2.5.1.5).

    Raises:
        FrameError: it is no payload of telephone events.
    """
    if not payload or len(payload) % _EVENT.size:
        raise FrameError(Code.EVENT_LENGTH, "telephone events have 4 bytes each")
    return tuple(
        TelephoneEvent(event, bool(flags & _END), flags & _VOLUME, duration)
        for event, flags, duration in _EVENT.iter_unpack(payload)
    )


def build_event(event: TelephoneEvent) -> bytes:
    """The payload of one event.

    Raises:
        FormatError: a field does not fit.
    """
    if not 0 <= event.volume <= _VOLUME:
        raise FormatError(Code.EVENT_FIELD, "a field does not fit a telephone event")
    try:
        return _EVENT.pack(event.event, event.end << 7 | event.volume, event.duration)
    except struct.error as error:
        raise FormatError(Code.EVENT_FIELD, "a field does not fit a telephone event") from error


class EventPacket(msgspec.Struct, frozen=True, gc=False):
    """A packet to be sent. `offset` is where its segment begins, counted from the event's beginning."""

    payload: bytes
    offset: int
    marker: bool


def event_packets(
    event: int, duration: int, *, volume: int = 10, update: int = _UPDATE
) -> list[EventPacket]:
    """The packets of one event, one for each `update` of time: growing durations, and the end three times
    at the same interval (§2.5.1.4)."""
    packets = []
    begin = 0
    while duration - begin > LONGEST_SEGMENT:
        packets += _updates(event, volume, begin, LONGEST_SEGMENT, update)
        begin += LONGEST_SEGMENT
    packets += _updates(event, volume, begin, duration - begin, update)
    last = TelephoneEvent(event, True, volume, duration - begin)
    # The update that would tell the whole duration is the end itself.
    packets[-1:] = [EventPacket(build_event(last), begin, duration <= update)]
    packets += [EventPacket(build_event(last), begin, False)] * (_END_COUNT - 1)
    return packets


def _updates(event: int, volume: int, begin: int, length: int, update: int) -> list[EventPacket]:
    """§2.5.1.2. Only the event's very first packet is marked, not that of a further segment."""
    told = [*range(update, length, update), length]
    return [
        EventPacket(
            build_event(TelephoneEvent(event, False, volume, duration)),
            begin,
            begin == 0 and position == 0,
        )
        for position, duration in enumerate(told)
    ]


def key_event(key: str) -> int:
    """The event code of a key.

    Raises:
        FormatError: there is no such key.
    """
    code = KEYS.find(key) if len(key) == 1 else -1
    if code < 0:
        raise FormatError(Code.UNKNOWN_KEY, "a telephone has no such key")
    return code


def event_key(event: int) -> str | None:
    """The key of an event code; None for events that are no key."""
    return KEYS[event] if event < len(KEYS) else None


class Heard(msgspec.Struct, frozen=True, gc=False):
    """An event began, or ended after `duration`."""

    event: int
    ended: bool
    duration: int


class EventReceiver:
    """Makes of all packets of an event one beginning and one end, whatever was lost, repeated or late."""

    def __init__(self) -> None:
        self._event = -1
        self._begin = 0
        self._duration = 0
        self._before = 0
        """What earlier segments of the same event lasted."""
        self._sounding = False
        self._known = False

    def receive(self, timestamp: int, events: tuple[TelephoneEvent, ...]) -> list[Heard]:
        """What a packet says that was not known yet."""
        heard: list[Heard] = []
        for event in events:
            heard += self._receive(timestamp, event)
            timestamp = timestamp + event.duration & 0xFFFFFFFF
        return heard

    def stop(self) -> list[Heard]:
        """Nothing was heard for a while: what still sounds has ended (§2.5.2.2: after three intervals)."""
        if not self._sounding:
            return []
        self._sounding = False
        return [Heard(self._event, True, self._before + self._duration)]

    def _receive(self, timestamp: int, event: TelephoneEvent) -> list[Heard]:
        distance = timestamp_distance(timestamp, self._begin) if self._known else 1
        if -_LATE <= distance < 0:
            return []
        heard: list[Heard] = []
        if distance != 0:
            heard += self._begins(timestamp, distance, event)
        elif event.event != self._event or not self._sounding:
            return []
        self._duration = max(self._duration, event.duration)
        return heard + self.stop() if event.end else heard

    def _begins(self, timestamp: int, distance: int, event: TelephoneEvent) -> list[Heard]:
        # A segment begins where the one before it had reached the longest duration.
        goes_on = self._sounding and event.event == self._event and distance == LONGEST_SEGMENT
        heard = []
        if goes_on:
            self._before += LONGEST_SEGMENT
        else:
            heard = [*self.stop(), Heard(event.event, False, 0)]
            self._before = 0
        self._event, self._begin, self._duration = event.event, timestamp, 0
        self._known = self._sounding = True
        return heard
