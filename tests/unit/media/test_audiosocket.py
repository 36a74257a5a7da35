"""AudioSocket: messages, streams cut anywhere, and the framing of an application."""

from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.audiosocket import (
    AUDIO_KINDS,
    MOST_AT_ONCE,
    RATES,
    AudioSocketFraming,
    ErrorMessage,
    Message,
    Samples,
    StreamReader,
    build_audio,
    build_message,
    parse_message,
)
from evercall.media.errors import Code, FormatError, FrameError
from evercall.media.framing import Audio, Digit, Fault, HangUp, Identity
from evercall.media.keypad import KEYS
from tests.unit.media.samples import DATA, QUICK, code_of, files, spectrum_peak

IDENTITY = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
AUDIO = st.binary(min_size=1, max_size=50).map(lambda half: half + half)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Samples, st.sampled_from(sorted(AUDIO_KINDS)), AUDIO),
    st.just(HangUp()),
    st.builds(Identity, st.uuids()),
    st.builds(Digit, st.sampled_from(KEYS)),
    st.builds(ErrorMessage, st.none() | st.integers(0, 255)),
)


def read(data: bytes) -> Message:
    ((kind, payload),) = StreamReader().feed(data)
    return parse_message(kind, payload)


@pytest.mark.parametrize("file", files("audiosocket/good"))
def test_a_good_message_is_read(file: Path) -> None:
    data = file.read_bytes()
    built = build_message(read(data))
    # What stands behind a hang-up means nothing.
    assert built == (b"\0\0\0" if file.stem == "hang_up_with_payload" else data)


@pytest.mark.parametrize("file", files("audiosocket/bad"))
def test_a_bad_message_gives_its_code(file: Path) -> None:
    with pytest.raises(FrameError) as caught:
        read(file.read_bytes())
    assert caught.value.code == code_of(file)


def test_kinds_of_audio_are_asterisks() -> None:
    assert RATES == {
        0x10: 8000, 0x11: 12000, 0x12: 16000, 0x13: 24000, 0x14: 32000,
        0x15: 44100, 0x16: 48000, 0x17: 96000, 0x18: 192000,
    }  # fmt: skip


@QUICK
@given(MESSAGES)
def test_what_is_built_is_read_again(message: Message) -> None:
    assert read(build_message(message)) == message


@QUICK
@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_kind_and_payload_is_a_message_or_a_frame_error(kind: int, payload: bytes) -> None:
    try:
        message = parse_message(kind, payload)
    except FrameError:
        return
    assert parse_message(build_message(message)[0], build_message(message)[3:]) == message


@QUICK
@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 400), max_size=20))
def test_a_stream_may_be_cut_anywhere(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(build_message, messages))
    reader = StreamReader()
    found = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        found += [parse_message(*pair) for pair in reader.feed(data[begin:end])]
    assert found == messages
    assert reader.buffered == 0


@QUICK
@given(st.lists(st.binary(max_size=300), max_size=10))
def test_a_reader_keeps_less_than_one_message(pieces: list[bytes]) -> None:
    reader = StreamReader()
    fed = taken = 0
    for piece in pieces:
        fed += len(piece)
        taken += sum(3 + len(payload) for _, payload in reader.feed(piece))
        assert reader.buffered == fed - taken
        assert reader.buffered < 3 + 0xFFFF


def test_the_longest_message_waits_for_its_last_byte() -> None:
    message = build_audio(8000, b"\1\2" * 32767)
    reader = StreamReader()
    assert reader.feed(message[:-1]) == []
    assert reader.buffered == len(message) - 1
    assert [len(payload) for _, payload in reader.feed(message[-1:])] == [65534]


@pytest.mark.parametrize(
    ("rate", "data", "code"),
    [
        (11_025, b"\0\0", Code.UNSUPPORTED_RATE),
        (8000, b"", Code.FRAME_LENGTH),
        (8000, b"\0", Code.FRAME_LENGTH),
        (8000, bytes(65536), Code.FRAME_LENGTH),
    ],
)
def test_audio_that_does_not_fit_a_message_is_refused(rate: int, data: bytes, code: Code) -> None:
    with pytest.raises(FormatError) as caught:
        build_audio(rate, data)
    assert caught.value.code is code


@pytest.mark.parametrize("key", ["", "12", "E"])
def test_there_is_no_message_for_other_keys(key: str) -> None:
    with pytest.raises(FormatError):
        build_message(Digit(key))


