"""The ear, the mouth and the keypad of a SIPp phone: RTP streams over sockets of their own.

SIPp says what is in SDP; this sends and receives what was agreed there, and tells what was heard.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from tests.support.phone_audio import (
    FRAME,
    RATE,
    SILENCE,
    ULAW_SILENCE,
    Samples,
    Tone,
    encode_ulaw,
    level,
)
from tests.support.phone_rtp import (
    PCMU,
    TELEPHONE_EVENT,
    EventPacket,
    Recording,
    build,
    key_event,
    parse,
)

_FIRST_PORT, _LAST_PORT = 30_000, 39_998


class Media(asyncio.DatagramProtocol):
    """One RTP stream. It sends silence as long as there is nothing else to send."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.begun = time.monotonic()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._peer: tuple[str, int] | None = None
        self._waiting: deque[list[EventPacket]] = deque()
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
        """Queue keys: each is an event of RFC 4733 that lasts so long, with a pause after it."""
        for key in keys:
            self._waiting.extend(key_event(key, milliseconds // 20))
            self._waiting.extend([[]] * (pause // 20))

    @property
    def is_pressing(self) -> bool:
        return bool(self._waiting)

    def tick(self) -> None:
        """Send what belongs into these 20 ms."""
        if self._peer is None or self._transport is None:
            return
        if self._waiting:
            for event in self._waiting.popleft():
                timestamp = self._timestamp - event.back
                self._send(event.marker, TELEPHONE_EVENT, timestamp, event.payload)
        else:
            self._send(False, PCMU, self._timestamp, self._speech())
        self._timestamp = self._timestamp + FRAME & 0xFFFFFFFF

    def _send(self, marker: bool, payload_type: int, timestamp: int, payload: bytes) -> None:
        assert self._transport is not None
        self._sequence = self._sequence + 1 & 0xFFFF
        packet = build(marker, payload_type, self._sequence, timestamp, self._ssrc, payload)
        self._transport.sendto(packet, self._peer)

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


LONGEST_GAP = 1.0
"""Between two packets. On a quiet machine it is 20 ms; on a busy one it says that the machine is busy, and
what must not happen is that audio is lost (`Recording.lost`) or stands still."""


@contextmanager
def expecting_no_gap(media: Media) -> Iterator[None]:
    """While the block runs, audio goes on and none of it is lost.

    Raises:
        AssertionError: it did not.
    """
    start = media.now
    yield
    check_no_gap(media, start, media.now)


def check_no_gap(media: Media, start: float, end: float) -> None:
    """Between these times of the recording audio went on, and none of it was lost.

    Raises:
        AssertionError: it did not.
    """
    gap = media.recording.longest_gap(start, end)
    assert gap < LONGEST_GAP, f"{gap:.2f} s without audio; {media.heard()}"
    lost = media.recording.lost(start, end)
    assert lost == 0, f"{lost} packets lost; {media.heard()}"
