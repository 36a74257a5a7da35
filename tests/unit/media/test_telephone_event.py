"""Telephone events: payloads, whole sequences, and one beginning and end for each key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media import rtp
from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.keypad import KEYS
from evercall.media.telephone_event import (
    EventReceiver,
    Heard,
    TelephoneEvent,
    build_event,
    event_key,
    event_packets,
    key_event,
    parse_events,
)
from tests.unit.media.samples import DATA, QUICK, code_of, files, packets

EVENTS = st.builds(
    TelephoneEvent,
    st.integers(0, 255),
    st.booleans(),
    st.integers(0, 63),
    st.integers(0, 0xFFFF),
)


@QUICK
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_what_is_built_is_read_again(events: list[TelephoneEvent]) -> None:
    assert parse_events(b"".join(map(build_event, events))) == tuple(events)


@QUICK
@given(st.binary(max_size=20))
def test_any_bytes_are_events_or_a_frame_error(data: bytes) -> None:
    try:
        events = parse_events(data)
    except FrameError:
        assert len(data) % 4 or not data
        return
    assert len(events) * 4 == len(data)


@pytest.mark.parametrize("file", files("events/bad"))
def test_a_bad_payload_gives_its_code(file: Path) -> None:
    with pytest.raises(FrameError) as caught:
        parse_events(file.read_bytes())
    assert caught.value.code == code_of(file)


def test_good_payloads_are_read() -> None:
    folder = DATA / "events" / "good"
    assert parse_events((folder / "flash.bin").read_bytes()) == (TelephoneEvent(16, True, 10, 960),)
    two = parse_events((folder / "two_packed.bin").read_bytes())
    assert [(event.event, event.end, event.duration) for event in two] == [
        (5, True, 800),
        (6, True, 800),
    ]
    # RFC 4733 §2.3.3: the reserved bit is ignored.
    reserved = parse_events((folder / "reserved_bit.bin").read_bytes())
    assert reserved == (TelephoneEvent(1, False, 10, 320),)


@pytest.mark.parametrize(
    "wrong",
    [
        TelephoneEvent(256, False, 10, 1),
        TelephoneEvent(1, False, 64, 1),
        TelephoneEvent(1, False, -1, 1),
        TelephoneEvent(1, False, 10, 0x10000),
    ],
)
def test_a_field_that_does_not_fit_is_refused(wrong: TelephoneEvent) -> None:
    with pytest.raises(FormatError) as caught:
        build_event(wrong)
    assert caught.value.code is Code.EVENT_FIELD


def test_keys_are_the_first_sixteen_events() -> None:
    assert [key_event(key) for key in KEYS] == list(range(16))
    assert "".join(event_key(event) or "?" for event in range(17)) == KEYS + "?"
    for wrong in ("", "12", "E"):
        with pytest.raises(FormatError):
            key_event(wrong)


# -- sequences ---------------------------------------------------------------------------------


def test_a_key_is_told_with_growing_durations_and_three_ends() -> None:
    sent = event_packets(5, 640)
    told = [parse_events(packet.payload)[0] for packet in sent]
    assert [event.duration for event in told] == [160, 320, 480, 640, 640, 640]
    assert [event.end for event in told] == [False, False, False, True, True, True]
    assert [packet.marker for packet in sent] == [True, False, False, False, False, False]
    assert {packet.offset for packet in sent} == {0}


def test_an_event_shorter_than_an_update_is_its_end() -> None:
    sent = event_packets(1, 100)
    assert [parse_events(packet.payload)[0].end for packet in sent] == [True] * 3
    assert [packet.marker for packet in sent] == [True, False, False]


def test_a_long_event_is_told_in_segments() -> None:
    """RFC 4733 §2.5.1.3: a segment ends without E, the next one has a timestamp of its own."""
    sent = event_packets(1, 0xFFFF + 320)
    segments = [packet for packet in sent if packet.offset == 0]
    rest = [packet for packet in sent if packet.offset]
    assert parse_events(segments[-1].payload)[0] == TelephoneEvent(1, False, 10, 0xFFFF)
    assert {packet.offset for packet in rest} == {0xFFFF}
    assert [parse_events(packet.payload)[0].duration for packet in rest] == [160, 320, 320, 320]
    assert sum(packet.marker for packet in sent) == 1


# -- hearing -----------------------------------------------------------------------------------


def hear(
    receiver: EventReceiver,
    event: int,
    duration: int,
    begin: int,
    lost: frozenset[int] = frozenset(),
) -> list[Heard]:
    heard = []
    for number, packet in enumerate(event_packets(event, duration)):
        if number not in lost:
            timestamp = begin + packet.offset & 0xFFFFFFFF
            heard += receiver.receive(timestamp, parse_events(packet.payload))
    return heard


def test_what_asterisk_sends_is_heard_once_each() -> None:
    receiver = EventReceiver()
    heard = []
    for data in packets("asterisk_events"):
        packet = rtp.parse(data)
        heard += receiver.receive(packet.timestamp, parse_events(packet.payload))
    assert [(event_key(event.event), event.ended, event.duration) for event in heard] == [
        ("1", False, 0), ("1", True, 800), ("5", False, 0), ("5", True, 800),
        ("#", False, 0), ("#", True, 800),
    ]  # fmt: skip


@QUICK
@given(st.integers(1, 3000), st.frozensets(st.integers(0, 20)), st.integers(0, 0xFFFFFFFF))
def test_a_key_is_heard_once_whatever_is_lost(
    duration: int, lost: frozenset[int], begin: int
) -> None:
    receiver = EventReceiver()
    heard = hear(receiver, 7, duration, begin, lost)
    count = len(event_packets(7, duration))
    if lost >= frozenset(range(count)):
        assert heard == []
        return
    heard += receiver.stop()
    assert [(event.event, event.ended) for event in heard] == [(7, False), (7, True)]
    if not lost & {count - 1, count - 2, count - 3}:
        assert heard[1].duration == duration


def test_a_segmented_event_is_one_event() -> None:
    heard = hear(EventReceiver(), 1, 0xFFFF * 2 + 500, begin=0xFFFFFF00)
    assert heard == [Heard(1, False, 0), Heard(1, True, 0xFFFF * 2 + 500)]


def test_the_next_key_ends_one_whose_end_was_lost() -> None:
    receiver = EventReceiver()
    heard = hear(receiver, 1, 480, begin=0, lost=frozenset({2, 3, 4}))
    heard += hear(receiver, 2, 160, begin=2000)
    assert heard == [
        Heard(1, False, 0), Heard(1, True, 320), Heard(2, False, 0), Heard(2, True, 160),
    ]  # fmt: skip


def test_the_same_key_much_later_is_pressed_again() -> None:
    receiver = EventReceiver()
    heard = hear(receiver, 1, 480, begin=0, lost=frozenset({2, 3, 4}))
    heard += hear(receiver, 1, 160, begin=0x20000)
    assert [event.ended for event in heard] == [False, True, False, True]


def test_late_and_contradicting_packets_are_ignored() -> None:
    receiver = EventReceiver()
    hear(receiver, 2, 160, begin=2000)
    assert hear(receiver, 1, 480, begin=0) == []
    assert receiver.receive(2000, (TelephoneEvent(3, False, 10, 160),)) == []
    assert receiver.stop() == []


def test_a_clock_that_begins_anew_does_not_make_keys_late() -> None:
    receiver = EventReceiver()
    hear(receiver, 2, 160, begin=2_000_000)
    assert [event.event for event in hear(receiver, 3, 160, begin=0)] == [3, 3]


def test_packets_out_of_order_do_not_shorten_an_event() -> None:
    receiver = EventReceiver()
    receiver.receive(0, (TelephoneEvent(3, False, 10, 480),))
    receiver.receive(0, (TelephoneEvent(3, False, 10, 160),))
    assert receiver.stop() == [Heard(3, True, 480)]


def test_events_packed_into_one_packet_follow_each_other() -> None:
    data = (DATA / "events/good/two_packed.bin").read_bytes()
    receiver = EventReceiver()
    heard = receiver.receive(0, parse_events(data))
    assert [(event.event, event.ended) for event in heard] == [
        (5, False), (5, True), (6, False), (6, True),
    ]  # fmt: skip
    assert receiver.receive(0, parse_events(data)) == []
