"""Frames, against an independent implementation and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Theirs
from websockets.streams import StreamReader

from evercall.ari.frames import (
    HEAD_MAXIMUM,
    FrameError,
    Head,
    Opcode,
    decode_head,
    encode_close,
    encode_frame,
    unmask,
)

# Lengths on both sides of where a head grows (§5.2), and content of all kinds.
lengths = st.integers(0, 300) | st.integers(65_530, 65_540)
patterns = st.binary(min_size=1, max_size=50)
opcodes = st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG, Opcode.CLOSE])


def parse(data: bytes, *, mask: bool) -> Frame:
    """What the `websockets` library makes of it."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=mask)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        frame: Frame = done.value
        return frame


def fill(length: int, pattern: bytes) -> bytes:
    return (pattern * (length // len(pattern) + 1))[:length]


@given(opcodes, lengths, patterns)
def test_what_we_write_others_read(opcode: Opcode, length: int, pattern: bytes) -> None:
    payload = fill(min(length, 125) if opcode >= Opcode.CLOSE else length, pattern)
    frame = parse(encode_frame(opcode, payload), mask=False)
    assert (int(frame.opcode), bytes(frame.data), frame.fin) == (int(opcode), payload, True)


@given(opcodes, lengths, patterns)
def test_what_others_write_we_read(opcode: Opcode, length: int, pattern: bytes) -> None:
    payload = fill(min(length, 125) if opcode >= Opcode.CLOSE else length, pattern)
    data = Frame(Theirs(int(opcode)), payload).serialize(mask=True)
    head = decode_head(data[:HEAD_MAXIMUM])
    assert head is not None
    assert head.opcode == opcode
    assert len(data) == head.size + head.length
    assert unmask(data[head.size :], head.mask) == payload


@given(lengths, st.integers(0, HEAD_MAXIMUM))
def test_a_head_that_is_not_whole_waits(length: int, size: int) -> None:
    data = encode_frame(Opcode.TEXT, fill(length, b"x"))
    whole = decode_head(data)
    assert whole is not None
    assert decode_head(data[:size]) == (whole if size >= whole.size else None)


@given(st.binary(max_size=HEAD_MAXIMUM))
def test_garbage_is_a_head_or_an_error(data: bytes) -> None:
    try:
        head = decode_head(data)
    except FrameError:
        return
    assert head is None or isinstance(head, Head)


@pytest.mark.parametrize(
    "first",
    [0x01, 0x80, 0x83, 0x8B, 0xC1, 0xA1],
    ids=["fragment", "continuation", "reserved data", "reserved control", "rsv1", "rsv2"],
)
def test_frames_that_asterisk_never_sends_are_errors(first: int) -> None:
    with pytest.raises(FrameError):
        decode_head(bytes((first, 0x00)))


def test_an_unmasked_payload_stays_as_it_is() -> None:
    assert unmask(b"hello", b"") == b"hello"
    assert unmask(b"hello", b"\0\0\0\0") == b"hello"
    assert unmask(b"", b"abcd") == b""


def test_close_says_that_all_is_well() -> None:
    frame = parse(encode_close(), mask=False)
    assert (int(frame.opcode), bytes(frame.data)) == (int(Opcode.CLOSE), b"\x03\xe8")
