"""The audio of one stream, both ways."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.contracts.media import MediaDirection
from evercall.media import g711, rtp
from evercall.media.audiosocket import build_message
from evercall.media.encapsulation import open_framing
from evercall.media.framing import Fault, Identity
from media_manager.domain.closing import StreamEnd
from media_manager.domain.counts import Counts
from media_manager.domain.options import StreamLimits
from tests.unit.media.samples import QUICK
from tests.unit.media_manager.streams import (
    CALL,
    CUSTOMER,
    FRAME,
    STREAM,
    application_packet,
    make_stream,
    packet,
    played,
    told,
)

KINDS = [
    ("rtp", 8000),
    ("sln", 8000),
    ("sln", 16000),
    ("audiosocket", 8000),
    ("audiosocket", 16000),
]
SILENCE = b"\xff" * 160


# -- to the application ------------------------------------------------------------------------


def test_rtp_passes_the_payload_untouched() -> None:
    stream = make_stream("rtp")
    messages = [stream.spoken(packet(number, bytes([number]) * 160)) for number in range(5)]
    assert all(len(each) == 1 for each in messages)
    heard = [rtp.parse(each[0]) for each in messages]
    assert [each.payload for each in heard] == [bytes([number]) * 160 for number in range(5)]
    assert [each.sequence - heard[0].sequence & 0xFFFF for each in heard] == [0, 1, 2, 3, 4]
    assert [each.timestamp - heard[0].timestamp & 0xFFFFFFFF for each in heard] == [
        0,
        160,
        320,
        480,
        640,
    ]
    assert [each.marker for each in heard] == [True, False, False, False, False]


def test_sln_is_the_same_audio_linear() -> None:
    stream = make_stream("sln")
    assert stream.spoken(packet(1)) == [g711.ulaw_to_linear(FRAME)]


@pytest.mark.parametrize(
    ("encapsulation", "rate", "size"), [("sln", 16000, 640), ("sln", 8000, 320)]
)
def test_each_packet_is_one_frame_of_20_ms(encapsulation: str, rate: int, size: int) -> None:
    stream = make_stream(encapsulation, rate)
    sizes = [len(message) for number in range(50) for message in stream.spoken(packet(number))]
    assert sizes == [size] * 50


def test_the_source_may_number_anew() -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    stream.spoken(packet(40_000))
    assert len(stream.spoken(packet(5, ssrc=8))) == 1
    assert len(stream.spoken(packet(6, ssrc=8))) == 1
    assert (counts.spoken, counts.lost, counts.late) == (3, 0, 0)


def test_numbers_wrap() -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    for number in range(65_530, 65_545):
        assert len(stream.spoken(packet(number))) == 1
    assert (counts.spoken, counts.lost, counts.late) == (15, 0, 0)


@pytest.mark.parametrize("gap", [1, 10])
def test_a_gap_is_filled_with_silence_so_that_positions_stay_true(gap: int) -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    stream.spoken(packet(1))
    messages = stream.spoken(packet(2 + gap))
    assert messages[:-1] == [g711.ulaw_to_linear(SILENCE)] * gap
    assert messages[-1] == g711.ulaw_to_linear(FRAME)
    assert counts.lost == gap


@pytest.mark.parametrize("gap", [1, 10])
def test_rtp_tells_a_gap_by_its_timestamps(gap: int) -> None:
    stream = make_stream("rtp")
    first = rtp.parse(stream.spoken(packet(1))[0])
    messages = stream.spoken(packet(2 + gap))
    second = rtp.parse(messages[0])
    assert len(messages) == 1
    assert second.sequence - first.sequence & 0xFFFF == 1
    assert second.timestamp - first.timestamp & 0xFFFFFFFF == 160 * (1 + gap)


def test_a_long_gap_is_a_pause() -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    stream.spoken(packet(1))
    assert len(stream.spoken(packet(13))) == 1
    assert counts.lost == 0


def test_what_comes_late_is_left_out() -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    for number in (1, 3):
        stream.spoken(packet(number))
    assert stream.spoken(packet(2)) == []
    assert stream.spoken(packet(3)) == []
    assert len(stream.spoken(packet(4))) == 1
    assert (counts.late, counts.spoken) == (2, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", bytes(172), packet(1)[:11], packet(1, kind=rtp.PCMA), packet(1, kind=101)],
    ids=["nothing", "a byte", "version 0", "no whole header", "A-law", "an event"],
)
def test_what_is_no_ulaw_is_counted_and_dropped(data: bytes) -> None:
    counts = Counts()
    stream = make_stream("rtp", counts=counts)
    assert stream.spoken(data) == []
    assert (counts.strange, counts.spoken) == (1, 0)


def test_a_header_that_is_longer_is_read_past() -> None:
    stream = make_stream("sln")
    stream.spoken(packet(1))
    plain = packet(2)
    with_sources = bytes([plain[0] | 2]) + plain[1:12] + bytes(8) + plain[12:]
    assert stream.spoken(with_sources) == [g711.ulaw_to_linear(FRAME)]


@QUICK
@given(st.lists(st.binary(max_size=400) | st.integers(0, 70_000).map(packet), max_size=40))
@pytest.mark.parametrize(("encapsulation", "rate"), KINDS)
def test_whatever_asterisk_sends_nothing_is_raised(
    encapsulation: str, rate: int, packets: list[bytes]
) -> None:
    stream = make_stream(encapsulation, rate)
    sent = [message for data in packets for message in stream.spoken(data)]
    # Each packet brings at most ten frames of silence and its own audio.
    assert len(sent) <= 11 * len(packets)


def test_who_pauses_gets_nothing_until_resume() -> None:
    counts = Counts()
    stream = make_stream("sln", counts=counts)
    stream.spoken(packet(1))
    stream.hear_text(b'{"type":"pause"}', 0.0)
    assert stream.spoken(packet(2)) == []
    stream.hear_text(b'{"type":"resume"}', 0.0)
    assert len(stream.spoken(packet(3))) == 1
    assert counts.behind == 1


def test_who_pauses_gets_no_silence_for_a_gap_either() -> None:
    stream = make_stream("sln")
    stream.spoken(packet(1))
    stream.hear_text(b'{"type":"pause"}', 0.0)
    assert stream.spoken(packet(4)) == []


def test_rtp_tells_a_pause_that_was_asked_for_by_its_timestamps() -> None:
    stream = make_stream("rtp")
    first = rtp.parse(stream.spoken(packet(1))[0])
    stream.hear_text(b'{"type":"pause"}', 0.0)
    for number in (2, 3, 6):
        stream.spoken(packet(number))
    stream.hear_text(b'{"type":"resume"}', 0.0)
    [message] = stream.spoken(packet(7))
    assert rtp.parse(message).timestamp - first.timestamp & 0xFFFFFFFF == 6 * 160
    assert rtp.parse(message).marker


def test_a_key_is_told() -> None:
    stream = make_stream()
    stream.digit("5", 120)
    [said] = told(stream)
    assert (said["type"], said["digit"], said["duration_ms"]) == ("dtmf", "5", 120)


# -- from the application ----------------------------------------------------------------------


def test_rtp_reaches_the_call_bit_for_bit_whatever_its_numbers() -> None:
    stream = make_stream("rtp")
    sent = [bytes([number]) * 160 for number in range(20)]
    for number, payload in enumerate(sent, 65_530):
        stream.hear(application_packet(number, payload), 0.0)
    heard = played(stream)
    assert [each.payload for each in heard] == sent
    assert all(each.payload_type == rtp.PCMU for each in heard)
    steps = {
        (second.sequence - first.sequence & 0xFFFF, second.timestamp - first.timestamp & 0xFFFFFFFF)
        for first, second in itertools.pairwise(heard)
    }
    assert steps == {(1, 160)}
    assert [each.marker for each in heard] == [True] + [False] * 19


def test_packets_out_of_order_are_put_in_order() -> None:
    stream = make_stream("rtp")
    for number in (1, 3, 2, 4):
        stream.hear(application_packet(number, bytes([number]) * 160), 0.0)
    assert [each.payload[0] for each in played(stream)] == [1, 2, 3, 4]


def test_a_packet_that_never_comes_holds_nothing_back() -> None:
    stream = make_stream("rtp")
    for number in (1, 3, 4):
        stream.hear(application_packet(number, bytes([number]) * 160), 0.0)
    assert [each.payload[0] for each in played(stream)] == [1, 3, 4]


def test_the_first_packet_after_a_silence_may_be_lost() -> None:
    stream = make_stream("rtp")
    stream.hear(application_packet(1), 0.0)
    played(stream)
    stream.hear(application_packet(3, b"\x03" * 160), 0.0)
    # Nothing is queued yet, but who plays must look after it.
    assert [each.payload[0] for each in played(stream)] == [3]


def test_time_in_which_nothing_is_said_passes_in_the_timestamps() -> None:
    stream = make_stream("rtp")
    stream.hear(application_packet(1), 0.0)
    [first] = played(stream)
    assert [stream.take() for _ in range(5)] == [None] * 5
    stream.skip(3)
    stream.hear(application_packet(2), 0.0)
    # The one tick in which the queue waits for a second frame is time too.
    waited = 0
    while (data := stream.take()) is None:
        waited += 1
    second = rtp.parse(data)
    assert second.marker
    assert second.sequence - first.sequence & 0xFFFF == 1
    assert second.timestamp - first.timestamp & 0xFFFFFFFF == 160 * (1 + 5 + 3 + waited)


@QUICK
@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_all_that_sln_brings_is_played(pieces: list[bytes]) -> None:
    stream = make_stream("sln")
    for piece in pieces:
        stream.hear(piece, 0.0)
    audio = b"".join(pieces)
    expected = g711.linear_to_ulaw(audio[: len(audio) // 2 * 2])
    heard = b"".join(each.payload for each in played(stream))
    assert heard[: len(expected)] == expected
    assert set(heard[len(expected) :]) <= {0xFF}
    assert len(heard) - len(expected) < 160


@pytest.mark.parametrize(("encapsulation", "rate"), KINDS)
def test_as_much_is_played_as_was_sent(encapsulation: str, rate: int) -> None:
    stream = make_stream(encapsulation, rate)
    framing = open_framing(encapsulation, rate, seed=1)
    for _ in range(100):
        stream.hear(framing.audio(framing.format.silence), 0.0)
    # A resampler holds a few samples back until more come.
    assert 99 <= len(played(stream)) <= 100


class TestGarbage:
    """Nothing that an application sends is raised or grows without end."""

    @QUICK
    @given(st.lists(st.binary(max_size=3000), max_size=30))
    @pytest.mark.parametrize(("encapsulation", "rate"), KINDS)
    def test_binary(self, encapsulation: str, rate: int, messages: list[bytes]) -> None:
        limits = StreamLimits(queue_seconds=0.1)
        stream = make_stream(encapsulation, rate, limits=limits)
        for number, message in enumerate(messages):
            stream.hear(message, number / 50)
        # 100 ms are five frames, and the last one may be filled up.
        assert len(played(stream)) <= 6

    @QUICK
    @given(
        st.lists(
            st.binary(max_size=300)
            | st.text(max_size=300).map(str.encode)
            | st.sampled_from([b'{"type":"clear"}', b'{"type":"mark","name":"x"}', b"[" * 4096]),
            max_size=30,
        )
    )
    def test_text(self, messages: list[bytes]) -> None:
        stream = make_stream()
        for message in messages:
            stream.hear_text(message, 0.0)
        # Errors are told once a second for each code, of which there are three.
        assert sum(said["type"] == "error" for said in told(stream)) <= 3

    def test_after_so_many_in_a_row_the_stream_ends(self) -> None:
        stream = make_stream("rtp", limits=StreamLimits(faults=10))
        for number in range(10):
            stream.hear(b"garbage", number / 50)
        assert stream.ending is None
        stream.hear(b"garbage", 1.0)
        assert stream.ending is StreamEnd.GARBAGE

    def test_a_good_frame_begins_the_count_anew(self) -> None:
        stream = make_stream("rtp", limits=StreamLimits(faults=10))
        for number in range(100):
            stream.hear(b"garbage", number / 50)
            if number % 5 == 0:
                stream.hear(application_packet(number // 5), number / 50)
        assert stream.ending is None

    def test_what_was_left_out_is_told_once_a_second_and_counted(self) -> None:
        counts = Counts()
        stream = make_stream("rtp", counts=counts)
        [fault] = open_framing("rtp", 8000, seed=1).receive(b"garbage")
        assert isinstance(fault, Fault)
        for number in range(101):
            stream.hear(b"garbage", number / 50)
        said = told(stream)
        assert [each["count"] for each in said] == [1, 50, 50]
        assert {(each["type"], each["code"]) for each in said} == {("error", fault.code.value)}
        assert counts.faults == {fault.code.value: 101}


def test_what_was_too_soon_to_be_said_is_said_a_second_later() -> None:
    stream = make_stream("sln", limits=StreamLimits(queue_seconds=1.0))
    stream.hear(bytes(16_000 + 320), 0.0)
    stream.hear(bytes(640), 0.1)
    assert [said["dropped_ms"] for said in told(stream) if said["type"] == "overflow"] == [20]
    stream.tell_rest(0.9)
    assert told(stream) == []
    stream.tell_rest(1.0)
    assert [(said["type"], said["dropped_ms"]) for said in told(stream)] == [("overflow", 40)]
    stream.tell_rest(3.0)
    assert told(stream) == []


def test_what_was_not_said_waits_for_who_comes_back() -> None:
    stream = make_stream("sln")
    stream.fell_behind(1, 0.0)
    stream.fell_behind(2, 0.1)
    stream.detach()
    stream.tell_rest(5.0)
    stream.attach(resumed=True)
    stream.tell_rest(6.0)
    start, behind = told(stream)
    assert (start["type"], behind["type"], behind["dropped_ms"]) == ("start", "behind", 40)


def test_the_queue_is_bounded_and_says_what_did_not_fit() -> None:
    counts = Counts()
    stream = make_stream("sln", limits=StreamLimits(queue_seconds=1.0), counts=counts)
    stream.hear(bytes(16_000 + 3200), 0.0)
    assert counts.overflowed == 1600
    kinds = {said["type"]: said for said in told(stream)}
    assert kinds["overflow"]["dropped_ms"] == 200
    assert len(played(stream)) == 50


def test_back_pressure_is_said_once_each_way() -> None:
    stream = make_stream("sln", limits=StreamLimits(queue_seconds=1.0))
    for _ in range(40):
        stream.hear(bytes(320), 0.0)
    said = [each for each in told(stream) if each["type"] == "pause"]
    assert [each["queued_ms"] for each in said] == [760]
    played(stream)
    said = [each for each in told(stream) if each["type"] == "resume"]
    assert [each["queued_ms"] for each in said] == [240]


def test_a_stream_that_only_listens_plays_nothing() -> None:
    stream = make_stream("rtp", speak=MediaDirection.NONE)
    stream.hear(application_packet(1), 0.0)
    assert not stream.is_playing
    assert [said["code"] for said in told(stream)] == ["direction"]


def test_a_stream_that_only_speaks_hears_nothing_and_misses_nothing() -> None:
    counts = Counts()
    stream = make_stream("sln", listen=MediaDirection.NONE, counts=counts)
    stream.hear_text(b'{"type":"resume"}', 0.0)
    assert stream.spoken(packet(1)) == []
    stream.detach()
    assert stream.spoken(packet(2)) == []
    assert stream.attach(resumed=True) == []
    assert (told(stream)[0]["missed_ms"], counts.behind) == (0, 0)


def test_a_hang_up_ends_the_stream() -> None:
    stream = make_stream("audiosocket")
    stream.hear(b"\x00\x00\x00", 0.0)
    assert stream.ending is StreamEnd.APPLICATION_CLOSED


def test_an_identity_of_another_stream_is_told_and_the_own_one_is_not() -> None:
    stream = make_stream("audiosocket")
    stream.hear(build_message(Identity(STREAM)), 0.0)
    assert told(stream) == []
    stream.hear(build_message(Identity(CALL)), 0.0)
    assert [each["code"] for each in told(stream)] == ["wrong_identity"]
    assert stream.ending is None


def test_stop_ends_the_stream() -> None:
    stream = make_stream()
    stream.hear_text(b'{"type":"stop"}', 0.0)
    assert stream.ending is StreamEnd.APPLICATION_CLOSED


# -- marks -------------------------------------------------------------------------------------


def mark(name: str) -> bytes:
    return b'{"type":"mark","name":"%s"}' % name.encode()


def test_a_mark_is_told_when_all_before_it_was_played() -> None:
    stream = make_stream("sln")
    stream.hear(bytes(3 * 320), 0.0)
    stream.hear_text(mark("first"), 0.0)
    stream.hear(bytes(2 * 320), 0.0)
    stream.hear_text(mark("second"), 0.0)
    told(stream)
    reached = []
    for _ in range(5):
        assert stream.take() is not None
        reached.append([(said["name"], said["played_ms"]) for said in told(stream)])
    assert reached == [[], [], [("first", 60)], [], [("second", 100)]]


def test_a_mark_with_nothing_before_it_is_reached_at_once() -> None:
    stream = make_stream()
    stream.hear_text(mark("now"), 0.0)
    assert [(said["type"], said["name"], said["played_ms"]) for said in told(stream)] == [
        ("marked", "now", 0)
    ]


def test_clear_drops_the_queue_and_names_the_marks_that_go_with_it() -> None:
    stream = make_stream("sln")
    stream.hear(bytes(10 * 320), 0.0)
    stream.hear_text(mark("lost"), 0.0)
    for _ in range(4):
        stream.take()
    told(stream)
    stream.hear_text(b'{"type":"clear"}', 0.0)
    [said] = told(stream)
    assert (said["type"], said["played_ms"], said["dropped_ms"]) == ("cleared", 80, 120)
    assert said["marks"] == ["lost"]
    assert not stream.is_playing


@QUICK
@given(st.lists(st.integers(0, 5) | st.none(), max_size=40))
def test_marks_come_in_their_order_and_each_once(script: list[int | None]) -> None:
    """A number: so many frames of audio. None: a mark."""
    stream = make_stream("sln")
    names = itertools.count()
    expected = []
    for step in script:
        if step is None:
            name = str(next(names))
            expected.append(name)
            stream.hear_text(mark(name), 0.0)
        else:
            stream.hear(bytes(320 * step), 0.0)
    played(stream)
    said = [each for each in told(stream) if each["type"] == "marked"]
    assert [each["name"] for each in said] == expected
    assert [each["played_ms"] for each in said] == sorted(each["played_ms"] for each in said)


# -- away and back -----------------------------------------------------------------------------


def test_start_says_what_the_stream_is() -> None:
    stream = make_stream("sln", 16000, attached=False)
    assert stream.attach(resumed=False) == []
    [said] = told(stream)
    assert said == {
        "type": "start",
        "sequence": 0,
        "stream_id": str(STREAM),
        "call_id": str(CALL),
        "customer_id": str(CUSTOMER),
        "encapsulation": "sln",
        "direction": "both",
        "coding": said["coding"],
        "rate": 16000,
        "frame_bytes": 640,
        "resumed": False,
        "missed_ms": 0,
        "lost_ms": 0,
        "resume_seconds": 10.0,
    }


@pytest.mark.parametrize(
    ("listen", "speak", "direction"),
    [
        (MediaDirection.BOTH, MediaDirection.NONE, "in"),
        (MediaDirection.NONE, MediaDirection.BOTH, "out"),
    ],
)
def test_the_direction_is_told_as_the_application_sees_it(
    listen: MediaDirection, speak: MediaDirection, direction: str
) -> None:
    stream = make_stream(attached=False, listen=listen, speak=speak)
    stream.attach(resumed=False)
    assert told(stream)[0]["direction"] == direction


def test_who_comes_back_gets_all_that_was_said_meanwhile() -> None:
    stream = make_stream("rtp")
    stream.spoken(packet(1))
    stream.detach()
    for number in range(2, 52):
        assert stream.spoken(packet(number, bytes([number]) * 160)) == []
    messages = [rtp.parse(message) for message in stream.attach(resumed=True)]
    [said] = told(stream)
    assert (said["resumed"], said["missed_ms"], said["lost_ms"]) == (True, 1000, 0)
    assert said["sequence"] == 1
    assert [each.payload[0] for each in messages] == list(range(2, 52))
    assert len(stream.spoken(packet(52))) == 1


def test_what_is_kept_is_bounded_and_the_oldest_goes() -> None:
    stream = make_stream("rtp", limits=StreamLimits(kept_seconds=0.2))
    stream.detach()
    for number in range(25):
        stream.spoken(packet(number, bytes([number]) * 160))
    messages = [rtp.parse(message) for message in stream.attach(resumed=True)]
    [said] = told(stream)
    assert (said["missed_ms"], said["lost_ms"]) == (200, 300)
    assert [each.payload[0] for each in messages] == list(range(15, 25))


def test_playing_goes_on_while_nobody_is_there() -> None:
    stream = make_stream("sln")
    stream.hear(bytes(5 * 320), 0.0)
    stream.detach()
    assert len(played(stream)) == 5
    assert stream.outbox == []


# -- another owner -----------------------------------------------------------------------------


def test_marks_that_were_reached_meanwhile_are_told_after_start() -> None:
    stream = make_stream("sln")
    stream.hear(bytes(320 * 4), 0.0)
    stream.hear_text(b'{"type":"mark","name":"end"}', 0.0)
    stream.detach()
    played(stream)
    stream.attach(resumed=True)
    start, marked = told(stream)
    assert (start["type"], marked["type"], marked["name"]) == ("start", "marked", "end")
    assert marked["played_ms"] == 80
    assert marked["sequence"] == start["sequence"] + 1


def test_what_is_handed_over_goes_on_elsewhere() -> None:
    former = make_stream("rtp")
    for number in range(10):
        former.hear(application_packet(number, bytes([number]) * 160), 0.0)
        if number in (4, 9):
            former.hear_text(mark(f"after {number}"), 0.0)
    heard = [rtp.parse(taken).payload[0] for _ in range(3) if (taken := former.take())]
    former.detach()
    for number in range(7):
        former.spoken(packet(number, bytes([100 + number]) * 160))
    handed = former.hand_over()

    new = make_stream("rtp", attached=False)
    new.restore(handed)
    new.spoken(packet(0, bytes([200]) * 160))
    messages = [rtp.parse(message).payload[0] for message in new.attach(resumed=True)]
    [start] = told(new)
    assert messages == [*range(100, 107), 200]
    assert (start["missed_ms"], start["lost_ms"], start["resumed"]) == (160, 0, True)
    assert start["sequence"] == handed.sequence
    heard += [each.payload[0] for each in played(new)]
    assert heard == list(range(10))
    assert [(said["name"], said["played_ms"]) for said in told(new)] == [
        ("after 4", 100),
        ("after 9", 200),
    ]


def test_marks_that_were_reached_meanwhile_are_told_elsewhere_too() -> None:
    former = make_stream("sln")
    former.hear(bytes(320 * 4), 0.0)
    former.hear_text(mark("end"), 0.0)
    former.detach()
    played(former)
    new = make_stream("sln", attached=False)
    new.restore(former.hand_over())
    new.attach(resumed=True)
    _, marked = told(new)
    assert (marked["name"], marked["played_ms"]) == ("end", 80)


def test_when_the_former_owner_is_gone_it_is_said_that_nobody_knows_what_is_lost() -> None:
    stream = make_stream(attached=False)
    stream.lost_unknown()
    stream.attach(resumed=True)
    assert told(stream)[0]["lost_ms"] is None


@QUICK
@given(
    st.lists(
        st.tuples(st.sampled_from(["hear", "mark", "spoken", "take", "away", "back"]), st.binary()),
        max_size=60,
    )
)
def test_sequence_numbers_only_grow(script: list[tuple[str, bytes]]) -> None:
    stream = make_stream("sln", limits=StreamLimits(queue_seconds=0.1))
    numbers = []
    for step, (action, data) in enumerate(script):
        match action:
            case "hear":
                stream.hear(data, step / 50)
            case "mark":
                stream.hear_text(mark("m"), step / 50)
            case "spoken":
                stream.spoken(packet(step))
            case "take":
                stream.take()
            case "away":
                stream.detach()
            case "back":
                stream.attach(resumed=True)
        numbers += [said["sequence"] for said in told(stream)]
    assert numbers == sorted(set(numbers))
