"""RTP packets: real ones, made ones, bad ones, any bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.rtp import (
    Extension,
    RtpPacket,
    RtpSender,
    build,
    parse,
    sequence_distance,
    timestamp_distance,
)
from tests.unit.media.samples import DATA, QUICK, code_of, files, packets

WORDS = st.integers(0, 0xFFFFFFFF)
EXTENSIONS = st.builds(
    Extension,
    st.integers(0, 0xFFFF),
    st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]),
)
PACKETS = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=WORDS,
    ssrc=WORDS,
    payload=st.binary(max_size=200),
    marker=st.booleans(),
    csrc=st.lists(WORDS, max_size=15).map(tuple),
    extension=st.none() | EXTENSIONS,
    padding=st.integers(0, 255),
).filter(lambda packet: not (packet.marker and 64 <= packet.payload_type <= 95))


@pytest.mark.parametrize("file", files("rtp/good"))
def test_a_good_packet_is_read_and_built_again(file: Path) -> None:
    data = file.read_bytes()
    assert build(parse(data)) == data


@pytest.mark.parametrize("file", files("rtp/bad"))
def test_a_bad_packet_gives_its_code(file: Path) -> None:
    with pytest.raises(FrameError) as caught:
        parse(file.read_bytes())
    assert caught.value.code == code_of(file)


def test_what_asterisk_sends_is_read_field_by_field() -> None:
    ulaw = parse((DATA / "rtp/good/asterisk_ulaw.bin").read_bytes())
    assert (ulaw.payload_type, ulaw.marker, ulaw.sequence, ulaw.timestamp) == (
        0,
        False,
        0x3A40,
        640,
    )
    assert (ulaw.ssrc, len(ulaw.payload)) == (0x77F138BD, 160)
    event = parse((DATA / "rtp/good/asterisk_event_begin.bin").read_bytes())
    assert (event.payload_type, event.marker, event.payload.hex()) == (101, True, "010a00a0")


def test_every_part_of_the_header_has_its_place() -> None:
    packet = parse((DATA / "rtp/good/everything.bin").read_bytes())
    assert packet.csrc == (7, 8, 9)
    assert packet.extension == Extension(0xABCD, bytes(8))
    assert (packet.marker, packet.payload_type, packet.padding) == (True, 96, 2)
    assert packet.payload == bytes(range(16))


@QUICK
@given(PACKETS)
def test_what_is_built_is_read_again(packet: RtpPacket) -> None:
    assert parse(build(packet)) == packet


@QUICK
@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\xb3\x00" + rest))
def test_any_bytes_are_a_packet_or_a_frame_error(data: bytes) -> None:
    try:
        packet = parse(data)
    except FrameError:
        return
    assert parse(build(packet)) == packet
    assert len(build(packet)) == len(data)


@pytest.mark.parametrize(
    "wrong",
    [
        RtpPacket(128, 0, 0, 0, b""),
        RtpPacket(-1, 0, 0, 0, b""),
        RtpPacket(0, 0x10000, 0, 0, b""),
        RtpPacket(0, 0, -1, 0, b""),
        RtpPacket(0, 0, 0, 1 << 32, b""),
        RtpPacket(0, 0, 0, 0, b"", csrc=(0,) * 16),
        RtpPacket(0, 0, 0, 0, b"", csrc=(-1,)),
        RtpPacket(0, 0, 0, 0, b"", padding=256),
        RtpPacket(0, 0, 0, 0, b"", extension=Extension(0, b"abc")),
        RtpPacket(0, 0, 0, 0, b"", extension=Extension(0x10000, b"")),
        RtpPacket(72, 0, 0, 0, b"", marker=True),
    ],
)
def test_a_field_that_does_not_fit_is_refused(wrong: RtpPacket) -> None:
    with pytest.raises(FormatError) as caught:
        build(wrong)
    assert caught.value.code is Code.RTP_FIELD


# -- numbers that wrap -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "earlier", "distance"),
    [(1, 0, 1), (0, 0xFFFF, 1), (0xFFFF, 0, -1), (0x7FFF, 0, 0x7FFF), (0x8000, 0, -0x8000)],
)
def test_sequence_numbers_wrap(later: int, earlier: int, distance: int) -> None:
    assert sequence_distance(later, earlier) == distance


@pytest.mark.parametrize(
    ("later", "earlier", "distance"),
    [(160, 0, 160), (100, 0xFFFFFFC4, 160), (0xFFFFFFC4, 100, -160), (1 << 31, 0, -(1 << 31))],
)
def test_timestamps_wrap(later: int, earlier: int, distance: int) -> None:
    assert timestamp_distance(later, earlier) == distance


@QUICK
@given(st.integers(0, 0xFFFF), st.integers(-0x7FFF, 0x7FFF))
def test_a_distance_is_what_was_gone(begin: int, steps: int) -> None:
    assert sequence_distance(begin + steps & 0xFFFF, begin) == steps


# -- the sender --------------------------------------------------------------------------------


def test_a_sender_numbers_packets_across_both_wraps() -> None:
    sender = RtpSender(5, 0, sequence=0xFFFE, timestamp=0xFFFFFF00)
    sent = [parse(sender.audio(bytes(160), 160)) for _ in range(4)]
    assert [packet.sequence for packet in sent] == [0xFFFE, 0xFFFF, 0, 1]
    assert [packet.timestamp for packet in sent] == [0xFFFFFF00, 0xFFFFFFA0, 0x40, 0xE0]
    assert [packet.marker for packet in sent] == [True, False, False, False]
    assert {(packet.ssrc, packet.payload_type, len(packet.payload)) for packet in sent} == {
        (5, 0, 160)
    }


def test_a_packet_of_a_telephone_frame_has_172_bytes() -> None:
    sender = RtpSender(0, 0, sequence=0, timestamp=0)
    assert len(sender.audio(b"\xff" * 160, 160)) == 172


def test_after_a_pause_the_first_packet_is_marked_and_time_has_passed() -> None:
    sender = RtpSender(5, 0, sequence=10, timestamp=1000)
    sender.audio(bytes(160), 160)
    sender.skip(800)
    packet = parse(sender.audio(bytes(160), 160))
    assert (packet.sequence, packet.timestamp, packet.marker) == (11, 1960, True)
    assert sender.timestamp == 2120


def test_an_event_has_a_number_among_the_audio_and_a_time_of_its_own() -> None:
    sender = RtpSender(5, 0, sequence=10, timestamp=1000)
    event = parse(sender.event(b"\1\2\3\4", 101, (1 << 32) + 7, marker=True))
    audio = parse(sender.audio(bytes(160), 160))
    assert (event.sequence, event.timestamp, event.payload_type, event.marker) == (10, 7, 101, True)
    assert (audio.sequence, audio.timestamp) == (11, 1000)


@pytest.mark.parametrize(
    ("ssrc", "payload_type", "sequence", "timestamp"),
    [(1 << 32, 0, 0, 0), (0, 70, 0, 0), (0, 0, 1 << 16, 0), (0, 0, 0, -1)],
)
def test_a_sender_begins_with_numbers_that_fit(
    ssrc: int, payload_type: int, sequence: int, timestamp: int
) -> None:
    with pytest.raises(FormatError):
        RtpSender(ssrc, payload_type, sequence=sequence, timestamp=timestamp)


def test_a_captured_stream_is_numbered_as_a_sender_numbers() -> None:
    """Asterisk's own packets, byte for byte, out of our sender."""
    captured = packets("asterisk_g722")
    first = parse(captured[0])
    sender = RtpSender(first.ssrc, 9, sequence=first.sequence, timestamp=first.timestamp)
    sent = [sender.audio(parse(data).payload, 160) for data in captured]
    # Asterisk does not mark the first packet of such a channel (RFC 3551 §4.1 wants it).
    assert sent[1:] == captured[1:]
