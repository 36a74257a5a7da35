"""Changing the rate: what is kept, what is taken away, and that each frame gives a frame."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.errors import Code, FormatError
from evercall.media.resample import RATES, Resampler, resample
from tests.unit.media.samples import QUICK, linear, rms, sine, spectrum_peak

PAIRS = list(itertools.permutations(RATES, 2))


def in_frames(source: int, target: int, data: bytes) -> list[bytes]:
    resampler = Resampler(source, target)
    size = source // 50 * 2
    return [resampler.resample(data[at : at + size]) for at in range(0, len(data), size)]


def decibels(part: bytes, whole: bytes) -> float:
    return 20 * math.log10(max(rms(part), 1e-3) / rms(whole))


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_each_frame_gives_a_frame(source: int, target: int) -> None:
    frames = in_frames(source, target, sine(440, 0.2, source))
    assert [len(frame) for frame in frames] == [target // 50 * 2] * 10


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("share", [0.04, 0.25, 0.425])
def test_what_both_rates_carry_is_kept(source: int, target: int, share: float) -> None:
    frequency = share * min(source, target)
    audio = sine(frequency, 0.2, source)
    heard = b"".join(in_frames(source, target, audio))[target // 50 * 2 :]
    assert abs(decibels(heard, audio)) < 0.05
    assert spectrum_peak(heard, target) == pytest.approx(frequency, rel=0.001)


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] > pair[1]])
@pytest.mark.parametrize("share", [0.576, 0.6, 0.75, 0.9])
def test_what_the_lower_rate_does_not_carry_is_taken_away(
    source: int, target: int, share: float
) -> None:
    frequency = share * target
    if frequency >= source / 2:
        return
    audio = sine(frequency, 0.2, source)
    heard = b"".join(in_frames(source, target, audio))[target // 50 * 2 :]
    assert decibels(heard, audio) < -70


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] < pair[1]])
def test_no_image_of_the_audio_appears_above_it(source: int, target: int) -> None:
    frequency = 0.425 * source
    heard = b"".join(in_frames(source, target, sine(frequency, 0.3, source)))[target // 10 :]
    samples = np.frombuffer(heard, "<i2") * np.hanning(len(heard) // 2)
    power = np.abs(np.fft.rfft(samples)) ** 2
    above = np.arange(len(power)) * target / len(samples) > source / 2
    assert 10 * math.log10(power[above].max() / power.max()) < -70


def test_a_stream_is_delayed_by_two_milliseconds_at_most() -> None:
    for source, target in PAIRS:
        click = linear(np.eye(1, source // 25, k=10)[0] * 20_000)
        heard = np.frombuffer(Resampler(source, target).resample(click), "<i2")
        assert np.abs(heard.astype(int)).argmax() / target - 10 / source < 0.002


@QUICK
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 700), max_size=12), st.randoms())
def test_pieces_of_any_size_give_what_the_whole_gives(
    pair: tuple[int, int], sizes: list[int], random: object
) -> None:
    source, target = pair
    total = sum(sizes) + source // 50
    audio = np.random.default_rng(7).integers(-9000, 9000, total).astype("<i2").tobytes()
    pieces, at = [], 0
    for size in [*sizes, total]:
        pieces.append(audio[2 * at : 2 * (at + size)])
        at += size
    resampler, whole = Resampler(source, target), Resampler(source, target)
    expected = whole.resample(audio) + whole.flush()
    heard = b"".join(map(resampler.resample, pieces)) + resampler.flush()
    # How a matrix product is summed up depends on its size: the last bit may differ.
    assert len(heard) == len(expected)
    one, other = np.frombuffer(heard, "<i2"), np.frombuffer(expected, "<i2")
    assert np.abs(one.astype(int) - other).max(initial=0) <= 1


def test_the_end_is_flushed_and_nothing_of_it_remains() -> None:
    resampler = Resampler(8000, 16_000)
    audio = sine(1000, 0.02)
    heard = resampler.resample(audio) + resampler.flush()
    assert len(heard) >= 2 * len(audio) + 2 * 2 * 29
    assert resampler.resample(bytes(320)) == bytes(640)
    resampler.resample(audio + b"\1\2")
    resampler.reset()
    assert resampler.resample(bytes(320)) == bytes(640)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_samples_are_rounded_and_not_cut_off(source: int, target: int) -> None:
    heard = np.frombuffer(Resampler(source, target).resample(linear(np.ones(source // 5))), "<i2")
    assert set(heard[target // 50 :].tolist()) == {1}


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(1600) // 8 % 2, 32767.0, -32768.0)
    heard = np.frombuffer(Resampler(8000, 16_000).resample(linear(square)), "<i2")
    assert (heard.max(), heard.min()) == (32767, -32768)
    # A sample that wrapped would be a jump over the whole range.
    assert np.abs(np.diff(heard.astype(int))).max() < 50_000


@pytest.mark.parametrize(("source", "target"), [(8000, 8000), (8000, 11_025), (44_100, 8000)])
def test_other_rates_are_refused(source: int, target: int) -> None:
    with pytest.raises(FormatError) as caught:
        Resampler(source, target)
    assert caught.value.code is Code.UNSUPPORTED_RATE


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        Resampler(8000, 16_000).resample(b"\0")
    assert caught.value.code is Code.ODD_LENGTH


@pytest.mark.parametrize(("source", "target"), [(44_100, 8000), (8000, 22_050), (48_000, 16_000)])
def test_a_whole_recording_keeps_its_length_and_its_sound(source: int, target: int) -> None:
    audio = sine(440, 0.5, source)
    heard = resample(audio, source, target)
    assert len(heard) == pytest.approx(target, abs=4)
    assert spectrum_peak(heard, target) == pytest.approx(440, abs=1)


def test_a_recording_at_its_own_rate_stays_as_it_is() -> None:
    assert resample(b"\1\2", 8000, 8000) == b"\1\2"
    assert resample(b"", 8000, 16_000) == b""


@pytest.mark.parametrize(
    ("data", "source", "target"), [(b"\0", 8000, 16_000), (b"\0\0", 0, 8000), (b"\0\0", 8000, -1)]
)
def test_a_recording_that_makes_no_sense_is_refused(data: bytes, source: int, target: int) -> None:
    with pytest.raises(FormatError):
        resample(data, source, target)
