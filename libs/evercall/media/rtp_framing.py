"""RTP as a framing: audio of one payload type, keys as telephone events, packets put in order.

Audio of consecutive packets is joined: how far their timestamps are apart is not looked at, because an
application may send a whole prompt at once, or pause for as long as it likes.
"""

from uuid import UUID

from evercall.media import rtp
from evercall.media.audio import TELEPHONE, AudioFormat
from evercall.media.errors import Code, FrameError
from evercall.media.framing import Audio, Digit, Encapsulation, Fault, Received
from evercall.media.reorder import Reorder
from evercall.media.rtp import RtpPacket, RtpSender
from evercall.media.telephone_event import (
    EventReceiver,
    event_key,
    event_packets,
    key_event,
    parse_events,
)

_KEY_MILLISECONDS = 100
_NO_AUDIO = b""


class RtpFraming:
    """An application's RTP. Numbers, timestamps and SSRC of its own direction are the sender's."""

    encapsulation = Encapsulation.RTP

    def __init__(
        self,
        sender: RtpSender,
        *,
        payload_type: int = rtp.PCMU,
        event_type: int = rtp.TELEPHONE_EVENT,
        audio_format: AudioFormat = TELEPHONE,
    ) -> None:
        self.format = audio_format
        self.order = Reorder()
        self._sender = sender
        self._payload_type = payload_type
        self._event_type = event_type
        self._events = EventReceiver()
        self._sample_bytes = audio_format.sample_bytes
        self._ssrc: int | None = None

    def receive(self, data: bytes) -> list[Received]:
        """What a packet holds, and what waited for it."""
        try:
            packet = rtp.parse(data)
        except FrameError as error:
            return [Fault(error.code, error.message)]
        payload = packet.payload
        is_plain = packet.payload_type == self._payload_type and packet.ssrc == self._ssrc
        if is_plain and payload and not len(payload) % self._sample_bytes:
            ordered = self.order.push(packet.sequence, payload)
            return [Audio(one) for one in ordered if one]
        return self._receive(packet)

    def release(self) -> list[Received]:
        """Packets that wait for one that does not come."""
        return _audio(self.order.release())

    def opening(self, identity: UUID) -> bytes:  # noqa: ARG002
        """RTP says nothing before its audio."""
        return b""

    def audio(self, frame: bytes) -> bytes:
        """The next packet."""
        return self._sender.audio(frame, len(frame) // self._sample_bytes)

    def pause(self, frames: int) -> None:
        """Timestamps go on; the next packet begins a talk spurt."""
        self._sender.skip(frames * self.format.frame_samples)

    def digit(self, key: str) -> list[bytes]:
        """A pressed key, as a telephone event of 100 ms. No audio is timed while it is told."""
        frame = self.format.frame_samples
        packets = event_packets(
            key_event(key), self.format.rate * _KEY_MILLISECONDS // 1000, update=frame
        )
        begin = self._sender.timestamp
        self._sender.skip(frame * len(packets))
        return [
            self._sender.event(
                packet.payload, self._event_type, begin + packet.offset, marker=packet.marker
            )
            for packet in packets
        ]

    def hang_up(self) -> bytes:
        """RTP has no end; RTCP's BYE is not for this interface."""
        return b""

    def _receive(self, packet: RtpPacket) -> list[Received]:
        """All but the next packet of audio of the same source."""
        received: list[Received] = []
        if packet.ssrc != self._ssrc:
            # Another source has numbers and a clock of its own (RFC 3550 §8.2).
            self._ssrc = packet.ssrc
            self._events = EventReceiver()
            received = _audio(self.order.restart())
        is_audio = packet.payload_type == self._payload_type
        whole = is_audio and not len(packet.payload) % self._sample_bytes
        # Whatever it holds, a packet has its number: without it the audio after it would wait.
        payload = packet.payload if whole else _NO_AUDIO
        received += _audio(self.order.push(packet.sequence, payload))
        return received if whole else [*received, *self._other(packet, is_audio)]

    def _other(self, packet: RtpPacket, is_audio: bool) -> list[Received]:
        if is_audio:
            return [Fault(Code.ODD_LENGTH, "audio ends within a sample")]
        if packet.payload_type != self._event_type:
            return [Fault(Code.RTP_PAYLOAD_TYPE, "a payload type that was not agreed")]
        try:
            events = parse_events(packet.payload)
        except FrameError as error:
            return [Fault(error.code, error.message)]
        heard = self._events.receive(packet.timestamp, events)
        keys = [event_key(event.event) for event in heard if not event.ended]
        return [Digit(key) for key in keys if key is not None]


def _audio(payloads: list[bytes]) -> list[Received]:
    return [Audio(payload) for payload in payloads if payload]
