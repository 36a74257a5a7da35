"""AudioSocket, Asterisk's framing of audio over TCP: a kind, a length of two bytes, a payload.

https://docs.asterisk.org, "AudioSocket". Three things that it does not say, from Asterisk's
res_audiosocket.c: a message of audio must not be empty; Asterisk ends the connection when it is sent
anything but audio and hang-up; it may lose its place when the three bytes of a head come in pieces, so a
message is to be written as a whole.
"""

import struct
from enum import IntEnum
from uuid import UUID

import msgspec

from evercall.media.audio import AudioFormat, Coding
from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.framing import Audio, Digit, Encapsulation, Fault, HangUp, Identity, Received
from evercall.media.keypad import KEYS

HEAD_SIZE = 3
LONGEST_PAYLOAD = 0xFFFF

MOST_AT_ONCE = 4096
"""Messages in one piece of bytes: a mebibyte of frames of 20 ms has 3246 of them. Of the smallest it would have
350,000, which take more than a second to read."""

_HEAD = struct.Struct("!BH")


class Kind(IntEnum):
    """Kinds of messages; kinds of audio are in `RATES`."""

    HANG_UP = 0x00
    IDENTITY = 0x01
    DIGIT = 0x03
    ERROR = 0xFF


RATES = {
    0x10: 8000, 0x11: 12_000, 0x12: 16_000, 0x13: 24_000, 0x14: 32_000,
    0x15: 44_100, 0x16: 48_000, 0x17: 96_000, 0x18: 192_000,
}  # fmt: skip
"""The sample rate that each kind of audio stands for."""

AUDIO_KINDS = {rate: kind for kind, rate in RATES.items()}


class Samples(msgspec.Struct, frozen=True, gc=False):
    """Linear audio at a rate."""

    rate: int
    data: bytes


class ErrorMessage(msgspec.Struct, frozen=True, gc=False):
    """The sender has failed. Asterisk's codes: 1 hung up, 2 a frame could not be passed on, 4 memory."""

    code: int | None


Message = Samples | HangUp | Identity | Digit | ErrorMessage


def parse_message(kind: int, payload: bytes) -> Message:
    """Reads one message.

    Raises:
        FrameError: it is none.
    """
    if kind in RATES:
        if not payload:
            raise FrameError(Code.AUDIOSOCKET_LENGTH, "a message of audio is empty")
        if len(payload) % 2:
            raise FrameError(Code.ODD_LENGTH, "audio ends within a sample")
        return Samples(RATES[kind], payload)
    if kind == Kind.HANG_UP:
        return HangUp()
    if kind == Kind.IDENTITY:
        return Identity(UUID(bytes=_sized(payload, 16)))
    if kind == Kind.DIGIT:
        return Digit(_key(_sized(payload, 1)))
    if kind == Kind.ERROR:
        return ErrorMessage(_sized(payload, 1)[0] if payload else None)
    raise FrameError(Code.AUDIOSOCKET_KIND, "AudioSocket has no such kind of message")


