"""The time line of a recording, and the telephone events that a phone sends."""

import struct

import pytest

from tests.support.phone_audio import FRAME, RATE, encode_ulaw, sine
from tests.support.phone_rtp import PCMU, Packet, Recording, key_event, parse


def packets(frequency: float, seconds: float, *, at: float, timestamp: int = 0) -> list[Packet]:
    """A talk spurt that arrives as it was sent."""
    data = encode_ulaw(sine(frequency, seconds))
    frames = [data[start : start + FRAME] for start in range(0, len(data), FRAME)]
    return [
        Packet(PCMU, n == 0, n, timestamp + n * FRAME, 1, frame, at + n * FRAME / RATE)
        for n, frame in enumerate(frames)
    ]


def recorded(*parts: list[Packet]) -> Recording:
    recording = Recording()
    for part in parts:
        for packet in part:
            recording.add(packet)
    return recording


def test_spurts_lie_where_they_arrived() -> None:
    recording = recorded(packets(440, 0.4, at=0.5), packets(880, 0.4, at=1.5, timestamp=999_000))

    first, second = recording.tones()

    assert first.start == pytest.approx(0.5, abs=0.03)
    assert second.start == pytest.approx(1.5, abs=0.03)
    assert recording.tones(since=1.2)[0].start == pytest.approx(1.5, abs=0.03)


def test_packets_out_of_order_are_put_in_order() -> None:
    spurt = packets(440, 1.0, at=0.0)
    spurt[10], spurt[11] = spurt[11], spurt[10]

    (tone,) = recorded(spurt).tones()

    assert tone.duration == pytest.approx(1.0, abs=0.05)


def test_lost_packets_leave_a_hole_in_the_tone_and_in_the_times() -> None:
    spurt = packets(440, 1.0, at=0.0)
    recording = recorded(spurt[:20] + spurt[30:])

    assert len(recording.tones()) == 2
    assert recording.longest_gap(0.0, 0.98) == pytest.approx(0.22, abs=0.001)
    assert recording.longest_gap(0.0, 0.38) == pytest.approx(0.02, abs=0.001)
    assert recording.lost(0.0, 0.98) == 10
    assert recording.lost(0.0, 0.38) == 0


def test_silence_until_the_end_is_a_gap_too() -> None:
    assert recorded(packets(440, 0.5, at=0.0)).longest_gap(0.0, 3.0) == pytest.approx(2.52)


def test_rtcp_and_rubbish_are_no_rtp() -> None:
    assert parse(struct.pack("!BBHI", 0x80, 200, 6, 1), 0.0) is None
    assert parse(b"\x80\x00", 0.0) is None
    assert parse(b"SIP/2.0 200 OK\r\n\r\n", 0.0) is None


def test_a_key_is_an_event_with_growing_duration_that_ends_three_times() -> None:
    """RFC 4733 §2.5.1.4: the end is sent three times in all."""
    sent = [packet for slot in key_event("5", ticks=4) for packet in slot]
    bodies = [struct.unpack("!BBH", packet.payload) for packet in sent]

    assert [packet.marker for packet in sent] == [True, False, False, False, False, False]
    assert [packet.back for packet in sent] == [0, 160, 320, 480, 480, 480]
    assert [duration for _, _, duration in bodies] == [160, 320, 480, 640, 640, 640]
    assert [flags >> 7 for _, flags, _ in bodies] == [0, 0, 0, 1, 1, 1]
    assert {number for number, _, _ in bodies} == {5}
