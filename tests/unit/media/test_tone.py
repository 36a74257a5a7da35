"""Tones, made and found again, with their breaks."""

import numpy as np
import pytest

from evercall.media.errors import FormatError
from evercall.media.g711 import linear_to_ulaw, ulaw_to_linear
from evercall.media.tone import (
    SILENCE_LEVEL,
    ToneGenerator,
    breaks,
    key_tones,
    level,
    tone,
    tones,
)
from tests.unit.media.samples import linear, rms, spectrum_peak

FREQUENCY = 1013.0
FRAME = 320


def test_pieces_fit_each_other() -> None:
    pieces = ToneGenerator(8000, [440, 650], -10)
    whole = ToneGenerator(8000, [440, 650], -10)
    assert b"".join(pieces.take(n) for n in (160, 0, 7, 333, 500)) == whole.take(1000)


def test_a_tone_has_its_frequency_and_its_level() -> None:
    audio = tone(16_000, [1000], 0.5, -20)
    assert len(audio) == 16_000
    assert spectrum_peak(audio, 16_000) == pytest.approx(1000, abs=0.5)
    assert rms(audio) == pytest.approx(3276.7 / 2**0.5, rel=0.001)
    assert level(audio) == pytest.approx(-20, abs=0.01)


def test_too_many_loud_tones_are_clipped() -> None:
    samples = np.frombuffer(tone(8000, [500, 500], 0.1, 0), "<i2")
    assert (samples.max(), samples.min()) == (32767, -32768)


@pytest.mark.parametrize(("rate", "frequency"), [(8000, 4001), (8000, -1), (0, 0)])
def test_a_frequency_that_the_rate_does_not_carry_is_refused(rate: int, frequency: float) -> None:
    with pytest.raises(FormatError):
        ToneGenerator(rate, [frequency])


def test_levels_go_from_full_scale_to_silence() -> None:
    assert level(tone(8000, [1000], 1.0, 0)) == pytest.approx(0, abs=0.01)
    assert level(bytes(320)) == level(b"") == SILENCE_LEVEL
    with pytest.raises(FormatError):
        level(b"\0")


def test_tones_are_found_with_their_times() -> None:
    audio = bytes(1600) + tone(8000, [440], 0.3, -12) + bytes(3200) + tone(8000, [1200], 0.2, -30)
    first, second = tones(audio, 8000)
    assert first.frequency == pytest.approx(440, abs=2)
    assert second.frequency == pytest.approx(1200, abs=2)
    assert first.level == pytest.approx(-12, abs=0.5)
    assert second.level == pytest.approx(-30, abs=0.5)
    assert first.start == pytest.approx(0.1, abs=0.03)
    assert second.start == pytest.approx(0.6, abs=0.03)
    assert first.duration == pytest.approx(0.3, abs=0.05)
    assert second.duration == pytest.approx(0.2, abs=0.05)


def test_one_tone_right_after_another_is_another() -> None:
    found = tones(tone(8000, [440], 0.3) + tone(8000, [880], 0.3), 8000)
    assert [round(one.frequency, -1) for one in found] == [440, 880]


@pytest.mark.parametrize(
    "audio",
    [
        b"",
        bytes(100),
        bytes(16_000),
        tone(8000, [440], 0.04),
        tone(8000, [440, 1000], 0.5),
        linear(np.random.default_rng(3).normal(0, 3000, 8000)),
    ],
    ids=["empty", "short", "silence", "blip", "two", "noise"],
)
def test_what_is_no_single_tone_is_none(audio: bytes) -> None:
    assert tones(audio, 8000) == []


def test_keys_have_their_two_tones_and_a_pause() -> None:
    audio = key_tones(8000, "1", 0.1, 0.05)
    assert len(audio) == 2400
    samples = np.frombuffer(audio, "<i2")
    power = np.abs(np.fft.rfft(samples[:800])) ** 2
    assert sorted(np.argsort(power)[-2:] * 10) == [700, 1210]
    assert not samples[800:].any()
    with pytest.raises(FormatError):
        key_tones(8000, "x")


# -- breaks ------------------------------------------------------------------------------------


def long_tone(seconds: float = 2.0, frequency: float = FREQUENCY) -> bytes:
    return tone(8000, [frequency], seconds)


def test_a_tone_without_a_break_has_none() -> None:
    assert breaks(long_tone(), 8000, FREQUENCY) == []
    assert breaks(ulaw_to_linear(linear_to_ulaw(long_tone())), 8000, FREQUENCY) == []


def test_a_clock_that_differs_is_no_break() -> None:
    assert breaks(long_tone(frequency=FREQUENCY * 1.001), 8000, FREQUENCY) == []


def test_five_minutes_are_looked_through() -> None:
    audio = long_tone(300)
    assert breaks(audio, 8000, FREQUENCY) == []
    (first, *rest) = breaks(audio[:1_600_000] + audio[1_600_320:], 8000, FREQUENCY)
    assert first.at == pytest.approx(100, abs=0.03)
    assert len(rest) <= 2


@pytest.mark.parametrize(
    "broken",
    [
        lambda audio: audio[:16_000] + audio[16_000 + FRAME :],
        lambda audio: audio[:16_000] + audio[16_000 - FRAME :],
        lambda audio: audio[:16_000] + bytes(FRAME) + audio[16_000 + FRAME :],
        lambda audio: audio[:16_000] + bytes(FRAME) + audio[16_000:],
        lambda audio: audio[:16_000] + audio[16_080:],
        lambda audio: audio[:16_000] + linear(np.frombuffer(audio[16_000:], "<i2") / 2.0),
    ],
    ids=["left out", "twice", "silence", "gap", "five milliseconds", "quieter"],
)
def test_a_break_is_found_where_it_is(broken: object) -> None:
    assert callable(broken)
    found = breaks(broken(long_tone()), 8000, FREQUENCY)
    assert found
    assert found[0].at == pytest.approx(1.0, abs=0.03)


def test_a_multiple_of_50_hertz_hides_a_whole_frame() -> None:
    """Why the documentation says to take another frequency."""
    audio = long_tone(frequency=1000)
    assert breaks(audio[:16_000] + audio[16_000 + FRAME :], 8000, 1000) == []


def test_too_little_has_no_breaks() -> None:
    assert breaks(bytes(320), 8000, FREQUENCY) == []
    with pytest.raises(FormatError):
        breaks(b"\0", 8000, FREQUENCY)
