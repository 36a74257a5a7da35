"""The one interface over all framings."""

import gc
import types
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media import rtp
from evercall.media.audio import TELEPHONE, AudioFormat, Coding
from evercall.media.encapsulation import RATES, open_framing
from evercall.media.errors import Code, FormatError
from evercall.media.framing import Audio, Digit, Encapsulation, Fault, Framing, Received
from evercall.media.rtp_framing import RtpFraming
from evercall.media.telephone_event import parse_events
from tests.unit.media.samples import QUICK, packets

SEED = 0xFFFE_FFFFFF00_CAFEF00D
FRAMINGS = [(name, rate) for name, rates in RATES.items() for rate in rates]


@pytest.mark.parametrize(("name", "rate"), FRAMINGS)
def test_what_one_side_wraps_the_other_side_hears(name: str, rate: int) -> None:
    framing, other = open_framing(name, rate, seed=SEED), open_framing(name, rate, seed=1)
    assert framing.encapsulation == name
    size = framing.format.frame_bytes
    frames = [bytes((number,)) * size for number in range(20)]
    heard = []
    for frame in frames:
        heard += other.receive(framing.audio(frame))
    assert heard == [Audio(frame) for frame in frames]


@pytest.mark.parametrize(("name", "rate"), FRAMINGS)
def test_keys_are_told_where_they_can_be(name: str, rate: int) -> None:
    framing, other = open_framing(name, rate, seed=SEED), open_framing(name, rate, seed=1)
    frame = bytes(framing.format.frame_bytes)
    heard = other.receive(framing.audio(frame))
    for data in framing.digit("7"):
        heard += other.receive(data)
    heard += other.receive(framing.audio(frame))
    told = [Digit("7")] if name != Encapsulation.SLN else []
    assert heard == [Audio(frame), *told, Audio(frame)]
    with pytest.raises(FormatError):
        framing.digit("x")


@pytest.mark.parametrize(("name", "rate"), FRAMINGS)
@given(pieces=st.lists(st.binary(max_size=60), max_size=8))
@QUICK
def test_any_bytes_are_heard_without_an_error(name: str, rate: int, pieces: list[bytes]) -> None:
    framing = open_framing(name, rate, seed=SEED)
    for piece in pieces:
        received = framing.receive(piece) + framing.release()
        for item in received:
            assert not isinstance(item, Audio) or item.data


@pytest.mark.parametrize(
    ("name", "rate", "size"),
    [("rtp", None, 172), ("sln", None, 320), ("audiosocket", None, 323), ("sln", 16000, 640)],
)
def test_the_sizes_are_those_of_the_public_interface(
    name: str, rate: int | None, size: int
) -> None:
    framing = open_framing(name, rate, seed=SEED)
    assert len(framing.audio(bytes(framing.format.frame_bytes))) == size


@pytest.mark.parametrize(
    ("name", "rate", "code"),
    [
        ("websocket", None, Code.UNSUPPORTED_ENCAPSULATION),
        ("", None, Code.UNSUPPORTED_ENCAPSULATION),
        ("rtp", 16000, Code.UNSUPPORTED_RATE),
        ("sln", 48000, Code.UNSUPPORTED_RATE),
        ("audiosocket", 0, Code.UNSUPPORTED_RATE),
    ],
)
def test_what_there_is_not_is_refused(name: str, rate: int | None, code: Code) -> None:
    with pytest.raises(FormatError) as caught:
        open_framing(name, rate, seed=SEED)
    assert caught.value.code is code


# -- RTP ---------------------------------------------------------------------------------------


def rtp_framing(seed: int = SEED) -> Framing:
    return open_framing("rtp", seed=seed)


def packet(sequence: int, payload: bytes, payload_type: int = 0, ssrc: int = 1) -> bytes:
    return rtp.build(
        rtp.RtpPacket(payload_type, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc, payload)
    )


def codes(received: list[Received]) -> list[Code]:
    return [item.code for item in received if isinstance(item, Fault)]


def test_packets_count_samples_across_the_wrap() -> None:
    framing = rtp_framing()
    sent = [rtp.parse(framing.audio(b"\xff" * 160)) for _ in range(3)]
    assert [one.timestamp for one in sent] == [0xFFFFFF00, 0xFFFFFFA0, 0x40]
    assert [one.sequence for one in sent] == [0xFFFE, 0xFFFF, 0]
    assert {(one.payload_type, one.ssrc) for one in sent} == {(0, 0xCAFEF00D)}


def test_a_pause_is_told_by_the_timestamp_and_the_marker() -> None:
    framing = rtp_framing()
    framing.audio(b"\xff" * 160)
    framing.pause(3)
    after = rtp.parse(framing.audio(b"\xff" * 160))
    assert (after.sequence, after.timestamp, after.marker) == (0xFFFF, 0x180, True)


