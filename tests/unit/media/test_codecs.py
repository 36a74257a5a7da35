"""G.722, L16, Opus: what Asterisk coded is understood, what we code is what it was."""

import ctypes
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media import opus, rtp
from evercall.media.errors import Code, CodecUnavailable, FormatError, FrameError
from evercall.media.g722 import G722Decoder, G722Encoder
from evercall.media.l16 import l16_to_linear, linear_to_l16
from evercall.media.opus import OpusDecoder, OpusEncoder
from tests.unit.media.samples import QUICK, packets, rms, sine, spectrum_peak

needs_opus = pytest.mark.skipif(not opus.available(), reason="libopus is not installed")


# -- G.722 -------------------------------------------------------------------------------------


def test_asterisks_g722_is_decoded() -> None:
    decoder = G722Decoder()
    audio = b"".join(decoder.decode(rtp.parse(data).payload) for data in packets("asterisk_g722"))
    assert len(audio) == 25 * 640
    assert spectrum_peak(audio[3200:], 16_000) == pytest.approx(1004, abs=1)


@pytest.mark.parametrize("frequency", [300, 1000, 3400, 6800])
def test_a_tone_survives_g722(frequency: int) -> None:
    encoder, decoder = G722Encoder(), G722Decoder()
    audio = sine(frequency, 0.5, 16_000)
    frames = [audio[at : at + 640] for at in range(0, len(audio), 640)]
    coded = [encoder.encode(frame) for frame in frames]
    assert {len(frame) for frame in coded} == {160}
    decoded = b"".join(map(decoder.decode, coded))
    assert spectrum_peak(decoded, 16_000) == pytest.approx(frequency, abs=1)
    assert rms(decoded[3200:]) == pytest.approx(rms(audio), rel=0.1)


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_g722(data: bytes) -> None:
    assert len(G722Decoder().decode(data)) == 4 * len(data)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_g722_takes_two_samples_at_a_time(size: int) -> None:
    with pytest.raises(FormatError) as caught:
        G722Encoder().encode(bytes(size))
    assert caught.value.code is Code.ODD_LENGTH


# -- L16 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rate"), [("asterisk_l16", 8000), ("asterisk_l16_16000", 16_000)])
def test_asterisks_l16_is_in_network_order(name: str, rate: int) -> None:
    audio = b"".join(l16_to_linear(rtp.parse(data).payload) for data in packets(name))
    assert spectrum_peak(audio, rate) == pytest.approx(1004, abs=1)


def test_bytes_are_swapped_both_ways() -> None:
    assert linear_to_l16(b"\1\2\3\4") == b"\2\1\4\3"
    assert l16_to_linear(b"\2\1\4\3") == b"\1\2\3\4"
    for swap in (linear_to_l16, l16_to_linear):
        with pytest.raises(FormatError):
            swap(b"\1\2\3")


# -- Opus --------------------------------------------------------------------------------------


@needs_opus
def test_asterisks_opus_is_decoded() -> None:
    decoder = OpusDecoder(48_000)
    audio = b"".join(decoder.decode(rtp.parse(data).payload) for data in packets("asterisk_opus"))
    assert len(audio) == 25 * 1920
    assert spectrum_peak(audio, 48_000) == pytest.approx(1004, abs=5)


@needs_opus
@pytest.mark.parametrize("rate", opus.RATES)
def test_a_tone_survives_opus(rate: int) -> None:
    encoder, decoder = OpusEncoder(rate), OpusDecoder(rate)
    size = rate // 50 * 2
    audio = sine(440, 0.4, rate)
    coded = [encoder.encode(audio[at : at + size]) for at in range(0, len(audio), size)]
    assert max(map(len, coded)) < 200
    decoded = b"".join(map(decoder.decode, coded))
    assert len(decoded) == len(audio)
    assert spectrum_peak(decoded, rate) == pytest.approx(440, abs=5)


@needs_opus
def test_a_lost_packet_is_made_up_or_told_by_the_next_one() -> None:
    """The lost packet is the first one of another tone: only the next one can tell of it."""
    encoder = OpusEncoder(16_000, expected_loss=20)
    audio = sine(300, 0.2, 16_000) + sine(1500, 0.2, 16_000)
    coded = [encoder.encode(audio[at : at + 640]) for at in range(0, len(audio), 640)]
    made_up, told = OpusDecoder(16_000), OpusDecoder(16_000)
    for packet in coded[:10]:
        made_up.decode(packet)
        told.decode(packet)
    guess, known = made_up.conceal(320), told.conceal(320, coded[11])
    assert (len(guess), len(known)) == (640, 640)
    assert spectrum_peak(guess, 16_000) == pytest.approx(300, abs=30)
    assert spectrum_peak(known, 16_000) == pytest.approx(1500, abs=30)
    with pytest.raises(FrameError):
        told.conceal(320, b"\xff")


@needs_opus
@QUICK
@given(st.binary(max_size=300))
def test_any_bytes_are_opus_or_a_frame_error(data: bytes) -> None:
    try:
        audio = OpusDecoder(8000).decode(data)
    except FrameError:
        return
    assert 0 < len(audio) <= 2 * 960


@needs_opus
def test_what_opus_does_not_do_is_refused() -> None:
    for rate in (0, 44_100):
        with pytest.raises(FormatError):
            OpusEncoder(rate)
        with pytest.raises(FormatError):
            OpusDecoder(rate)
    with pytest.raises(FormatError):
        OpusEncoder(8000, bit_rate=-5)
    with pytest.raises(FormatError):
        OpusEncoder(8000, expected_loss=101)
    for size in (0, 1, 319, 322, 2000):
        with pytest.raises(FormatError):
            OpusEncoder(8000).encode(bytes(size))
    for samples in (0, 19, 21, 980):
        with pytest.raises(FormatError):
            OpusDecoder(8000).conceal(samples)


@needs_opus
def test_codecs_give_back_what_they_hold() -> None:
    """A thousand codecs without an end would take 20 MB; nothing must keep them."""
    for _ in range(50):
        OpusEncoder(8000).encode(bytes(320))
        OpusDecoder(8000).conceal(160)
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, OpusEncoder | OpusDecoder)]
    assert alive == []


def test_without_the_library_the_error_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    opus._library.cache_clear()
    try:
        assert not opus.available()
        with pytest.raises(CodecUnavailable, match="libopus0") as caught:
            OpusDecoder(8000)
        assert caught.value.code is Code.CODEC_UNAVAILABLE
        with pytest.raises(CodecUnavailable):
            OpusEncoder(8000)
    finally:
        opus._library.cache_clear()
