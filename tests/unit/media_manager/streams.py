"""Streams to test, and the packets that Asterisk would send them."""

from typing import Any
from uuid import UUID

import msgspec

from evercall.contracts.media import MediaDirection
from evercall.media import rtp
from evercall.media.rtp import RtpPacket
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits, StreamOptions
from media_manager.domain.stream import Stream

STREAM, CALL, CUSTOMER = UUID(int=1), UUID(int=2), UUID(int=3)
SEED = 0x0123456789ABCDEF0123_FEDCBA98765432100000
FRAME = bytes(range(160))


def make_stream(
    encapsulation: str = "rtp",
    rate: int = 8000,
    *,
    attached: bool = True,
    listen: MediaDirection = MediaDirection.BOTH,
    speak: MediaDirection = MediaDirection.BOTH,
    limits: StreamLimits | None = None,
    counts: Counts | None = None,
) -> Stream:
    """A stream with a connection; its `start` is read already."""
    options = StreamOptions(STREAM, CALL, CUSTOMER, encapsulation, rate, listen, speak)
    stream = Stream(options, limits or StreamLimits(), SEED, counts or Counts())
    if attached:
        stream.attach(resumed=False)
        stream.outbox.clear()
    return stream


def packet(number: int, payload: bytes = FRAME, ssrc: int = 7, kind: int = rtp.PCMU) -> bytes:
    """One packet of Asterisk."""
    return rtp.build(RtpPacket(kind, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc, payload))


def application_packet(number: int, payload: bytes = FRAME) -> bytes:
    """One packet of an application that speaks RTP."""
    return packet(number, payload, ssrc=99)


def told(stream: Stream) -> list[dict[str, Any]]:
    """What the stream has said since; nothing of it is left."""
    said: list[dict[str, Any]] = [msgspec.json.decode(text) for text in stream.outbox]
    stream.outbox.clear()
    return said


def played(stream: Stream, most: int = 100_000) -> list[RtpPacket]:
    """All that is queued, as the call hears it."""
    packets: list[RtpPacket] = []
    while stream.is_playing and len(packets) < most:
        taken = stream.take()
        if taken is not None:
            packets.append(rtp.parse(taken))
    return packets