def _sized(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise FrameError(Code.AUDIOSOCKET_LENGTH, "the length does not fit the kind of message")
    return payload


def _key(payload: bytes) -> str:
    key = chr(payload[0])
    if key not in KEYS:
        raise FrameError(Code.AUDIOSOCKET_DIGIT, "a telephone has no such key")
    return key


def build_message(message: Message) -> bytes:
    """The message's bytes.

    Raises:
        FormatError: a field does not fit.
    """
    match message:
        case Samples(rate, data):
            return build_audio(rate, data)
        case HangUp():
            return _HEAD.pack(Kind.HANG_UP, 0)
        case Identity(identity):
            return _HEAD.pack(Kind.IDENTITY, 16) + identity.bytes
        case Digit(key):
            return _HEAD.pack(Kind.DIGIT, 1) + _checked(key)
    payload = b"" if message.code is None else bytes((message.code,))
    return _HEAD.pack(Kind.ERROR, len(payload)) + payload


def _checked(key: str) -> bytes:
    if len(key) != 1 or key not in KEYS:
        raise FormatError(Code.UNKNOWN_KEY, "a telephone has no such key")
    return key.encode()


def build_audio(rate: int, data: bytes) -> bytes:
    """A message of audio.

    Raises:
        FormatError: there is no kind for the rate, or the audio is empty, too long or ends within a sample.
    """
    kind = AUDIO_KINDS.get(rate)
    if kind is None:
        raise FormatError(Code.UNSUPPORTED_RATE, "AudioSocket has no kind for this rate")
    length = len(data)
    if length % 2 or not 0 < length <= LONGEST_PAYLOAD:
        raise FormatError(Code.FRAME_LENGTH, "the audio does not fit one message")
    return _HEAD.pack(kind, length) + data


class StreamReader:
    """Messages out of a stream of bytes that comes in any pieces. Keeps less than one message."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def buffered(self) -> int:
        """Bytes that wait for the rest of their message."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The kinds and payloads that are complete with these bytes.

        Of more than `MOST_AT_ONCE` the first ones and one more are returned; the bytes after them are dropped.
        """
        if self._rest:
            data = self._rest + data
        messages = []
        position, end = 0, len(data)
        while end - position >= HEAD_SIZE:
            kind, length = _HEAD.unpack_from(data, position)
            begin = position + HEAD_SIZE
            if begin + length > end:
                break
            position = begin + length
            messages.append((kind, data[begin:position]))
            if len(messages) > MOST_AT_ONCE:
                position = end
        self._rest = data[position:]
        return messages


class AudioSocketFraming:
    """An application's AudioSocket: whole messages, however they are cut."""

    encapsulation = Encapsulation.AUDIOSOCKET

    def __init__(self, rate: int) -> None:
        build_audio(rate, b"\0\0")
        self.format = AudioFormat(Coding.LINEAR, rate)
        self._reader = StreamReader()
        self._kind = AUDIO_KINDS[rate]
        # A frame of 20 ms always has the same head.
        self._frame_bytes = self.format.frame_bytes
        self._head = _HEAD.pack(self._kind, self._frame_bytes)
        self._whole = HEAD_SIZE + self._frame_bytes

    def receive(self, data: bytes) -> list[Received]:
        """What the bytes hold. A message that makes no sense does not hide those after it."""
        if len(data) == self._whole and data.startswith(self._head) and not self._reader.buffered:
            return [Audio(data[HEAD_SIZE:])]
        received: list[Received] = []
        messages = self._reader.feed(data)
        for kind, payload in messages[:MOST_AT_ONCE]:
            if kind == self._kind and payload and not len(payload) % 2:
                received.append(Audio(payload))
                continue
            received.append(self._other(kind, payload))
        if len(messages) > MOST_AT_ONCE:
            fault = Fault(Code.AUDIOSOCKET_CROWD, "too many messages came at once")
            received.append(fault)
        return received

    def _other(self, kind: int, payload: bytes) -> Received:
        try:
            message = parse_message(kind, payload)
        except FrameError as error:
            return Fault(error.code, error.message)
        match message:
            case Samples():
                return Fault(Code.AUDIOSOCKET_RATE, "audio of a rate that was not agreed")
            case ErrorMessage():
                # Whoever reports an error has given up (Asterisk closes the connection after it).
                return HangUp()
            case _:
                return message

    def release(self) -> list[Received]:
        """Nothing is held back."""
        return []

    def opening(self, identity: UUID) -> bytes:
        """Whoever connects says first which stream it is."""
        return build_message(Identity(identity))

    def audio(self, frame: bytes) -> bytes:
        """A message of audio."""
        if len(frame) == self._frame_bytes:
            return self._head + frame
        return build_audio(self.format.rate, frame)

    def pause(self, frames: int) -> None:
        """A pause is not told."""

    def digit(self, key: str) -> list[bytes]:
        """A pressed key, in one message."""
        return [build_message(Digit(key))]

    def hang_up(self) -> bytes:
        """The last message."""
        return build_message(HangUp())