# -- the framing -------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_asterisk_streams_is_heard_however_it_is_cut(rate: int, step: int) -> None:
    data = (DATA / "audiosocket" / "streams" / f"asterisk_{rate}.bin").read_bytes()
    framing = AudioSocketFraming(rate)
    received = []
    for begin in range(0, len(data), step):
        received += framing.receive(data[begin : begin + step])
    assert received[0] == Identity(IDENTITY)
    frames = [item.data for item in received[1:] if isinstance(item, Audio)]
    assert len(frames) == len(received) - 1
    assert {len(frame) for frame in frames} == {rate // 50 * 2}
    assert framing.release() == []


def test_asterisks_milliwatt_is_a_tone_of_1004_hertz() -> None:
    data = (DATA / "audiosocket/streams/asterisk_8000.bin").read_bytes()
    audio = b"".join(
        item.data for item in AudioSocketFraming(8000).receive(data) if isinstance(item, Audio)
    )
    assert audio == (DATA / "sln/asterisk_tone.sln").read_bytes()
    assert spectrum_peak(audio, 8000) == pytest.approx(1004, abs=2)


def test_asterisks_digits_are_heard() -> None:
    data = (DATA / "audiosocket/streams/asterisk_digits.bin").read_bytes()
    received = AudioSocketFraming(8000).receive(data)
    assert received == [Identity(IDENTITY), Digit("1"), Digit("5"), Digit("#")]


def test_a_bad_message_does_not_hide_the_next_ones() -> None:
    good = build_audio(8000, b"\1\2" * 160)
    bad = [
        b"\x02\x00\x01x",
        build_audio(16000, bytes(640)),
        b"\x10\x00\x01x",
        b"\x10\x00\x00",
        b"\x01\x00\x01x",
    ]
    received = AudioSocketFraming(8000).receive(good.join([b"", *bad, b""]))
    codes = [item.code for item in received if isinstance(item, Fault)]
    assert codes == [
        Code.AUDIOSOCKET_KIND, Code.AUDIOSOCKET_RATE, Code.ODD_LENGTH,
        Code.AUDIOSOCKET_LENGTH, Code.AUDIOSOCKET_LENGTH,
    ]  # fmt: skip
    assert [item for item in received if isinstance(item, Audio)] == [Audio(b"\1\2" * 160)] * 6


def test_audio_that_looks_like_a_message_is_audio() -> None:
    """The second piece is as long as a whole message, and begins like one."""
    payload = b"\0" + build_audio(8000, b"\1\2" * 160)
    message = b"\x10" + len(payload).to_bytes(2, "big") + payload
    framing = AudioSocketFraming(8000)
    assert framing.receive(message[:4]) == []
    assert framing.receive(message[4:]) == [Audio(payload)]


def test_an_error_and_a_hang_up_end_the_stream() -> None:
    assert AudioSocketFraming(8000).receive(b"\xff\0\1\1\0\0\0") == [HangUp(), HangUp()]


@QUICK
@given(st.lists(st.binary(max_size=100), max_size=8))
def test_no_bytes_make_the_framing_fail(pieces: list[bytes]) -> None:
    framing = AudioSocketFraming(8000)
    for piece in pieces:
        for item in framing.receive(piece):
            assert not isinstance(item, Audio) or len(item.data) % 2 == 0


@pytest.mark.parametrize(("rate", "kind", "size"), [(8000, 0x10, 323), (16000, 0x12, 643)])
def test_a_frame_is_one_whole_message(rate: int, kind: int, size: int) -> None:
    framing = AudioSocketFraming(rate)
    message = framing.audio(bytes(framing.format.frame_bytes))
    assert (len(message), message[0], int.from_bytes(message[1:3], "big")) == (size, kind, size - 3)
    assert framing.audio(b"\1\2") == bytes((kind, 0, 2, 1, 2))


def test_the_rest_of_a_connection_is_told_in_messages() -> None:
    framing = AudioSocketFraming(8000)
    framing.pause(5)
    assert read(framing.opening(IDENTITY)) == Identity(IDENTITY)
    assert [read(message) for message in framing.digit("#")] == [Digit("#")]
    assert read(framing.hang_up()) == HangUp()


def test_a_rate_without_a_kind_is_refused() -> None:
    with pytest.raises(FormatError):
        AudioSocketFraming(11_025)


@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_of_a_crowd_of_messages_the_first_are_heard(more: int) -> None:
    framing = AudioSocketFraming(8000)
    smallest = build_audio(8000, b"\1\2")
    heard = framing.receive(smallest * (MOST_AT_ONCE + more) + smallest[:1])
    assert heard[:MOST_AT_ONCE] == [Audio(b"\1\2")] * MOST_AT_ONCE
    assert [each.code for each in heard[MOST_AT_ONCE:] if isinstance(each, Fault)] == (
        [Code.AUDIOSOCKET_CROWD] if more else []
    )
    # What was dropped does not shift what comes next.
    assert framing.receive(smallest if more else smallest[1:]) == [Audio(b"\1\2")]
