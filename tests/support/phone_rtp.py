"""RTP as a phone needs it: packets, telephone events, and a recording of what came in.

Pure: G.711 µ-law (RFC 3551) and telephone events (RFC 4733), 20 ms each. Sockets are the business of
`phone_media`.
"""

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from tests.support.phone_audio import (
    FRAME,
    RATE,
    ULAW_SILENCE,
    Samples,
    Tone,
    decode_ulaw,
    tones,
)

PCMU = 0
TELEPHONE_EVENT = 101
KEYS = "0123456789*#ABCD"

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_EVENT_VOLUME = 10
# RFC 3550 §5.1: payload types 72-76 would be RTCP in the same port.
_RTCP_TYPES = range(72, 77)


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet (RFC 3550 §5.1), and when it came, in seconds of the recording."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    at: float


def parse(data: bytes, at: float) -> Packet | None:
    """None for what is no RTP."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2 or data[1] & 0x7F in _RTCP_TYPES:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    begin = _HEADER.size + 4 * (first & 15)
    return Packet(second & 0x7F, bool(second & 0x80), sequence, timestamp, ssrc, data[begin:], at)


def build(
    marker: bool, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes
) -> bytes:
    """The packet as bytes."""
    second = marker << 7 | payload_type
    return _HEADER.pack(0x80, second, sequence, timestamp & 0xFFFFFFFF, ssrc) + payload


@dataclass(frozen=True, slots=True)
class EventPacket:
    """One packet of a telephone event; its timestamp lies `back` samples before the present one."""

    marker: bool
    back: int
    payload: bytes


def key_event(key: str, ticks: int) -> list[list[EventPacket]]:
    """What to send in each 20 ms while a key is pressed for so many of them.

    RFC 4733 §2.5.1: updates with a growing duration, all with the timestamp of the key's beginning; the
    last one is said three times.
    """
    slots = []
    for tick in range(ticks):
        ended = tick == ticks - 1
        duration = (tick + 1) * FRAME
        body = _EVENT.pack(KEYS.index(key), ended << 7 | _EVENT_VOLUME, duration)
        slots.append([EventPacket(tick == 0, tick * FRAME, body)] * (3 if ended else 1))
    return slots


@dataclass
class Recording:
    """What was heard, on a time line that begins with the recording.

    Packets of one talk spurt are laid out by their timestamps, spurts by when they arrived, as a
    phone would play them.
    """

    packets: list[Packet] = field(default_factory=list)
    _line: bytearray = field(default_factory=bytearray)
    _first: Packet | None = None
    _first_position: int = 0

    def add(self, packet: Packet) -> None:
        """One more packet; those that hold no µ-law audio are passed over."""
        if packet.payload_type != PCMU:
            return
        if self._begins_spurt(packet):
            self._first = packet
            self._first_position = max(len(self._line), int(packet.at * RATE))
        assert self._first is not None
        ahead = (packet.timestamp - self._first.timestamp) & 0xFFFFFFFF
        position = self._first_position + ahead
        if ahead < 1 << 31:
            missing = position + len(packet.payload) - len(self._line)
            self._line += bytes([ULAW_SILENCE]) * max(0, missing)
            self._line[position : position + len(packet.payload)] = packet.payload
        self.packets.append(packet)

    def _begins_spurt(self, packet: Packet) -> bool:
        if self._first is None or packet.marker or packet.ssrc != self._first.ssrc:
            return True
        ahead = (packet.timestamp - self.packets[-1].timestamp) & 0xFFFFFFFF
        since = packet.at - self.packets[-1].at
        return ahead < 1 << 31 and abs(ahead / RATE - since) > 0.5

    def samples(self, since: float = 0.0) -> Samples:
        """The audio from that time on."""
        return decode_ulaw(self._line[max(0, int(since * RATE)) :])

    def tones(self, since: float = 0.0) -> list[Tone]:
        """Tones from that time on; their times count from the beginning of the recording."""
        return [
            Tone(tone.frequency, tone.start + since, tone.duration, tone.level)
            for tone in tones(self.samples(since))
        ]

    def longest_gap(self, start: float, end: float) -> float:
        """The longest time between two packets that arrived within that time."""
        times = [start, *(p.at for p in self.packets if start <= p.at <= end), end]
        return max(later - earlier for earlier, later in pairwise(times))

    def lost(self, start: float, end: float) -> int:
        """How many of the packets that were sent within that time did not arrive."""
        heard = [packet for packet in self.packets if start <= packet.at <= end]
        steps = [later.sequence - earlier.sequence & 0xFFFF for earlier, later in pairwise(heard)]
        return sum(step - 1 for step in steps if 1 < step < 1 << 15)
