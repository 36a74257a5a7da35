"""WebSocket frames (RFC 6455 §5) as ARI needs them, on the server's side. Pure.

The bytes of a stream outlive the process that read them (asterisk_proxy), so whoever reads them must
know exactly where a frame ends: that is why no WebSocket library stands here. Asterisk neither
fragments messages nor negotiates extensions; a frame that does is an error.
"""

from dataclasses import dataclass
from enum import IntEnum

HEAD_MAXIMUM = 14
"""Bytes of the longest frame head: 2, an 8-byte length, a 4-byte mask (§5.2)."""

_FINAL = 0x80
_MASKED = 0x80
_LENGTH_16 = 126
_LENGTH_64 = 127


class Opcode(IntEnum):
    """Kinds of frames (§5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class FrameError(ValueError):
    """The peer does not speak WebSocket as we do; nothing after it can be understood."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before a payload. `size` is the head's own length."""

    opcode: int
    size: int
    length: int
    mask: bytes


def decode_head(data: bytes) -> Head | None:
    """Reads a frame's head; None where more bytes are needed (at most `HEAD_MAXIMUM`).

    Raises:
        FrameError: a fragment, a reserved bit or an unknown kind of frame.
    """
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    opcode = first & 0x0F
    if first & 0xF0 != _FINAL or opcode not in _KNOWN:
        raise FrameError(f"unexpected first byte {first:#04x}")
    length, position = second & 0x7F, 2
    if length == _LENGTH_16:
        length, position = int.from_bytes(data[2:4], "big"), 4
    elif length == _LENGTH_64:
        length, position = int.from_bytes(data[2:10], "big"), 10
    size = position + 4 if second & _MASKED else position
    if len(data) < size:
        return None
    return Head(opcode, size, length, bytes(data[position:size]))


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Undoes a client's masking (§5.3), as one operation on one big number."""
    if not any(mask):
        return payload
    length = len(payload)
    pad = (mask * (length // 4 + 1))[:length]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")
    return mixed.to_bytes(length, "little")


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole message in one frame. A server does not mask (§5.1)."""
    length = len(payload)
    if length < _LENGTH_16:
        return bytes((_FINAL | opcode, length)) + payload
    if length < 1 << 16:
        return bytes((_FINAL | opcode, _LENGTH_16)) + length.to_bytes(2, "big") + payload
    return bytes((_FINAL | opcode, _LENGTH_64)) + length.to_bytes(8, "big") + payload


def encode_close(code: int = 1000) -> bytes:
    """A close frame (§5.5.1); 1000 is a normal end (§7.4.1)."""
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big"))


_KNOWN = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE, Opcode.PING, Opcode.PONG))