def test_no_audio_is_timed_while_a_key_is_told() -> None:
    framing = rtp_framing(seed=0)
    framing.audio(b"\xff" * 160)
    told = [rtp.parse(data) for data in framing.digit("5")]
    after = rtp.parse(framing.audio(b"\xff" * 160))
    assert {one.timestamp for one in told} == {160}
    assert [one.sequence for one in [*told, after]] == list(range(1, len(told) + 2))
    assert parse_events(told[-1].payload)[0].duration == 800
    assert after.timestamp == 160 * (1 + len(told))


def test_packets_out_of_order_are_heard_in_order() -> None:
    framing = rtp_framing()
    received = []
    for sequence in (65534, 65536, 65535, 65537):
        received += framing.receive(packet(sequence, b"%d" % sequence))
    assert received == [Audio(b"%d" % number) for number in range(65534, 65538)]


def test_what_waits_for_a_packet_that_does_not_come_is_released() -> None:
    framing = rtp_framing()
    assert framing.receive(packet(1, b"1")) == [Audio(b"1")]
    assert framing.receive(packet(3, b"3")) == []
    assert framing.release() == [Audio(b"3")]
    assert framing.receive(packet(4, b"4")) == [Audio(b"4")]


def test_another_payload_type_is_a_fault_but_has_its_number() -> None:
    framing = rtp_framing()
    framing.receive(packet(1, b"1"))
    assert codes(framing.receive(packet(2, bytes(320), payload_type=96))) == [Code.RTP_PAYLOAD_TYPE]
    assert framing.receive(packet(3, b"3")) == [Audio(b"3")]


def test_a_packet_without_audio_is_no_hole() -> None:
    framing = rtp_framing()
    framing.receive(packet(1, b"1"))
    assert framing.receive(packet(2, b"")) == []
    assert framing.receive(packet(3, b"3")) == [Audio(b"3")]


def test_bad_packets_are_faults() -> None:
    framing = rtp_framing()
    assert codes(framing.receive(b"hello")) == [Code.RTP_TOO_SHORT]
    assert codes(framing.receive(packet(1, b"abc", payload_type=101))) == [Code.EVENT_LENGTH]
    # Flash is an event, but no key.
    assert framing.receive(packet(2, b"\x10\x8a\x03\xc0", payload_type=101)) == []


def test_faults_keep_nothing_alive() -> None:
    """An exception in a fault kept the frames that it had passed, which kept the list of faults."""
    framing = rtp_framing()

    def receive_rubbish() -> None:
        received = framing.receive(b"hello") + framing.receive(packet(1, b"abc", 101))
        assert len(received) == 2

    def frames_alive() -> int:
        gc.collect()
        return sum(isinstance(one, types.FrameType) for one in gc.get_objects())

    before = frames_alive()
    for _ in range(20):
        receive_rubbish()
    assert frames_alive() <= before


def test_another_source_has_numbers_of_its_own() -> None:
    framing = rtp_framing()
    framing.receive(packet(100, b"a"))
    framing.receive(packet(102, b"b"))
    assert framing.receive(packet(50, b"c", ssrc=2)) == [Audio(b"b"), Audio(b"c")]
    assert framing.receive(packet(51, b"d", ssrc=2)) == [Audio(b"d")]


def test_another_source_has_a_clock_of_its_own() -> None:
    framing = rtp_framing()
    ended = b"\5\x8a\3\x20"
    assert framing.receive(packet(1000, ended, payload_type=101)) == [Digit("5")]
    assert framing.receive(packet(900, ended, payload_type=101, ssrc=2)) == [Digit("5")]
    assert framing.receive(packet(901, ended, payload_type=101, ssrc=2)) == [Digit("5")]


def test_odd_l16_is_a_fault() -> None:
    sender = rtp.RtpSender(1, 10, sequence=0, timestamp=0)
    framing = RtpFraming(sender, payload_type=10, audio_format=AudioFormat(Coding.L16, 8000))
    assert codes(framing.receive(packet(1, b"abc", payload_type=10))) == [Code.ODD_LENGTH]
    assert framing.receive(packet(2, b"ab", payload_type=10)) == [Audio(b"ab")]
    sent = [rtp.parse(framing.audio(bytes(320))) for _ in range(2)]
    assert [one.timestamp for one in sent] == [0, 160]


def test_rtp_has_neither_beginning_nor_end() -> None:
    framing = rtp_framing()
    assert framing.opening(UUID(int=1)) == framing.hang_up() == b""
    assert framing.format == TELEPHONE


def test_asterisks_packets_are_heard() -> None:
    framing = rtp_framing()
    received = []
    for data in [*packets("asterisk_ulaw"), *packets("asterisk_events")]:
        received += framing.receive(data)
    audio = [item for item in received if isinstance(item, Audio)]
    assert len(audio) == 25
    assert [item for item in received if item not in audio] == [Digit("1"), Digit("5"), Digit("#")]
