"""The ear, the mouth and the keypad of a SIPp phone: one RTP stream over a socket of its own.

SIPp says what is in SDP; this sends and receives what was agreed there: G.711 µ-law and
telephone events (RFC 4733), 20 ms each, and keeps what came in, in time, as it was heard.
"""

import asyncio
import secrets
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from tests.support.phone_audio import (
    FRAME,
    RATE,
    SILENCE,
    ULAW_SILENCE,
    Samples,
    Tone,
    decode_ulaw,
    encode_ulaw,
    level,
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
_FIRST_PORT, _LAST_PORT = 30_000, 39_998


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


class Media(asyncio.DatagramProtocol):
    """One RTP stream. It sends silence as long as there is nothing else to send."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.begun = time.monotonic()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._peer: tuple[str, int] | None = None
        self._waiting: deque[list[tuple[bool, int, int, bytes]]] = deque()
        self._sequence = secrets.randbelow(1 << 15)
        self._timestamp = secrets.randbelow(1 << 31)
        self._ssrc = secrets.randbits(32)
        self._speech: Callable[[], bytes] = _silence

    @property
    def now(self) -> float:
        """The present time in the recording."""
        return time.monotonic() - self.begun

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        packet = parse(data, self.now)
        if packet is not None:
            self.recording.add(packet)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def send_to(self, address: str, port: int) -> None:
        """Where the other side wants its audio."""
        self._peer = (address, port)

    # -- mouth and keypad ------------------------------------------------------------------

    def say(self, samples: Samples) -> None:
        """Say this over and over, instead of being silent."""
        data = encode_ulaw(samples)
        frames = [data[at : at + FRAME] for at in range(0, len(data) - FRAME + 1, FRAME)]
        endless = _endless(frames)
        self._speech = lambda: next(endless)

    def press(self, keys: str, milliseconds: int = 100, pause: int = 120) -> None:
        """Queue keys: each is an event of RFC 4733 that lasts so long, with a pause after it.

        Asterisk tells a key twice that comes less than 45 ms after another; and this clock is only as
        good as the machine is idle.
        """
        for key in keys:
            self._waiting.extend(_event(KEYS.index(key), milliseconds // 20))
            self._waiting.extend([[]] * (pause // 20))

    @property
    def is_pressing(self) -> bool:
        return bool(self._waiting)

    def tick(self) -> None:
        """Send what belongs into these 20 ms."""
        if self._peer is None or self._transport is None:
            return
        if self._waiting:
            for marker, payload_type, back, payload in self._waiting.popleft():
                self._send(marker, payload_type, self._timestamp - back, payload)
        else:
            self._send(False, PCMU, self._timestamp, self._speech())
        self._timestamp = self._timestamp + FRAME & 0xFFFFFFFF

    def _send(self, marker: bool, payload_type: int, timestamp: int, payload: bytes) -> None:
        assert self._transport is not None
        self._sequence = self._sequence + 1 & 0xFFFF
        second = marker << 7 | payload_type
        head = _HEADER.pack(0x80, second, self._sequence, timestamp & 0xFFFFFFFF, self._ssrc)
        self._transport.sendto(head + payload, self._peer)

    # -- ear -------------------------------------------------------------------------------

    async def hears(
        self, frequency: float, *, within: float = 8.0, since: float = 0.0, lasting: float = 0.1
    ) -> Tone:
        """Return when such a tone has been heard for so long.

        Raises:
            AssertionError: it was not, in that time; says what was heard instead.
        """
        until = time.monotonic() + within
        checked = since
        while True:
            found = self.recording.tones(checked)
            for tone in found:
                if abs(tone.frequency - frequency) < 10 and tone.duration >= lasting:
                    return tone
            if time.monotonic() > until:
                raise AssertionError(f"no tone of {frequency} Hz; {self.heard(since)}")
            # What is older than a tone that still lasts need not be looked at again.
            going_on = found[-1].start if found and found[-1].end > self.now - 0.3 else self.now
            checked = max(checked, min(going_on, self.now - 1.0))
            await asyncio.sleep(0.1)

    async def hears_nothing(self, seconds: float, within: float = 5.0) -> None:
        """Return when it has been silent for so long.

        Raises:
            AssertionError: it was not, in that time.
        """
        until = time.monotonic() + within
        while True:
            await asyncio.sleep(0.1)
            start = self.now - seconds
            if start > 0 and level(self.recording.samples(start)) < SILENCE:
                return
            assert time.monotonic() < until, f"never silent; {self.heard()}"

    def heard(self, since: float = 0.0) -> str:
        """For messages: the tones that were heard."""
        found = self.recording.tones(since)
        count = len(self.recording.packets)
        listing = ", ".join(str(tone) for tone in found) or "no tone"
        return f"heard {listing} ({count} packets in {self.now:.1f} s)"


def _silence() -> bytes:
    return bytes([ULAW_SILENCE]) * FRAME


def _endless(frames: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from frames


def _event(number: int, ticks: int) -> list[list[tuple[bool, int, int, bytes]]]:
    """RFC 4733 §2.5.1: updates with a growing duration and the timestamp of the key's beginning; the
    last one is said three times."""
    slots = []
    for tick in range(ticks):
        duration, back = (tick + 1) * FRAME, tick * FRAME
        ended = tick == ticks - 1
        body = _EVENT.pack(number, ended << 7 | _EVENT_VOLUME, duration)
        slots.append([(tick == 0, TELEPHONE_EVENT, back, body)] * (3 if ended else 1))
    return slots


class MediaBoard:
    """The RTP streams of one phone's address, driven by one clock."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open: list[Media] = []
        self._ticker: asyncio.Task[None] | None = None
        self._next_port = _FIRST_PORT + 2 * secrets.randbelow(4000)

    async def open(self) -> Media:
        """One more stream, on an even port (RFC 3550 §11)."""
        loop = asyncio.get_running_loop()
        media = Media()
        while True:
            self._next_port = self._next_port + 2 if self._next_port < _LAST_PORT else _FIRST_PORT
            place = (self._address, self._next_port)
            try:
                await loop.create_datagram_endpoint(lambda: media, local_addr=place)
            except OSError:
                continue
            media.port = self._next_port
            self._open.append(media)
            if self._ticker is None:
                self._ticker = asyncio.create_task(self._tick())
            return media

    async def _tick(self) -> None:
        """Every 20 ms by the clock; what was late is made up for."""
        due = time.monotonic()
        while True:
            due += FRAME / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            for media in self._open:
                media.tick()

    async def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for media in self._open:
            media.close()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next round


@contextmanager
def expecting_no_gap(media: Media, longest: float) -> Iterator[None]:
    """While the block runs, audio must not pause for longer than that.

    Raises:
        AssertionError: it did.
    """
    start = media.now
    yield
    gap = media.recording.longest_gap(start, media.now)
    assert gap <= longest, f"{gap:.2f} s without audio; {media.heard(start)}"
